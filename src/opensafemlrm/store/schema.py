"""The version of a store's tables (:mod:`.tables`), and the way from each to the next."""

from __future__ import annotations

import sqlite3
from typing import Final

from opensafemlrm.errors import StoreVersionError
from opensafemlrm.store.tables import TABLES, Table

VERSION: Final = 4
_REBUILT: Final = {
    "calibrations": (
        3,
        "ALTER TABLE calibrations RENAME TO calibrations_2;\n"
        f"{TABLES['calibrations'].create}"
        "INSERT INTO calibrations SELECT judge, labels, '', X'', X'', scenario, threshold, "
        "true_positives, false_positives, true_negatives, false_negatives, unscored, created "
        "FROM calibrations_2;\n"
        "DROP TABLE calibrations_2;\n",
    ),
}
"""Tables that more than optional columns were added to: since which version, and how."""
UNWRITABLE: Final = (sqlite3.Error, UnicodeEncodeError, OverflowError)
"""What the driver raises for a row it cannot write; the last two for text that is not Unicode and
for whole numbers beyond 64 bits."""


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema version of an open store; 0 for an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a store to the current version.

    Raises StoreVersionError if a newer version of this project wrote it.
    """
    version = version_of(connection)
    refuse_newer(version)
    if version < VERSION:
        changes = "".join(_changes(connection, table, version) for table in TABLES.values())
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{changes}PRAGMA user_version = {VERSION};\nCOMMIT;"
        )


def _changes(connection: sqlite3.Connection, table: Table, version: int) -> str:
    """Return the statements that bring a table of a store of ``version`` to the current one."""
    query = f"PRAGMA table_info({table.name})"  # our own names
    known = {column for _, column, *_ in connection.execute(query)}
    since, rebuild = _REBUILT.get(table.name, (0, ""))
    return rebuild if known and version < since else table.adding(known)


def refuse_newer(version: int) -> None:
    """Raise StoreVersionError if ``version`` is newer than this version of the project knows."""
    if version > VERSION:
        raise StoreVersionError(
            f"the store has schema version {version}, this version of OpenSafeMLRM knows up to "
            f"{VERSION}; update OpenSafeMLRM to read it"
        )
