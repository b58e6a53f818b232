"""Whether a store is whole: the database, what its rows need of each other, and its images."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opensafemlrm.errors import StoreError
from opensafemlrm.store import schema
from opensafemlrm.store.connecting import is_damage, opened
from opensafemlrm.store.database import EXTENSIONS, reading, unfit
from opensafemlrm.store.image_files import Images, look_at_images
from opensafemlrm.store.keys import add_functions, prepare
from opensafemlrm.store.sink import Sink, is_sink
from opensafemlrm.store.tables import LOCAL_TABLES, TABLES, Table
from opensafemlrm.types import Label, Part, ResponseStatus, TraceStatus, Unscored

_SMALL: Final = ("components", "cells", "pairs", "series", "runs")
MAX_MESSAGES: Final = 10
"""Faults that SQLite is asked to list; the first says enough."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check looked at."""

    checked: str
    wrong: int
    """How many are not as they should be."""
    problem: bool
    """Whether that is a fault; files that nothing needs are only untidy."""
    example: str | None = None
    remedy: str | None = None


_AGAIN: Final = "repair drops them; the next run makes them again"
_RUN: Final = "run the study again: it writes them anew"
_BY_HAND: Final = "nothing makes them again: mend them, or take them out yourself"


@dataclass(frozen=True, slots=True)
class Link:
    """What rows of a table need; ``lost`` is the condition on those that lack it.

    A condition may use what :func:`opensafemlrm.store.keys.prepare` gives a connection.
    """

    checked: str
    table: str
    lost: str
    remedy: str = _AGAIN
    stops_tables: bool = True
    """Whether no table is made of a store with such rows, where they are of the few."""

    @property
    def droppable(self) -> bool:
        """Whether a repair drops such rows: what nothing can make again stays."""
        return self.remedy not in (_RUN, _BY_HAND)


def _without(table: str, *columns: str) -> str:
    """Return the condition that one of ``columns`` names a row that ``table`` does not have."""
    return " OR ".join(
        f"""("{column}" != x'' AND "{column}" NOT IN (SELECT key FROM {table}))"""
        for column in columns
    )


def _no_member(column: str, members: Iterable[str]) -> str:
    """Return the condition that a column holds what is not among ``members``, nor missing."""
    return f"{column} NOT IN ({', '.join(repr(str(member)) for member in members)})"


def _outside(scores: str = "score") -> str:
    """Return the condition that a row's score is not on the scale of its judge."""
    low, high = (f"json_extract(c.facts, '$.scale[{end}]')" for end in (0, 1))
    return (
        f"{scores} IS NOT NULL AND EXISTS (SELECT 1 FROM components c WHERE c.key = judge "
        f"AND json_valid(c.facts) AND NOT {scores} BETWEEN {low} AND {high})"
    )


def _wrong_types(table: Table) -> str:
    """Return the condition that a value is not of its column's type, or is infinite."""
    kinds = {"key": "'blob'", "text": "'text'", "int": "'integer'", "real": "'real', 'integer'"}
    wrong = []
    for name, kind in table.columns.items():
        missing = f'"{name}" IS NOT NULL AND ' if name in table.optional else ""
        wrong.append(f'({missing}typeof("{name}") NOT IN ({kinds[kind]}))')
        if kind == "real":
            wrong.append(f"abs({name}) > 1e300")
    return " OR ".join(wrong)


def _values() -> Iterator[Link]:
    """Yield what tables say of the values of their columns: their types, then which there can be.

    A component that a run cannot name again, since it was imported, is not dropped for its name.
    """
    for name, table in TABLES.items():
        if not table.updates:
            remedy = _BY_HAND if table in LOCAL_TABLES else _AGAIN
            yield Link(f"{name} hold values of their kinds", name, _wrong_types(table), remedy)
            wrong, held = " OR ".join(table.wrong.values()), f"{name} hold what can be"
            remedy = _BY_HAND if name == "components" else remedy
            yield Link(held, name, wrong, remedy, stops_tables=name == "runs")


_ROWS_OF: Final = {
    **{"generations": "replies", "calls": "requests", "inapplicable": "items not sent"},
    **{"counts": "imported counts", "readings": "readings of data sets"},
}
_ROW_OF: Final = {"items": "item", "generations": "reply", "cells": "cell", "dataset": "data set"}
_STUDY: Final = ("pairs", "series", "readings")
"""Tables of which a repair drops rows without their component, where any is left to tell."""
_BEFORE: Final = "(date IS NULL OR model IN (SELECT key FROM components))"
"""Versions that a study could have run; one of an earlier date may never have been asked."""


