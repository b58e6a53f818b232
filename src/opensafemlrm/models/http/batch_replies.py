"""The replies of a batch, on disk until their callers collect them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Set
from typing import IO, Any, Final

from opensafemlrm.models.http.json_bodies import parse_object
from opensafemlrm.models.http.transport import MAX_REPLY_BYTES

_FIRST_BYTES: Final = 500


class NotALineError(ValueError):
    """A line is no JSON object: the file is not a batch's. Its text is how the line begins."""


class BatchReplies:
    """Lines of a batch's files by the keys of their requests; memory holds their places alone."""

    def __init__(self, requests: Set[str]) -> None:
        self._requests = requests
        # Closed with the batch; it has no name, so that nothing is left of a run that is killed.
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._places: dict[str, tuple[int, int]] = {}
        self.answered = False
        """Whether the server answered any of the requests."""

    def draft(self) -> IO[bytes]:
        """Return the file at its end, for what a server sends."""
        self._file.seek(0, 2)
        return self._file

    def index(self, start: int) -> None:
        """Note where the lines are that were written from ``start`` on. Raises NotALineError.

        Lines that nobody asked for are passed over: there may be millions.
        """
        for place, line in self._lines(start):
            entry = _object(line)
            key = entry.get("custom_id")
            if not isinstance(key, str) or key not in self._requests:
                continue
            response = entry.get("response")
            self.answered |= isinstance(response, dict) and response.get("status_code") == 200
            self._places[key] = place, len(line)

    def keys(self) -> set[str]:
        """Return the keys of those that are left."""
        return set(self._places)

    def take(self, key: str) -> dict[str, Any] | None:
        """Take out the reply to a request, ``None`` where there is none."""
        place, length = self._places.pop(key, (0, 0))
        if not length:
            return None
        self._file.seek(place)
        return _object(self._file.read(length))

    def close(self) -> None:
        """Delete the file. May be called twice."""
        self._file.close()

    def _lines(self, start: int) -> Iterator[tuple[int, bytes]]:
        self._file.seek(start)
        while line := self._file.readline(MAX_REPLY_BYTES + 1):
            if len(line) > MAX_REPLY_BYTES:
                raise NotALineError(line[:_FIRST_BYTES].decode("utf-8", "replace"))
            if line.strip():
                yield start, line
            start += len(line)


def _object(line: bytes) -> dict[str, Any]:
    value = parse_object(line)
    if value is None:
        raise NotALineError(line[:_FIRST_BYTES].decode("utf-8", "replace"))
    return value
