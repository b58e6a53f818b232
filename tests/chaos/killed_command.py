"""Runs a command and dies at the n-th thing that it writes: SIGKILL, with no chance to tidy up.

``python -m tests.chaos.killed_command N COMMAND…``. With N = 0 it lives, and prints how often it
wrote: statements that change a database, and files that are put in their place.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from opensafemlrm.cli import app

WRITES = ("INSERT", "UPDATE", "DELETE", "COMMIT", "ALTER", "CREATE", "VACUUM", "PRAGMA user")


def main(number: int, command: list[str]) -> None:
    written = 0

    def write() -> None:
        nonlocal written
        written += 1
        if written == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(sql: str) -> None:
        if sql.lstrip().startswith(WRITES):
            write()

    connect, moves = sqlite3.connect, {name: getattr(Path, name) for name in ("replace", "rename")}

    def connecting(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(watch)
        return connection

    def moving(name: str) -> Any:
        def move(path: Path, target: Path) -> Path:
            write()
            moved: Path = moves[name](path, target)
            return moved

        return move

    sqlite3.connect = connecting  # type: ignore[assignment] # watched from now on
    for name in moves:
        setattr(Path, name, moving(name))
    try:
        app(command, standalone_mode=False)
    finally:
        sys.stdout.write(f"\nwrote {written} times\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
