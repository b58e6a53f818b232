"""What an import brought into a store that may have held some of it before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from opensafemlrm.store import Store
from opensafemlrm.text import counted

_ROWS: Final[Mapping[str, str]] = {
    "reply": "SELECT count(*) FROM generations",
    "verdict": "SELECT count(*) FROM verdicts",
    "label": "SELECT count(*) FROM labels",
}


class Brought:
    """Counts of a store's rows, taken where an import begins."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._before = self._counts()

    def words(self, samples: int) -> str:
        """Return what came since then, of ``samples`` replies that were read."""
        new = {noun: n - self._before[noun] for noun, n in self._counts().items()}
        came = [counted(n, noun) for noun, n in new.items() if n]
        there = samples - new["reply"]
        if not came:
            return "nothing is new: the store had all of it" if samples else "nothing is new"
        known = f"; {counted(there, 'reply')} {'was' if there == 1 else 'were'} there already"
        return f"new in the store: {', '.join(came)}{known if there > 0 else ''}"

    def _counts(self) -> dict[str, int]:
        run = self._store.connection.execute
        return {noun: int(run(query).fetchone()[0]) for noun, query in _ROWS.items()}


@dataclass(slots=True)
class ImportedLogs:
    """What an import read, whether or not the store had it already."""

    logs: int = 0
    samples: int = 0
    failed: int = 0
    """Of them, those without a reply."""
    models: set[str] = field(default_factory=set)
    scorers: set[str] = field(default_factory=set)
    """Foreign scorers whose scores were left out."""
    not_ours: set[str] = field(default_factory=set)
    """Scorers of others on tasks of ours: what they say is not read."""
    without_pictures: int = 0
    """Samples whose prompt was left out, since its pictures are not in the log."""

    def __str__(self) -> str:
        models, logs = counted(len(self.models), "model"), counted(self.logs, "log")
        failed = f", {self.failed:,} of them failed" if self.failed else ""
        notes = [f"{counted(self.samples, 'sample')} of {models} from {logs}{failed}"]
        if self.scorers:
            first = min(self.scorers)
            notes.append(
                f"left out are the scores of {_listed(self.scorers)}: say which mean "
                f"unsafe, as in --unsafe '{first}>=0.5'"
            )
        if self.not_ours:
            notes.append(f"on tasks of ours, not read: the scores of {_listed(self.not_ours)}")
        if self.without_pictures:
            prompts = counted(self.without_pictures, "prompt")
            notes.append(f"{prompts} left out, whose pictures no log holds")
        return "; ".join(notes)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))
