"""Reading what can still be read of a damaged database, row by row where it must be.

SQLite gives up on a query at the first damaged page. Each table is therefore read in ranges of its
key; a range that cannot be read is halved, until what cannot be read is one row, or for tables
without row numbers one 65,536th of the keys.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opensafemlrm.errors import StoreError
from opensafemlrm.store import schema
from opensafemlrm.store.connecting import is_damage, unreadable
from opensafemlrm.store.records import generation_key
from opensafemlrm.store.tables import TABLES, Table
from opensafemlrm.types import Label, ResponseStatus, content_key

_HASH_RANGES: Final = 1 << 16
"""Parts that keys without row numbers are told apart by: their first two bytes."""
_ROWS_AT_ONCE: Final = 4096
_HASH_RANGES_AT_ONCE: Final = 1024
_MIN_BYTES: Final = 20
"""Bytes of a file that a row takes at the least, to bound the row numbers of a damaged table."""
_Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Recovered:
    """How much of a table could be read."""

    table: str
    rows: int
    damaged: int
    """Ranges of keys that could not be read, and rows that were read and make no sense."""


def recover(damaged: Path, target: Path) -> list[Recovered]:
    """Copy every row that can be read from ``damaged`` into the new database ``target``.

    Raises StoreError if not even the list of tables can be read, and StoreVersionError if a newer
    version of this project wrote it.
    """
    with (
        contextlib.closing(sqlite3.connect(damaged)) as source,
        contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        try:
            schema.refuse_newer(schema.version_of(source))
            there = {name for (name,) in source.execute("SELECT name FROM sqlite_master")}
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if isinstance(error, sqlite3.Error) and not is_damage(error):
                raise unreadable(damaged, error) from error
            raise StoreError(
                f"{damaged}: nothing in this file can be read ({error}); move it away and run the "
                "study again: images are kept, replies have to be made anew"
            ) from error
        schema.migrate(copy)
        copy.execute("BEGIN")
        recovered = [
            _copy(table, source, copy, damaged)
            for table in TABLES.values()
            if table.name in there and not table.updates
        ]
        copy.execute("COMMIT")
    return recovered


def _copy(
    table: Table, source: sqlite3.Connection, copy: sqlite3.Connection, file: Path
) -> Recovered:
    """Copy the columns that the project knows; one that is gone is empty, where it may be."""
    there = schema.columns_in(source, table.name)
    columns = [name for name in (table.number, *table.columns) if name in there]
    gone = {name: table.fillers[name] for name in table.columns if name not in there}
    names = ", ".join(f'"{column}"' for column in [*columns, *gone])
    values = ", ".join([*("?" * len(columns)), *gone.values()])
    put = f"INSERT OR IGNORE INTO {table.name} ({names}) VALUES ({values})"
    reader = _Reader(source, table.name, ", ".join(f'"{column}"' for column in columns))
    rows = damaged = 0
    for row in reader.rows(file.stat().st_size):
        if row is None or not _makes_sense(table.name, dict(zip(columns, row, strict=True))):
            damaged += 1
        else:
            rows += copy.execute(put, row).rowcount
    return Recovered(table.name, rows, damaged)


class _Reader:
    """Reads one table in ranges of its key."""

    def __init__(self, connection: sqlite3.Connection, table: str, names: str) -> None:
        self._connection, self._table, self._names = connection, table, names
        info = list(connection.execute(f"PRAGMA table_info({table})"))
        key = next((row for row in info if row[5] == 1), info[0])
        self._key, self._text = key[1], key[2] == "TEXT"
        query = "SELECT sql FROM sqlite_master WHERE name = ?"
        self._numbered = "WITHOUT ROWID" not in connection.execute(query, (table,)).fetchone()[0]

    def rows(self, size: int) -> Iterator[_Row | None]:
        """Yield each row, and ``None`` for each range that cannot be read."""
        end, step = _HASH_RANGES, _HASH_RANGES_AT_ONCE
        if self._numbered:
            end, step = self._last(size) + 1, _ROWS_AT_ONCE
        for start in range(0, end, step):
            yield from self._range(start, min(start + step, end))

    def _last(self, size: int) -> int:
        try:
            query = f"SELECT max(rowid) FROM {self._table}"
            return int(self._connection.execute(query).fetchone()[0] or 0)
        except (sqlite3.Error, UnicodeDecodeError):
            return size // _MIN_BYTES

    def _range(self, start: int, end: int) -> Iterator[_Row | None]:
        try:
            # Whole before the first is given on: what fails half-way is read again in halves.
            rows = self._read(start, end)
        except (sqlite3.Error, UnicodeDecodeError):
            if end - start == 1:
                yield None
                return
            middle = (start + end) // 2
            yield from self._range(start, middle)
            yield from self._range(middle, end)
        else:
            yield from rows

    def _read(self, start: int, end: int) -> list[_Row]:
        key = "rowid" if self._numbered else f'"{self._key}"'
        where, values = f"{key} >= ?", [self._bound(start)]
        if self._numbered or end < _HASH_RANGES:
            where, values = f"{where} AND {key} < ?", [*values, self._bound(end)]
        hint = "NOT INDEXED" if self._numbered else ""
        return self._connection.execute(
            f"SELECT {self._names} FROM {self._table} {hint} WHERE {where}", values
        ).fetchall()

    def _bound(self, number: int) -> int | str | bytes:
        if self._numbered:
            return number
        prefix = number.to_bytes(2)
        return prefix.hex() if self._text else prefix


def _makes_sense(table: str, row: dict[str, Any]) -> bool:
    """Tell whether a row can be what was written: keys are made of content."""
    if table == "generations":
        cell, item, repeat = (row.get(name) for name in ("cell", "item", "repeat"))
        if not (isinstance(cell, bytes) and isinstance(item, bytes) and isinstance(repeat, int)):
            return False
        is_its_own = row.get("key") == generation_key(cell, item, repeat)
        return is_its_own and row.get("status") in set(ResponseStatus) and "text" in row
    if table == "readings":
        items = row.get("items")
        return isinstance(items, bytes) and row.get("digest") == content_key(items)
    if table == "verdicts":
        return row.get("label") in set(Label)
    return True
