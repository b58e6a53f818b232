"""Standard output and error that let no secret through, whoever prints."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

from opensafemlrm.redaction import known, without_secrets


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
def without_secrets_on_streams(*, has_results: bool = True) -> Iterator[None]:
    """Strike secrets out of all that is printed in the block, whoever prints it.

    Results, on standard output, lose those that are known; all else, what looks like one.
    """
    strike = _without_known if has_results else without_secrets
    with (
        contextlib.redirect_stdout(cast("IO[str]", _Stream(sys.stdout, strike))),
        contextlib.redirect_stderr(cast("IO[str]", _Stream(sys.stderr, without_secrets))),
    ):
        yield


def _without_known(text: str) -> str:
    return known()(text)  # asked each time: keys become known as models are made
