"""The store's tables, each spec once: DDL, inserts, Parquet schemas and readers follow it.

Rows travel as a table's name and its values, in the order of the table's columns. SQLite, Parquet
and polars are three ways to hold the same tables; nothing else in the project names their types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["key", "text", "int", "real"]
Values: TypeAlias = tuple[Any, ...]
"""What one row holds, in the order of its table's columns."""
Row: TypeAlias = tuple[str, Values]
"""The name of a table, and what is to be put into it."""
Rows: TypeAlias = dict[str, list[Values]]
"""Many rows, by the name of their table."""

_SQL: Final[Mapping[Kind, str]] = {"key": "BLOB", "text": "TEXT", "int": "INTEGER", "real": "REAL"}
_WORDS: Final[Mapping[str, tuple[Kind, str]]] = {
    "text": ("text", ""),
    "name": ("text", "{0} = '' OR instr({0}, char(0))"),
    "date": ("text", "{0} IS NOT date({0})"),  # YYYY-MM-DD
    "json": ("text", "NOT json_valid({0})"),
    "int": ("int", ""),
    "count": ("int", "{0} < 0"),
    "flag": ("int", "{0} NOT IN (0, 1)"),
    "real": ("real", ""),
    "amount": ("real", "{0} < 0"),
    "time": ("real", "{0} NOT BETWEEN 0 AND 253402300799"),  # seconds since 1970; to the year 9999
    "key": ("key", "length({0}) != 16"),
    "keys": ("key", "length({0}) % 16"),
}
"""What columns hold, with the condition under which a value is none of it. Another word is a kind
of component, or a table, whose key is held."""
_EMPTY: Final[Mapping[Kind, str]] = {"key": "x''", "text": "''", "int": "0", "real": "0"}