def _references(*targets: str) -> Iterator[Link]:
    """Yield what rows of all tables need of ``targets``: tables, or ``components`` of a kind."""
    for target, (name, table) in itertools.product(targets, TABLES.items()):
        is_component = target == "components"
        columns = {
            column: of
            for column, of in table.references.items()
            if of == target or (is_component and of not in TABLES)
        }
        if not columns:
            continue
        first, *others = dict.fromkeys(columns.values())
        what = "components" if others else _ROW_OF.get(first, first)
        lost = " OR ".join(
            _without(f"components WHERE kind = '{of}'" if is_component else target, column)
            for column, of in columns.items()
        )
        remedy = _AGAIN if target in ("items", "generations", "verdicts") else _RUN
        if name in _STUDY:
            remedy, lost = _AGAIN, f"EXISTS (SELECT 1 FROM components) AND ({lost})"
        if name == "series":
            lost = f"{lost} AND {_BEFORE}"
        if table in LOCAL_TABLES:
            remedy = _RUN if name == "labels" else _BY_HAND
        checked = f"{_ROWS_OF.get(name, name)} have their {what}"
        yield Link(checked, name, lost, remedy, stops_tables=False)


_THRESHOLD: Final = (
    "(SELECT json_extract(c.facts, '$.thresholds[0]') FROM components c "
    "WHERE c.key = judge AND json_valid(c.facts))"
)
_LABELLED: Final = (
    f"{_no_member('label', Label)} OR {_no_member('reason', Unscored)} "
    "OR (label = 'unscored') IS NOT (score IS NULL) "
    "OR (label = 'unscored') IS NOT (reason NOT NULL) "
    f"OR (label = 'unsafe') != (score >= {_THRESHOLD})"
)
_RESPONDED: Final = (
    f"{_no_member('status', ResponseStatus)} OR (transient = 1 AND status != 'failed')"
)
_SEED: Final = (
    "seed != repeat + (SELECT ifnull(json_extract(sampling, '$.seed'), 0) FROM cells c "
    "WHERE c.key = cell AND json_valid(sampling))"
)
LINKS: Final = (
    # In the order in which a repair drops: what needs a dropped row comes after it.
    *_values(),
    Link(
        "components are what their keys say",
        "components",
        "key IS NOT component_of(kind, identity)",
    ),
    Link(
        "judges have their thresholds and scale",
        "components",
        "facts_fit(kind, identity, facts) IS NOT 1",
    ),
    Link(
        "cells are what their keys say",
        "cells",
        "key IS NOT cell_of(dataset, attack, defense, model, sampling)",
    ),
    Link(
        "readings of data sets are what their keys say",
        "readings",
        "digest IS NOT reading_of(items)",
    ),
    Link(
        "versions of a series are in order",
        "series",
        "step IS NOT NULL AND date IS NOT NULL OR EXISTS (SELECT 1 FROM series o "
        "WHERE o.name = series.name AND o.model != series.model AND (o.place = series.place "
        "OR (o.step IS NULL) != (series.step IS NULL) OR (o.date IS NULL) != (series.date IS NULL) "
        "OR o.place < series.place AND (o.step > series.step OR o.date > series.date)))",
        stops_tables=False,
    ),
    Link(
        "pairs are of two models, one way round",
        "pairs",
        "reasoner = base OR (base, reasoner) IN (SELECT reasoner, base FROM pairs)",
        stops_tables=False,
    ),
    Link(
        "items are what their keys say",
        "items",
        "key IS NOT item_of(key, dataset, id, scenario, kind, question, content)",
    ),
    Link(
        "images are of a kind that there is",
        "images",
        "length(sha256) != 64 OR sha256 GLOB '*[^0-9a-f]*' "
        f"OR {_no_member('media_type', EXTENSIONS)}",
    ),
    Link("prompts can be read", "prompts", "can_read(content) IS NOT 1"),
    Link(
        "replies are what their keys say",
        "generations",
        f"key IS NOT generation_of(cell, item, repeat) OR {_SEED}",
    ),
    Link(
        "replies ended in a way that there is",
        "generations",
        f"{_RESPONDED} OR {_no_member('trace', TraceStatus)}",
    ),
    Link(
        "replies have the text that was judged",
        "generations",
        "key IN (SELECT generation FROM temp.retold)",
    ),
    Link("verdicts have a label and a reason that there are", "verdicts", _LABELLED),
    Link("scores are on the judge's scale", "verdicts", _outside()),
    Link(
        "judgements are on their reply",
        "judgements",
        "(generation, judge) IN (SELECT generation, judge FROM temp.misjudged)",
    ),
    Link("requests ended in a way that there is", "calls", _RESPONDED),
    Link("requests can be read", "calls", "can_read(prompt) IS NOT 1"),
    *_references("items", "generations", "verdicts"),
    Link("labels are of a part", "labels", _no_member("part", Part), _BY_HAND),
    Link(
        "imported counts are of a part and on the scale",
        "counts",
        f"{_no_member('part', Part)} OR {_outside()}",
        _BY_HAND,
    ),
    Link("calibrations are of a part", "calibrations", _no_member("part", ("", *Part)), _BY_HAND),
    Link("stops are within what there is", "stops", "drawn > items OR low > high", _BY_HAND),
    *_references("cells", "components"),
    Link(
        "prompts are of an attack or a cell",
        "prompts",
        "attack NOT IN (SELECT attack FROM cells UNION SELECT key FROM cells)",
        _RUN,
    ),
)


