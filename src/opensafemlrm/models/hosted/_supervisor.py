"""Runs one program and ends it when its own parent is gone: a script, not a part of the package.

    python _supervisor.py LOG PROGRAM ARGUMENT…

Its standard input is a pipe that nobody writes to. The system closes it however the parent ends,
by an error, a signal or ``kill -9``; then the program gets SIGTERM, and after a while SIGKILL,
with every process that it has started in its group. It ends with the program's exit code.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Final

PATIENCE: Final = 10.0
"""Seconds that the program has to end by itself."""
_NOT_FOUND: Final = 127


def main(log: str, *command: str) -> int:
    """Run ``command``, with all that it prints added to ``log``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    with Path(log).open("ab") as out:
        try:
            child = subprocess.Popen(  # noqa: S603 # the command is the study's own
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            out.write(f"{command[0]} cannot be run: {error}\n".encode())
            return _NOT_FOUND
    threading.Thread(target=_end_with_parent, args=(child.pid,), daemon=True).start()

    def on_signal(_: int, __: FrameType | None) -> None:
        threading.Thread(target=_end, args=(child.pid,), daemon=True).start()

    signal.signal(signal.SIGTERM, on_signal)
    code = child.wait()
    _signal(child.pid, signal.SIGKILL)  # what it started and left behind
    return code if code >= 0 else 128 - code


def _end_with_parent(group: int) -> None:
    while os.read(0, 1):  # not sys.stdin: its lock would be held when this script ends
        pass
    _end(group)


def _end(group: int) -> None:
    _signal(group, signal.SIGTERM)
    time.sleep(PATIENCE)
    _signal(group, signal.SIGKILL)


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