@dataclass(frozen=True)
class Table:
    """One table: what it holds, and what becomes of a second row with the same key."""

    name: str
    spec: str
    """Its columns: ``name``, or ``name:word`` of what they hold, with ``?`` where a value may be
    missing, and ``-`` where an empty key stands for all there are."""
    key: tuple[str, ...]
    """The columns that tell its rows apart."""
    on_conflict: str = "ignore"
    """``ignore``, ``replace``, or the condition under which a stored row gives way to a new one."""
    by_rowid: bool = False
    """Whether rows lie in the order in which they came, since they are too large for an index."""
    number: str = ""
    """A column that numbers the rows; the database fills it in, and it does not travel."""
    updates: str = ""
    """The table of which these rows change columns, where they are no table of a database."""

    @cached_property
    def columns(self) -> dict[str, Kind]:
        """What its rows hold, in order."""
        return {column.name: column.kind for column in _parse(self.spec)}

    @cached_property
    def insert(self) -> str:
        """The statement that puts one row into a database."""
        names = list(self.columns)
        if self.updates:
            changed = ", ".join(f"{name} = ?" for name in names if name not in self.key)
            return f"UPDATE {self.updates} SET {changed} WHERE {self.key[0]} = ?"
        quoted = ", ".join(map(_quoted, names))
        verb = {"ignore": "INSERT OR IGNORE", "replace": "INSERT OR REPLACE"}
        put = verb.get(self.on_conflict, "INSERT")
        statement = f"{put} INTO {self.name} ({quoted}) VALUES ({', '.join('?' * len(names))})"
        if self.on_conflict in verb:
            return statement
        changed = ", ".join(f"{name} = excluded.{name}" for name in names if name not in self.key)
        return (
            f"{statement} ON CONFLICT ({', '.join(self.key)}) "
            f"DO UPDATE SET {changed} WHERE {self.name}.{self.on_conflict}"
        )

    @cached_property
    def create(self) -> str:
        """The statements that make it in a database; nothing where it only updates another."""
        lines = [self._column(name) for name in self.columns]
        if self.updates:
            return ""
        if self.number:
            lines.insert(0, f"{self.number} INTEGER PRIMARY KEY")
            return f"CREATE TABLE {self.name} ({', '.join(lines)});\n"
        if self.optional.isdisjoint(self.key):
            lines.append(f"PRIMARY KEY ({', '.join(self.key)})")
            end = "" if self.by_rowid else " WITHOUT ROWID"
            return f"CREATE TABLE {self.name} ({', '.join(lines)}){end};\n"
        by = ", ".join(
            f"ifnull({name}, -1)" if name in self.optional else name for name in self.key
        )
        return (
            f"CREATE TABLE {self.name} ({', '.join(lines)});\n"
            f"CREATE UNIQUE INDEX {self.name}_by_content ON {self.name} ({by});\n"
        )

    @property
    def column_types(self) -> dict[str, str]:
        """Its columns with the types that a database has for them."""
        return {name: _SQL[kind] for name, kind in self.columns.items()}

    @cached_property
    def optional(self) -> frozenset[str]:
        """The columns whose values may be missing."""
        return frozenset(column.name for column in _parse(self.spec) if column.optional)

    @cached_property
    def wrong(self) -> dict[str, str]:
        """The conditions under which a value cannot be in a column, where there are any."""
        conditions = {}
        for column in _parse(self.spec):
            _, wrong = _WORDS.get(column.word, _WORDS["key"])
            empty = f"{_quoted(column.name)} != x'' AND " if column.or_all else ""
            conditions[column.name] = wrong and f"{empty}({wrong.format(_quoted(column.name))})"
        return {name: wrong for name, wrong in conditions.items() if wrong}

    @cached_property
    def references(self) -> dict[str, str]:
        """The columns that hold a key of another row: of which table, or kind of component."""
        return {c.name: c.word for c in _parse(self.spec) if c.word not in _WORDS}

    def _column(self, name: str) -> str:
        end = "" if name in self.optional else " NOT NULL"
        return f"{_quoted(name)} {_SQL[self.columns[name]]}{end}"

    @cached_property
    def fillers(self) -> dict[str, str]:
        """What stands in a column of a row that never had one: NULL, 0 or the empty text."""
        return {n: "NULL" if n in self.optional else _EMPTY[k] for n, k in self.columns.items()}

    def add(self, missing: Sequence[str]) -> str:
        """Return the statements that give a table of an older version its ``missing`` columns.

        Rows that are there have none of them: NULL, or 0 and the empty text where that may not be.
        """
        if not set(missing) & set(self.key):
            return "".join(
                f"ALTER TABLE {self.name} ADD COLUMN {self._column(name)} "
                f"DEFAULT {self.fillers[name]};\n"
                for name in missing
            )
        there = [_quoted(name) for name in self.columns if name not in missing]
        empty = [self.fillers[name] for name in missing]
        return (
            f"ALTER TABLE {self.name} RENAME TO before_{self.name};\n{self.create}"
            f"INSERT INTO {self.name} ({', '.join([*there, *map(_quoted, missing)])}) "
            f"SELECT {', '.join([*there, *empty])} FROM before_{self.name};\n"
            f"DROP TABLE before_{self.name};\n"
        )

    def view(self, missing: Sequence[str]) -> str:
        """Return the statement after which a connection sees the columns that are ``missing``."""
        columns = ", ".join(
            f"{self.fillers[name]} AS {_quoted(name)}" if name in missing else _quoted(name)
            for name in self.columns
        )
        rows = "WHERE 0" if len(missing) == len(self.columns) else f"FROM main.{self.name}"
        return f"CREATE TEMP VIEW {self.name} AS SELECT {columns} {rows};\n"

    def schema(self) -> dict[str, pl.DataType]:
        """Return its columns as polars has them."""
        import polars as pl  # noqa: PLC0415 # a run needs no frames

        kinds: dict[Kind, pl.DataType] = {
            "key": pl.Binary(),
            "text": pl.String(),
            "int": pl.Int64(),
            "real": pl.Float64(),
        }
        return {name: kinds[kind] for name, kind in self.columns.items()}

    def select(self, columns: Iterable[str] | None = None) -> str:
        """Return the query for some of its columns, or for all of them."""
        names = self.columns if columns is None else columns
        return f"SELECT {', '.join(map(_quoted, names))} FROM {self.name}"  # our own names


class _Column(NamedTuple):
    """One column of a table's spec."""

    name: str
    word: str
    kind: Kind
    optional: bool
    or_all: bool


def columns_of(spec: str) -> list[str]:
    """Return the names of the columns that a table's ``spec``, or a part of one, describes."""
    return [column.name for column in _parse(spec)]


def _parse(spec: str) -> list[_Column]:
    columns = []
    for column in spec.split():
        name, _, word = column.rstrip("?-").partition(":")
        kind, _ = _WORDS.get(word or "text", _WORDS["key"])
        columns.append(_Column(name, word or "text", kind, "?" in column, "-" in column))
    return columns


def _quoted(name: str) -> str:
    return f'"{name}"' if name == "full" else name  # a word of SQL's


RESPONSE: Final = (
    "status transient:flag "  # ok, truncated, blocked, failed; a failure that may pass
    "text reasoning? is_summary:flag is_hidden:flag "  # reasoning: what the server had split off
    "finish_reason? code? detail? "
    "input_tokens:count? output_tokens:count? reasoning_tokens:count? latency:amount retries:count "
    "response_model? sent_parameters?"  # who answered; JSON of what the request set
)
VERDICT: Final = (
    "label score:real? reason? refusal:flag? rationale requests:count "
    "input_tokens:count? output_tokens:count? reasoning_tokens:count? latency:amount "
    "understood:flag? response_model? sent_parameters?"
)

