"""Finding samples: pages of those that pass filters, and counts by scenario and model."""

from __future__ import annotations

import heapq
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from opensafemlrm.errors import OptionError
from opensafemlrm.types import PARTS
from opensafemlrm.view.filters import CELL, FLAGS, VERDICTS, Filters

PAGE: Final = 50
"""Samples on a page."""
MAX_LOOKED_AT: Final = 2_000
"""Samples that are looked at to count those that pass, where no facet counts them."""
_FEW: Final = 2_000
"""Samples that are looked up in the index of words one by one; of more, those with the words are
looked at in turn."""
_BATCH: Final = 100
_OPPOSITE: Final = """EXISTS (
    SELECT 1 FROM cells c JOIN cells d ON d.model = ? AND d.dataset = c.dataset
        AND d.attack = c.attack AND d.defense = c.defense AND d.sampling = c.sampling
    JOIN samples t ON t.item_key = s.item_key AND t.cell = d.id AND t.repeat = s.repeat
    JOIN placed q ON q.sample = t.id AND q.judge = f.judge JOIN facets g ON g.id = q.facet
    WHERE c.id = s.cell AND f."{part}" >= 0 AND g."{part}" >= 0
        AND (g."{part}" > 0) <> (f."{part}" > 0))"""


@dataclass(frozen=True, slots=True)
class Judge:
    """A judge of the store, by its number in the copy."""

    number: int
    label: str
    lenient: float
    strict: float


