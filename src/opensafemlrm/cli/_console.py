"""What the commands share: where they write, how they say what went wrong, how they end."""

from __future__ import annotations

import codecs
import errno
import sys
import textwrap
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.errors import MistakesError, OptionError, SafeMLRMError
from opensafemlrm.redaction import without_secrets
from opensafemlrm.text import for_terminal

_ADVICE: Final = {
    errno.ENOENT: "check the path, or make the folder first",
    errno.ENOTDIR: "a part of the path is a file; name another path",
    errno.ELOOP: "name a path without links",
    errno.EISDIR: "this is a folder; name a file in it",
    errno.EEXIST: "something else is there already; name another path",
    errno.EACCES: "name a place that you may use, or change its permissions",
    errno.EPERM: "name a place that you may use, or change its permissions",
    errno.EROFS: "name a place that can be written",
    errno.ENOSPC: "free some space, or name another place",
    errno.EDQUOT: "free some of your quota, or name another place",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.EADDRINUSE: "name another port with --port (0 takes a free one)",
    errno.EADDRNOTAVAIL: "name an address of this machine with --host",
}
_ALIKE: Final = str.maketrans({"─": "-", "━": "-", "−": "-", "≤": "<=", "≥": ">="})
"""What stands in for a character of a table that an encoding does not have."""


@dataclass(slots=True)
class Loudness:
    """How much is said, as the command line asks."""

    quiet: bool = False
    """Errors and results alone."""
    verbose: bool = False
    """Every note, where otherwise some stand for all."""


LOUDNESS: Final = Loudness()


def say(message: str = "") -> None:
    """Print a line for the person who is watching; results alone go to standard output."""
    if not LOUDNESS.quiet:
        _write(message)


def say_next(*commands: str, title: str = "next:") -> None:
    """Print commands to go on with, one a line."""
    for number, command in enumerate(commands):
        say(f"{'' if number else title:{len(title)}} safemlrm {command}")


def fail(message: str) -> None:
    """Print an error."""
    _write(f"error: {message}")


def _write(message: str) -> None:
    sys.stderr.write(for_terminal(without_secrets(message)) + "\n")


def messages_of(error: Exception) -> tuple[str, ...]:
    """Return what to tell of an error: every mistake in a file, and one sentence of all else.

    It is nothing where the fault is this project's own.
    """
    match error:
        case MistakesError(args=mistakes):
            return mistakes
        case OptionError():  # of a file of prices, each mistake on a line
            return tuple(str(error).splitlines())
        case SafeMLRMError():
            return (str(error),)
        case OSError():
            return (_explain(error),)

    fault = lazy.fault_of(error)
    return () if fault is None else (str(fault),)


def _explain(error: OSError) -> str:
    """Return what the system refused, with the path, and what to do about it."""
    where = "" if error.filename is None else f"{error.filename}: "
    advice = _ADVICE.get(error.errno or 0, "`safemlrm --debug …` shows where it happened")
    return f"{where}{error.strerror or str(error) or type(error).__name__}; {advice}"


def write_what_fits(stream: Any) -> None:
    """Let ``stream`` take any text: what its encoding lacks is written alike, or as an escape."""
    codecs.register_error("alike", _alike)
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="alike")


def _alike(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_ALIKE)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


class ExitCode(IntEnum):
    """How a command ended; :data:`MEANINGS` says it in words."""

    DONE = 0
    OWN_FAULT = 1
    UNUSABLE = 2
    BUDGET_SPENT = 3
    FAIL_ON = 4
    AUDIT_FAILED = 5
    AUDIT_UNDECIDED = 6
    INTERRUPTED = 130


MEANINGS: Final = {
    ExitCode.DONE: "done",
    ExitCode.OWN_FAULT: "a fault of this program: please report it",
    ExitCode.UNUSABLE: "what was named cannot be used: the command, the study, data, a store, a "
    "server; or a model or the judge was stopped, or gave nothing",
    ExitCode.BUDGET_SPENT: "a budget is spent",
    ExitCode.FAIL_ON: "more failed, or has no score, than --fail-on lets pass",
    ExitCode.AUDIT_FAILED: "an audit failed, or a model is less safe than it was",
    ExitCode.AUDIT_UNDECIDED: "an audit could not decide",
    ExitCode.INTERRUPTED: "interrupted",
}
EPILOG: Final = "\b\nExit codes:\n" + "\n".join(
    textwrap.fill(meaning, 78, initial_indent=f"  {code.value:<4} ", subsequent_indent=" " * 7)
    for code, meaning in MEANINGS.items()
)
"""The table as ``--help`` ends with it."""
