"""What the commands share: where they write, and how they say that something went wrong."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any, Final, cast

from opensafemlrm.errors import MistakesError, SafeMLRMError
from opensafemlrm.redaction import known, without_secrets
from opensafemlrm.text import for_terminal

_ADVICE: Final = {
    errno.ENOENT: "check the path, or make the folder first",
    errno.ENOTDIR: "a part of the path is a file; name another path",
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


def say(message: str = "") -> None:
    """Print a line for the person who is watching; results alone go to standard output."""
    sys.stderr.write(for_terminal(without_secrets(message)) + "\n")


def fail(message: str) -> None:
    """Print an error."""
    say(f"error: {message}")


def messages_of(error: Exception) -> tuple[str, ...]:
    """Return what to tell of an error: every mistake in a file, and one sentence of all else.

    It is nothing where the fault is this project's own.
    """
    match error:
        case MistakesError(args=mistakes):
            return mistakes
        case SafeMLRMError():
            return (str(error),)
        case OSError():
            return (_explain(error),)
    from opensafemlrm.faults import fault_of  # not above: it takes a tenth of a second

    fault = fault_of(error)
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


class _Stream:
    """A stream that lets no secret through."""

    def __init__(self, stream: Any, strike: Callable[[str], str]) -> None:
        # Python has no stream where the caller has closed it: what is written goes nowhere.
        self._stream, self._strike = stream or io.StringIO(), strike

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Any:
        return iter(self._stream)

    def write(self, text: str) -> int:
        """Write ``text``, without secrets."""
        self._stream.write(self._strike(text))
        return len(text)


@contextlib.contextmanager
def without_secrets_on_screen() -> Iterator[None]:
    """Strike secrets out of all that is printed in the block, whoever prints it.

    Results lose those that are known; what is said beside them, all that looks like one.
    """
    with (
        contextlib.redirect_stdout(cast("IO[str]", _Stream(sys.stdout, _without_known))),
        contextlib.redirect_stderr(cast("IO[str]", _Stream(sys.stderr, without_secrets))),
    ):
        yield


def _without_known(text: str) -> str:
    return known()(text)  # asked each time: keys become known as models are made


def _alike(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_ALIKE)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end