class Browser:
    """What the pages ask of the copy of a store, over one connection to it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._judges = {
            judge.label: judge
            for judge in (
                Judge(*row)
                for row in connection.execute(
                    "SELECT id, label, lenient, strict FROM judges ORDER BY scored DESC, id"
                )
            )
        }

    def choices(self, filters: Filters) -> dict[str, list[str]]:
        """Return what there is to filter by, by the name of the filter."""
        values = {name: self._column(f"SELECT DISTINCT {name} FROM cells") for name in CELL}
        for name in ("scenario", "status", "trace", "expected"):
            values[name] = [
                value for value in self._column(f"SELECT DISTINCT {name} FROM facets") if value
            ]
        judge = self._number(filters)
        scores = self._column(
            f'SELECT DISTINCT "{filters.part}_score" FROM facets WHERE judge = {judge} '
            f'AND "{filters.part}" >= 0'
        )
        values["score"] = [f"{score:.4g}" for score in scores]
        values["judge"] = sorted(self._judges)
        return values | {"verdict": list(VERDICTS), "part": list(PARTS)}

    def items(self) -> list[str]:
        """Return the names of all items."""
        return self._column("SELECT DISTINCT item FROM samples")

    def judge_of(self, filters: Filters) -> Judge | None:
        """Return the chosen judge, else the one with most scores. Raises OptionError."""
        if not filters.judge:
            return next(iter(self._judges.values()), None)
        if filters.judge not in self._judges:
            raise OptionError(f"the store has no judge {filters.judge!r}")
        return self._judges[filters.judge]

    def page(self, filters: Filters, after: int = 0, size: int = PAGE) -> list[dict[str, Any]]:
        """Return samples that pass the filters, the first ones behind number ``after``."""
        return self._rows_of(list(islice(self._passing(filters, after), size)), filters)

    def count(self, filters: Filters) -> tuple[int, bool]:
        """Return how many samples pass the filters, and whether there may be more.

        Where words or an opposite are asked for, only the first samples are looked at.
        """
        if not (filters.q or filters.item or filters.other):
            return self._facets_hold(self._where(filters)), False
        numbers, tests = self._candidates(filters, 0)
        looked_at = list(islice(numbers, MAX_LOOKED_AT))
        return len(list(self._tested(iter(looked_at), tests, filters))), any(True for _ in numbers)

    def of_any(
        self, several: Sequence[Filters], size: int
    ) -> tuple[list[dict[str, Any]], int, bool]:
        """Return the first samples that pass any of the filters; how many do; whether more may.

        Each counts once, also where several judges say the same of it.
        """
        if len({filters.judge for filters in several}) > 1:
            passing = sorted(
                {number for filters in several for number in self._passing(filters, 0)}
            )
            return self._rows_of(passing[:size], Filters()), len(passing), False
        rows: list[dict[str, Any]] = []
        counts = [self.count(filters) for filters in several]
        for filters in several:
            rows += self.page(filters, size=size - len(rows)) if len(rows) < size else []
        return rows, sum(n for n, _ in counts), any(more for _, more in counts)

    def beside(self, filters: Filters, number: int) -> tuple[str | None, str | None]:
        """Return the keys of the samples before and after sample ``number``, by the filters."""
        neighbours = (
            next(self._passing(filters, number, backwards=backwards), None)
            for backwards in (True, False)
        )
        before, after = (
            None
            if i is None
            else self._column("SELECT hex(key) FROM samples WHERE id = ?", (i,))[0]
            for i in neighbours
        )
        return before, after

    def sample(self, key: bytes) -> dict[str, Any] | None:
        """Return the row of one sample."""
        numbers = self._column("SELECT id FROM samples WHERE key = ?", (key,))
        return self._rows_of(numbers, Filters())[0] if numbers else None

    def of_item(self, item: bytes, filters: Filters) -> list[dict[str, Any]]:
        """Return all samples of an item that pass the filters, to be read side by side."""
        numbers = self._column(
            "SELECT s.id FROM samples s JOIN cells c ON c.id = s.cell WHERE s.item_key = ? "
            "ORDER BY c.attack, c.defense, c.model, s.repeat",
            (item,),
            in_order=True,
        )
        passing = self._tested(iter(numbers), ("facets", "other", "q"), filters)
        return self._rows_of(list(islice(passing, 60)), filters)

    def matrix(self, filters: Filters) -> list[dict[str, Any]]:
        """Return samples, scored ones and unsafe ones by model and scenario.

        What is asked of single samples (words, an item, an opposite) is left out.
        """
        where, values = self._where(replace(filters, q="", item="", other=""))
        part = filters.part
        return self._rows(
            f'SELECT c.model, f.scenario, sum(n) AS n, sum(n * (f."{part}" >= 0)) AS scored, '
            f'sum(n * (f."{part}" > 0)) AS unsafe FROM facets f JOIN cells c ON c.id = f.cell '
            f"WHERE f.expected = 'harmful' AND {where} GROUP BY c.model, f.scenario",
            values,
        )

    def outcomes(self) -> list[dict[str, Any]]:
        """Return how many samples of each cell ended how, and how many wait for the judge."""
        ended = ("ok", "truncated", "blocked", "failed")
        return self._rows(
            "SELECT c.id, c.model, c.dataset, c.attack, c.defense, c.sampling, sum(n) AS n, "
            + "".join(f"sum(n * (f.status = '{status}')) AS {status}, " for status in ended)
            + "sum(n * (f.unjudged AND f.status IN ('ok', 'truncated'))) AS unjudged "
            "FROM facets f JOIN cells c ON c.id = f.cell WHERE f.judge = ? AND n > 0 "
            "GROUP BY c.id ORDER BY c.id",
            (self._number(Filters()),),
        )

    def _passing(self, filters: Filters, after: int, *, backwards: bool = False) -> Iterator[int]:
        """Yield the numbers of the samples behind ``after`` that pass the filters, in order."""
        return self._tested(*self._candidates(filters, after, backwards=backwards), filters)

    def _candidates(
        self, filters: Filters, after: int, *, backwards: bool = False
    ) -> tuple[Iterator[int], tuple[str, ...]]:
        """Return the samples to look at, in order, and the filters that each has to be held to.

        They come from where there are fewest.
        """
        words = _words(filters.q)
        if filters.q and not words:
            return iter(()), ()
        where = self._where(filters)
        everything = where == self._where(Filters(judge=filters.judge, part=filters.part))
        if filters.item:
            numbers = self._column("SELECT id FROM samples WHERE item = ?", (filters.item,))
            ahead = [n for n in numbers if (n < after if backwards else n > after)]
            return iter(sorted(ahead, reverse=backwards)), ("facets", "other", "q")
        if words and (everything or self._facets_hold(where) > _FEW):
            if not (everything or backwards):
                # What passes often lies together: what one model said of one data set.
                after = next(self._merged(where, after, backwards=False), after + 1) - 1
            matching = self._in_order("words.words", "rowid", words, after, backwards=backwards)
            return matching, ("other",) if everything else ("facets", "other")
        if everything:
            return self._in_order("samples", "id", "", after, backwards=backwards), ("other", "q")
        return self._merged(where, after, backwards=backwards), ("other", "q")

    def _in_order(
        self, table: str, number: str, words: str, after: int, *, backwards: bool
    ) -> Iterator[int]:
        sign, order = ("<", "DESC") if backwards else (">", "ASC")
        matching = "words MATCH ? AND " if words else ""
        rows = self._connection.execute(
            f"SELECT {number} FROM {table} WHERE {matching}{number} {sign} ? "
            f"ORDER BY {number} {order}",
            (words, after) if words else (after,),
        )
        return (row[0] for row in rows)

    def _merged(
        self, where: tuple[str, list[Any]], after: int, *, backwards: bool
    ) -> Iterator[int]:
        """Yield the samples of all facets that pass, in the order of their numbers."""
        way, sign, order = ("max", "<", "DESC") if backwards else ("min", ">", "ASC")
        condition, values = where
        heads = self._connection.execute(
            f"SELECT (SELECT {way}(sample) FROM placed WHERE facet = f.id AND sample {sign} ?), "
            f"f.id FROM facets f WHERE n > 0 AND {condition}",
            (after, *values),
        )
        turn = -1 if backwards else 1
        none: Iterator[int] = iter(())
        heap = [(turn * head, facet, none) for head, facet in heads if head is not None]
        heapq.heapify(heap)
        while heap:
            place, facet, rest = heap[0]
            number = turn * place
            yield number
            following = next(rest, None)
            if following is None:  # the next ones of this facet
                rows = self._connection.execute(
                    f"SELECT sample FROM placed WHERE facet = ? AND sample {sign} ? "
                    f"ORDER BY sample {order} LIMIT {_BATCH}",
                    (facet, number),
                ).fetchall()
                rest = iter([row[0] for row in rows])
                following = next(rest, None)
            if following is None:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (turn * following, facet, rest))

    def _tested(
        self, numbers: Iterator[int], tests: tuple[str, ...], filters: Filters
    ) -> Iterator[int]:
        """Yield those of some samples that pass the filters named in ``tests``, in their order."""
        conditions: list[str] = []
        values: list[Any] = []
        if "facets" in tests:
            condition, values = self._where(filters)
            conditions.append(condition)
        if filters.other and "other" in tests:
            conditions.append(_OPPOSITE.format(part=filters.part))
            values.append(filters.other)
        if filters.q and "q" in tests:
            conditions.append(
                "EXISTS (SELECT 1 FROM words.words WHERE words MATCH ? AND rowid = s.id)"
            )
            values.append(_words(filters.q))
        if not conditions:
            yield from numbers
        while batch := list(islice(numbers, _BATCH)):
            rows = self._column(
                # CROSS JOIN: in this order, whatever the database thinks is best.
                "SELECT s.id FROM samples s CROSS JOIN placed p ON p.sample = s.id AND p.judge = ? "
                f"CROSS JOIN facets f ON f.id = p.facet WHERE s.id IN ({_marks(batch)}) AND "
                + " AND ".join(conditions),
                (self._number(filters), *batch, *values),
            )
            passing = set(rows)
            yield from (number for number in batch if number in passing)

    def _facets_hold(self, where: tuple[str, list[Any]]) -> int:
        condition, values = where
        return int(
            self._column(f"SELECT ifnull(sum(n), 0) FROM facets f WHERE {condition}", values)[0]
        )

    def _number(self, filters: Filters) -> int:
        judge = self.judge_of(filters)
        return 0 if judge is None else judge.number

    def _where(self, filters: Filters) -> tuple[str, list[Any]]:
        """Return the condition on facets, and its values."""
        conditions = ["f.judge = ?"]
        values: list[Any] = [self._number(filters)]
        chosen = {name: getattr(filters, name) for name in CELL if getattr(filters, name)}
        if chosen:
            same = " AND ".join(f"{name} = ?" for name in chosen)
            ids = self._column(f"SELECT id FROM cells WHERE {same}", tuple(chosen.values()))
            conditions.append(f"f.cell IN ({', '.join(map(str, ids))})")
        for name in ("scenario", "status", "trace", "expected"):
            if getattr(filters, name):
                conditions.append(f"f.{name} = ?")
                values.append(getattr(filters, name))
        conditions += [f"({is_so})" for name, is_so in FLAGS.items() if getattr(filters, name)]
        if filters.verdict:
            conditions.append(f"({VERDICTS[filters.verdict].format(part=filters.part)})")
        if filters.score:
            conditions.append(f'abs(f."{filters.part}_score" - ?) < 1e-3 * (1 + abs(?))')
            conditions.append(f'f."{filters.part}" >= 0')
            values += [float(filters.score)] * 2
        return " AND ".join(conditions), values

    def _rows_of(self, numbers: list[int], filters: Filters) -> list[dict[str, Any]]:
        """Return the rows of samples, in that order, by the chosen judge on the chosen part."""
        rows = self._rows(
            "SELECT s.id, s.key, s.item, s.item_key, s.repeat, c.model, c.dataset, c.attack, "
            "c.defense, c.sampling, c.simulated, f.scenario, f.expected, f.status, f.trace, "
            f'f.disputed, f.labelled, f.unjudged, f."{filters.part}" AS level, '
            f'f."{filters.part}_score" AS score, f.reasoning AS level_reasoning, '
            "f.answer AS level_answer FROM samples s JOIN cells c ON c.id = s.cell "
            "JOIN placed p ON p.sample = s.id AND p.judge = ? JOIN facets f ON f.id = p.facet "
            f"WHERE s.id IN ({_marks(numbers)})",
            (self._number(filters), *numbers),
        )
        by_number = {row["id"]: row for row in rows}
        return [by_number[number] for number in numbers if number in by_number]

    def _rows(self, sql: str, values: Any) -> list[dict[str, Any]]:
        cursor = self._connection.execute(sql, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def _column(self, sql: str, values: Any = (), *, in_order: bool = False) -> list[Any]:
        values_of = [row[0] for row in self._connection.execute(sql, values) if row[0] is not None]
        return values_of if in_order else sorted(values_of)


def _words(text: str) -> str:
    """Return what the index of words is asked for: all words; with a star, all that begin so."""
    words = re.findall(r"([^\W_]+)(\*?)", text)
    return " ".join(f'"{word}"{star}' for word, star in words)


def _marks(values: list[Any]) -> str:
    return ", ".join("?" * len(values))
