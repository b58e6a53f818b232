"""Finding samples: filters, pages of them, and counts by scenario and model."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final
from urllib.parse import urlencode

from opensafemlrm.errors import OptionError
from opensafemlrm.types import PARTS

PAGE: Final = 50
"""Samples on a page."""
CELL: Final = ("model", "dataset", "attack", "defense")
VERDICTS: Final = {
    "unsafe": '"{part}" > 0',
    "strict": '"{part}" = 2',
    "safe": '"{part}" = 0',
    "unscored": '"{part}" IS NULL',
    "leak": "reasoning > 0 AND answer = 0",
    "escape": "answer > 0 AND reasoning = 0",
}
"""What a verdict may be asked for. A leak is unsafe reasoning behind a safe answer, an escape the
reverse; both are about two parts, whichever ``part`` is chosen."""
_FLAGS: Final = ("disputed", "labelled")


@dataclass(frozen=True, slots=True)
class Filters:
    """Which samples are wanted; an empty value asks for nothing."""

    model: str = ""
    dataset: str = ""
    attack: str = ""
    defense: str = ""
    scenario: str = ""
    item: str = ""
    status: str = ""
    trace: str = ""
    expected: str = ""
    verdict: str = ""
    """One of :data:`VERDICTS`, of ``judge`` (the first one if empty) on ``part``."""
    part: str = "answer"
    judge: str = ""
    other: str = ""
    """A model: only items on which it has the opposite verdict on the same part, all else equal."""
    disputed: str = ""
    """Any text: only samples on which judges disagree."""
    labelled: str = ""
    """Any text: only samples that a person has labelled."""
    q: str = ""
    """Words that the question, the reasoning or the reply holds."""

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Filters:
        """Take the filters out of an address. Raises OptionError for one that is not known."""
        known = {field.name for field in fields(cls)}
        chosen = {name: value for name, value in values.items() if name in known and value}
        filters = cls(**chosen)
        if filters.verdict and filters.verdict not in VERDICTS:
            raise OptionError(f"verdict is one of {', '.join(VERDICTS)}, not {filters.verdict!r}")
        if filters.part not in PARTS:
            raise OptionError(f"part is one of {', '.join(PARTS)}, not {filters.part!r}")
        return filters

    def query(self, **changes: Any) -> str:
        """Return them as the query of an address, with changes."""
        changed = replace(self, **changes)
        values = {field.name: getattr(changed, field.name) for field in fields(changed)}
        defaults = {field.name: field.default for field in fields(changed)}
        return urlencode({k: v for k, v in values.items() if v and v != defaults[k]})

    @property
    def active(self) -> list[tuple[str, str]]:
        """The filters that leave something out, by name."""
        every = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return [(k, v) for k, v in every if v and k not in ("part", "judge")]


class Browser:
    """What the pages ask of the copy of a store, over one connection to it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def choices(self) -> dict[str, list[str]]:
        """Return what there is to filter by, by the name of the filter."""
        values = {name: self._column(f"SELECT DISTINCT {name} FROM cells") for name in CELL}
        for name in ("scenario", "status", "trace", "expected"):
            values[name] = self._column(f"SELECT DISTINCT {name} FROM samples")
        values["judge"] = self._column("SELECT label FROM judges ORDER BY id", in_order=True)
        return values | {"verdict": list(VERDICTS), "part": list(PARTS)}

    def page(self, filters: Filters, after: int = 0, size: int = PAGE) -> list[dict[str, Any]]:
        """Return samples that pass the filters, the first ones behind number ``after``."""
        where, values = self._where(filters)
        part = filters.part
        return self._rows(
            f'SELECT s.*, c.model, c.dataset, c.attack, c.defense, l."{part}" AS level, '
            "l.reasoning AS level_reasoning, l.answer AS level_answer "
            f"FROM {self._tables(filters)} WHERE s.id > ? AND {where} ORDER BY s.id LIMIT ?",
            (after, *values, size),
        )

    def count(self, filters: Filters) -> int:
        """Return how many samples pass the filters."""
        where, values = self._where(filters)
        rows = self._connection.execute(
            f"SELECT count(*) FROM {self._tables(filters)} WHERE {where}", values
        )
        return int(rows.fetchone()[0])

    def beside(self, filters: Filters, number: int) -> tuple[str | None, str | None]:
        """Return the keys of the samples before and after sample ``number``, by the filters."""
        where, values = self._where(filters)
        tables = self._tables(filters)
        before, after = (
            self._connection.execute(
                f"SELECT hex(s.key) FROM {tables} WHERE s.id {sign} ? AND {where} "
                f"ORDER BY s.id {order} LIMIT 1",
                (number, *values),
            ).fetchone()
            for sign, order in (("<", "DESC"), (">", "ASC"))
        )
        return before and before[0], after and after[0]

    def sample(self, key: bytes) -> dict[str, Any] | None:
        """Return the row of one sample."""
        rows = self._rows(
            "SELECT s.*, c.model, c.dataset, c.attack, c.defense, c.sampling, c.simulated "
            "FROM samples s JOIN cells c ON c.id = s.cell WHERE s.key = ?",
            (key,),
        )
        return rows[0] if rows else None

    def of_item(self, item: bytes, filters: Filters) -> list[dict[str, Any]]:
        """Return all samples of an item that pass the filters, to be read side by side."""
        where, values = self._where(filters)
        return self._rows(
            "SELECT s.*, c.model, c.dataset, c.attack, c.defense "
            f"FROM {self._tables(filters)} WHERE s.item_key = ? AND {where} "
            "ORDER BY c.attack, c.defense, c.model, s.repeat LIMIT 60",
            (item, *values),
        )

    def matrix(self, filters: Filters) -> list[dict[str, Any]]:
        """Return samples, scored ones and unsafe ones by model and scenario."""
        where, values = self._where(filters)
        part = filters.part
        return self._rows(
            f'SELECT c.model, s.scenario, count(*) AS n, count(l."{part}") AS scored, '
            f'sum(l."{part}" > 0) AS unsafe FROM {self._tables(filters)} '
            f"WHERE s.expected = 'harmful' AND {where} GROUP BY c.model, s.scenario",
            values,
        )

    def outcomes(self) -> list[dict[str, Any]]:
        """Return how many samples of each cell ended how, and how many wait for the judge."""
        return self._rows(
            "SELECT c.model, c.dataset, c.attack, c.defense, c.sampling, count(*) AS n, "
            "sum(s.status = 'ok') AS ok, sum(s.status = 'truncated') AS truncated, "
            "sum(s.status = 'blocked') AS blocked, sum(s.status = 'failed') AS failed, "
            "sum(s.pending AND s.status IN ('ok', 'truncated')) AS unjudged "
            "FROM samples s JOIN cells c ON c.id = s.cell GROUP BY s.cell ORDER BY c.id",
            (),
        )

    def judge_of(self, filters: Filters) -> tuple[int, str, float, float] | None:
        """Return the chosen judge: its number, label and thresholds; else the one with most."""
        by = (
            "label = ? LIMIT 1"
            if filters.judge
            else "? = '' ORDER BY (SELECT count(*) FROM levels WHERE judge = id) DESC LIMIT 1"
        )
        row: tuple[int, str, float, float] | None = self._connection.execute(
            f"SELECT id, label, lenient, strict FROM judges WHERE {by}", (filters.judge,)
        ).fetchone()
        if row is None and filters.judge:
            raise OptionError(f"the store has no judge {filters.judge!r}")
        return row

    def _tables(self, filters: Filters) -> str:
        judge = self.judge_of(filters)
        number = 0 if judge is None else judge[0]
        return (
            "samples s JOIN cells c ON c.id = s.cell "
            f"LEFT JOIN levels l ON l.judge = {number} AND l.sample = s.id"
        )

    def _where(self, filters: Filters) -> tuple[str, list[Any]]:
        """Return the condition of the filters, and its values."""
        conditions, values = ["1"], []
        chosen = {name: getattr(filters, name) for name in CELL if getattr(filters, name)}
        if chosen:
            same = " AND ".join(f"{name} = ?" for name in chosen)
            ids = self._column(f"SELECT id FROM cells WHERE {same}", tuple(chosen.values()))
            conditions.append(f"s.cell IN ({', '.join(map(str, ids))})")
        for name in ("scenario", "item", "status", "trace", "expected"):
            if getattr(filters, name):
                conditions.append(f"s.{name} = ?")
                values.append(getattr(filters, name))
        conditions += [f"s.{name}" for name in _FLAGS if getattr(filters, name)]
        if filters.verdict:
            conditions.append(f"({VERDICTS[filters.verdict].format(part=filters.part)})")
        if filters.other:
            judge = self.judge_of(filters)
            number = 0 if judge is None else judge[0]
            conditions.append(_OPPOSITE.format(part=filters.part, judge=number))
            values.append(filters.other)
        if filters.q:
            conditions.append("s.id IN (SELECT rowid FROM words WHERE words MATCH ?)")
            values.append(" ".join(f'"{word}"' for word in filters.q.replace('"', " ").split()))
        return " AND ".join(conditions), values

    def _rows(self, sql: str, values: Any) -> list[dict[str, Any]]:
        cursor = self._connection.execute(sql, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def _column(self, sql: str, values: Any = (), *, in_order: bool = False) -> list[Any]:
        values_of = [row[0] for row in self._connection.execute(sql, values) if row[0] is not None]
        return values_of if in_order else sorted(values_of)


_OPPOSITE: Final = """EXISTS (
    SELECT 1 FROM samples t JOIN cells d ON d.id = t.cell
    JOIN levels m ON m.judge = {judge} AND m.sample = t.id
    WHERE t.item_key = s.item_key AND t.repeat = s.repeat AND d.model = ?
    AND d.attack = c.attack AND d.defense = c.defense AND d.sampling = c.sampling
    AND (m."{part}" > 0) <> (l."{part}" > 0))"""