def check(path: Path) -> list[Finding]:
    """Return what was looked at in the store at ``path``, and how much of each is wrong.

    Writes nothing, and may look while a run is writing. Raises StoreError if there is no store or
    it cannot be read now, as on a full disk: that is no fault of the store. Raises
    StoreVersionError if it is too new. Of a sink the checksums are looked at.
    """
    if is_sink(path):
        return _check_sink(Sink(path))
    with opened(path) as connection:
        faults = integrity_faults(connection)
        rebuild = "repair copies what can be read into a new file"
        findings = [_finding("the database file is whole", faults, rebuild)]
        version = 0 if faults else schema.version_of(connection)
        schema.refuse_newer(version, connection)
        if faults:
            return findings
        old = [] if version == schema.VERSION else [f"version {version}"]
        remedy = f"safemlrm store migrate {path}" if old else rebuild
        strange = old or schema.strange(connection)
        findings.append(_finding(f"the schema is of version {schema.VERSION}", strange, remedy))
        if not strange:
            prepare(connection)
            findings += [_link(connection, link) for link in LINKS]
            findings += _images(look_at_images(connection, path))
    return findings


def _check_sink(sink: Sink) -> list[Finding]:
    try:
        sink.require_whole()
        changed = []
    except StoreError as error:
        changed = [str(error)]
    again = "take the part away, and run the study again: it makes what is missing"
    return [
        _finding("the files of all parts are what was written", changed, again),
        _finding("image files are unchanged", sink.wrong_images(), "take them away"),
    ]


def refuse_contradictions(connection: sqlite3.Connection) -> None:
    """Raise StoreError where a component, a cell or a run is not what its key says.

    They are few, and everything that tables say stands on them.
    """
    add_functions(connection)
    with reading():
        for link in LINKS:
            if link.table in _SMALL and link.stops_tables:
                finding = _link(connection, link)
                if finding.problem:
                    raise unfit(link.table, f"it is not so that {link.checked} ({finding.example})")


def integrity_faults(connection: sqlite3.Connection) -> list[str]:
    """Return what SQLite finds wrong with its own file; nothing where it is whole."""
    try:
        rows = connection.execute(f"PRAGMA integrity_check({MAX_MESSAGES})").fetchall()
    except UnicodeDecodeError:  # of SQLite's own words for it, which repeat the text
        return ["a name in its list of tables is no text"]
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return [str(error)]
    faults = [str(message) for (message,) in rows if message != "ok"]
    return faults or list(itertools.islice(_undecodable(connection), MAX_MESSAGES))


def _undecodable(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield the places of texts that are no UTF-8: SQLite does not look at them."""
    for name, table in TABLES.items():
        there = schema.columns_in(connection, name)
        texts = [column for column, kind in there.items() if kind == "TEXT"]
        if table.updates or not texts:
            continue
        connection.text_factory = bytes
        try:
            for row in connection.execute(table.select(texts)):
                for column, value in zip(texts, row, strict=True):
                    if isinstance(value, bytes) and not _is_text(value):
                        yield f"{name}.{column} holds what is no text"
        finally:
            connection.text_factory = str


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _finding(checked: str, wrong: Sequence[str], remedy: str, *, problem: bool = True) -> Finding:
    if not wrong:
        return Finding(checked, 0, problem=False)
    return Finding(checked, len(wrong), problem, wrong[0], remedy)


def _link(connection: sqlite3.Connection, link: Link) -> Finding:
    first = TABLES[link.table].key[0]
    wrong, example = connection.execute(
        f"SELECT count(*), min(quote({first})) FROM {link.table} WHERE {link.lost}"
    ).fetchone()
    if not wrong:
        return Finding(link.checked, 0, problem=False)
    example = str(example).removeprefix("X").strip("'")
    return Finding(link.checked, wrong, True, f"{first} {example}", link.remedy)


def _images(images: Images) -> list[Finding]:
    removed = "repair moves them aside"
    killed = f"no fault: a run was killed there; {removed}"
    dropped = "repair drops the prompts; a run that needs one makes it again"
    changed, orphans, partial = (
        [file.name for file in files] for files in (images.changed, images.orphans, images.partial)
    )
    return [
        _finding("prompts have their images", sorted(images.missing), dropped),
        _finding("image files are unchanged", changed, removed),
        _finding("image files are used", orphans, killed, problem=False),
        _finding("no write was cut off", partial, killed, problem=False),
    ]
