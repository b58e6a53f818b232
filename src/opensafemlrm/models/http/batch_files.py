"""Which requests wait in which batch of a server, kept across runs: one small file a batch."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson

from opensafemlrm.errors import ModelError
from opensafemlrm.files import make_folder, write_atomic

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