STUDY_TABLES: Final = (
    # kind: dataset, attack, defense, model, judge. label: what tables call it. identity: JSON of
    # everything that changes results. facts: JSON of what tables need, such as thresholds.
    Table("components", "key:key kind:name label:name identity facts", ("key",)),
    # sampling: JSON of temperature, max_tokens, seed, top_p.
    Table(
        "cells",
        "key:key dataset:dataset attack:attack defense:defense model:model sampling",
        ("key",),
    ),
    Table("pairs", "reasoner:model base:model", ("reasoner", "base")),
    # Versions of a model in their order. date: YYYY-MM-DD.
    Table(
        "series",
        "name:name model:model place:count step:real? date:date?",
        ("name", "model"),
        on_conflict="replace",
    ),
    # What a data set held each time it was read whole. source: where it lay, hashed; digest: of
    # items, the sorted keys of its items, 16 bytes each. Only the latest of a source holds.
    Table(
        "readings",
        "dataset:dataset source:key digest:key items:keys created:time",
        ("dataset", "source", "digest"),
        on_conflict="replace",
    ),
)
"""What a study is made of: written before its first sample."""
RUNS: Final = Table(
    # study: the file as it was read. environment: JSON of versions and the platform.
    "runs",
    "started:time ended:time? study environment:json",
    ("started", "study"),
    number="id",
)
SAMPLE_TABLES: Final = (
    Table("images", "sha256 media_type width:count height:count", ("sha256",)),
    # content: JSON of system prompt, fields, images and released images.
    Table("items", "key:key dataset id scenario kind question content", ("key",), by_rowid=True),
    # content: JSON of turns, with images by their hash.
    Table(
        "prompts",
        "attack:key item:items seed:int content",
        ("attack", "item", "seed"),
        by_rowid=True,
    ),
    # A text that has no score may be judged again: nothing ever takes a score's place.
    # speaks_to_judge: whether the text that was judged has words or signs for whoever judges it.
    Table(
        "verdicts",
        f"key:key judge:judge {VERDICT} speaks_to_judge:flag? created:time",
        ("key",),
        on_conflict="score IS NULL AND reason != 'not_recorded'",
        by_rowid=True,
    ),
    # trace: closed, unclosed, absent, hidden, summary; none without a reply. splitter: the format
    # and version that found it. A failure gives way to what a later try gives.
    Table(
        "generations",
        f"key:key cell:cells item:items repeat:count seed:int {RESPONSE} "
        "trace? splitter? created:time",
        ("key",),
        on_conflict="status = 'failed'",
        by_rowid=True,
    ),
    # Requests behind a reply, of a defense or a search. score: of the judge, where it was asked.
    Table(
        "calls",
        f"generation:generations step:count purpose prompt score:real? {RESPONSE}",
        ("generation", "step"),
        on_conflict="replace",
        by_rowid=True,
    ),
    # A reply that is in the store already, split anew.
    Table("traces", "trace splitter key:key", ("key",), updates="generations"),
    # The verdicts on the parts of a reply; none for a part without text.
    Table(
        "judgements",
        "generation:generations judge:judge reasoning:verdicts? answer:verdicts? full:verdicts?",
        ("generation", "judge"),
        on_conflict="replace",
    ),
    # Items that an attack could not carry: nothing was sent.
    Table("inapplicable", "cell:cells item:items reason", ("cell", "item"), on_conflict="replace"),
)
"""What a sample leaves, in the order in which a database takes it: what others need comes first."""
LOCAL_TABLES: Final = (
    # Imported histograms: how many samples had a score, and none of the samples.
    Table(
        "counts",
        "cell:cells judge:judge scenario part score:real? n:count created:time",
        ("cell", "judge", "scenario", "part", "score"),
        on_conflict="replace",
    ),
    # Where a rule ended a run before all items of a scenario were drawn. base: empty where the rule
    # is on one model's rate. rule: JSON of the study's key. low, high: of the rate or difference.
    Table(
        "stops",
        "cell:cells base:cells- judge:judge scenario rule:json answer items:count drawn:count "
        "low:real high:real created:time",
        ("cell", "base", "judge", "scenario"),
        on_conflict="replace",
    ),
    # How a judge fared on labels at a threshold. An empty part is one that is not recorded, an
    # empty model, attack or scenario are all of them.
    Table(
        "calibrations",
        "judge:judge labels:name part model:model- attack:attack- scenario threshold:real "
        "true_positives:count false_positives:count true_negatives:count false_negatives:count "
        "unscored:count created:time",
        ("judge", "labels", "part", "model", "attack", "scenario", "threshold"),
        on_conflict="replace",
    ),
    # What people say of a part of a reply; unsafe is missing where the labeller could not tell.
    # text: what they were shown, so that a label outlives its reply; empty where it is too old.
    # response_class: of MSTS, such as 1.3, where they chose among classes.
    Table(
        "labels",
        "generation:generations part labeller:name text unsafe:flag? response_class? "
        "understood:flag? note created:time",
        ("generation", "part", "labeller", "text"),
        on_conflict="replace",
    ),
)
"""What only a store holds: no worker writes it."""
TABLES: Final = {
    table.name: table for table in (*STUDY_TABLES, RUNS, *SAMPLE_TABLES, *LOCAL_TABLES)
}
