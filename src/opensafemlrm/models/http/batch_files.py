"""What of batches lies on disk: which requests wait in which, and replies not collected yet."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import orjson

from opensafemlrm.errors import ModelError
from opensafemlrm.files import make_folder, write_atomic
from opensafemlrm.models.http.json_bodies import parse_object
from opensafemlrm.models.http.transport import MAX_REPLY_BYTES

_NAME: Final = re.compile(r"[0-9a-f]{32}\.json")
_MAX_AGE: Final = 30 * 86_400
"""Seconds after which servers have deleted what a batch gave."""


@dataclass(slots=True)
class BatchFile:
    """One batch: its id on the server, and the keys of its requests.

    It is noted before it is sent, and has no id then; the server knows it by its ``token``.
    """

    id: str
    path: Path
    keys: set[str] = field(default_factory=set)

    @property
    def token(self) -> str:
        """What the batch carries on the server."""
        return self.path.stem

    def save(self) -> None:
        """Write it, whole or not at all."""
        content = orjson.dumps({"id": self.id, "requests": sorted(self.keys)})
        write_atomic(self.path, content)

    def settle(self, left: set[str]) -> None:
        """Keep only the requests whose replies are not collected yet; with none left, delete it."""
        self.keys = left
        if left:
            self.save()
        else:
            self.path.unlink(missing_ok=True)


def default_folder() -> Path:
    """Return where batches are noted by default: in the user's state folder."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "opensafemlrm" / "batches"


def load(folder: Path) -> list[BatchFile]:
    """Return the batches noted in ``folder``, which is created if it is missing.

    Those that the servers have forgotten are put aside, other files are left alone. Raises
    ModelError for one that cannot be read: what was paid for is not sent again unasked.
    """
    batches = []
    try:
        make_folder(folder)
        for path in sorted(folder.iterdir()):
            if _NAME.fullmatch(path.name) is None or path.is_symlink():
                continue
            content = orjson.loads(path.read_bytes())
            batch = BatchFile(content["id"], path, set(content["requests"]))
            if time.time() - path.stat().st_mtime > _MAX_AGE:
                path.rename(path.with_suffix(".forgotten"))
            else:
                batches.append(batch)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{folder}: the batches noted here cannot be read ({error}); repair the file, or "
            "delete it to send its requests again"
        ) from error
    return batches


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
