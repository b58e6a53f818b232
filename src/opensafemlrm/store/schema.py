"""The version of a store's tables (:mod:`.tables`), and the way from each to the next."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from opensafemlrm.errors import StoreError, StoreVersionError
from opensafemlrm.store.tables import TABLES, Table

VERSION: Final = 8
OLDEST_READ: Final = 2
"""The oldest version that is read as it is; one before it is migrated first."""
UNWRITABLE: Final = (sqlite3.Error, UnicodeEncodeError, OverflowError)
"""What the driver raises for a row it cannot write; the last two for text that is not Unicode and
for whole numbers beyond 64 bits."""


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema version of an open store; 0 for an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a store to the current version: every table gets the columns that its spec has.

    Raises StoreVersionError if a newer version of this project wrote it.
    """
    version = version_of(connection)
    refuse_newer(version, connection)
    if version < VERSION:
        changes = "".join(_changes(connection, table) for table in TABLES.values())
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{changes}PRAGMA user_version = {VERSION};\nCOMMIT;"
        )


def read_as_current(connection: sqlite3.Connection) -> None:
    """Let a connection see a store of an older version as if it were migrated, changing nothing."""
    connection.execute("PRAGMA temp_store = MEMORY")
    for table in TABLES.values():
        there = columns_in(connection, table.name)
        if not table.updates and table.columns.keys() - there:
            connection.executescript(table.view([n for n in table.columns if n not in there]))


def columns_in(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """Return the columns that a table has in a database, with their types; none without it."""
    rows = connection.execute("SELECT name, type FROM pragma_table_info(?)", (table,))
    return dict(rows.fetchall())


def _changes(connection: sqlite3.Connection, table: Table) -> str:
    """Return the statements that make a table what its spec says."""
    there = columns_in(connection, table.name)
    if table.updates or not there:
        return table.create
    if foreign := there.keys() - {*table.columns, table.number}:
        raise StoreError(
            f"the store cannot be opened: its table {table.name} has a column {min(foreign)!r} "
            "that no version of this project made"
        )
    return table.add([name for name in table.columns if name not in there])


def is_ours(connection: sqlite3.Connection) -> bool:
    """Whether this project made the database, or nobody has put anything into it."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return not tables or ("generations",) in tables or ("components",) in tables


def strange(connection: sqlite3.Connection) -> list[str]:
    """Return what a store of the current version has or lacks beyond the tables' specs.

    Tables and indexes of others hurt nothing; a trigger may change what is written.
    """
    triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
    wrong = [f"the trigger {name}" for (name,) in triggers]
    for table in TABLES.values():
        if table.updates:
            continue
        there = columns_in(connection, table.name)
        for name, kind in table.column_types.items():
            if there.pop(name, None) != kind:
                wrong.append(f"{table.name} without the column {name} ({kind})")
        wrong += [f"the column {name} of {table.name}" for name in there if name != table.number]
    return wrong


def refuse_newer(version: int, connection: sqlite3.Connection) -> None:
    """Raise StoreVersionError if ``version`` of an open store is newer than this project knows."""
    if version > VERSION:
        *_, database = connection.execute("PRAGMA database_list").fetchone()
        raise StoreVersionError(
            f"{Path(database).parent}: the store has schema version {version}, this version of "
            f"OpenSafeMLRM knows up to {VERSION}; update OpenSafeMLRM to read it"
        )
