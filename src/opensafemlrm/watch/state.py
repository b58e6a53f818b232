"""What a watch knows from one time to the next: ``watch/state.json`` in the store.

A watch follows versions. A version is a whole run, and the probes that found no other model since.
Whatever is not done yet says so here before it is begun, so that the next watch goes on with it.
Beside it each version's probe has a store of its own.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from opensafemlrm.errors import OptionError, StoreError, StoreVersionError, reason_of
from opensafemlrm.files import make_folder, write_atomic
from opensafemlrm.store.checking import Finding, check
from opensafemlrm.store.connecting import DATABASE
from opensafemlrm.watch import REFERENCE

FOLDER: Final = "watch"
"""The folder in the store: state, and a store of its own for each version's probe."""
_FOREIGN: Final = (
    "it was changed, or a later version of this project wrote it; put a copy of it back, or move "
    f"the folder {FOLDER} away to begin anew"
)
_Key: TypeAlias = Annotated[str, Field(pattern="^([0-9A-Fa-f]{2})+$")]
_DAYS: Final = {"d": 1, "w": 7}


class Batch(BaseModel):
    """Replies that are asked for at one time: the repeats ``first`` to ``first + count - 1``."""

    model_config = ConfigDict(extra="forbid")
    first: int = Field(ge=0)
    count: int = Field(ge=1)
    done: bool = False
    p_value: float | None = Field(None, ge=0, le=1)


class Version(BaseModel):
    """A whole run, and the probes after it."""

    model_config = ConfigDict(extra="forbid")
    name: str | None = None
    """The date that stands behind the models' names in the store; none for the first."""
    begun: datetime
    is_whole: bool = False
    """Whether all of it was run."""
    is_compared: bool = False
    """Whether it was compared with the version before, if there is one."""
    items: dict[_Key, list[_Key]] = {}
    """The probe's items by the key of the cell; hexadecimal."""
    batches: list[Batch] = []

    @property
    def has_reference(self) -> bool:
        """Whether the replies are there that later ones are compared with."""
        return bool(self.batches) and self.batches[0].done

    def next_batch(self) -> Batch:
        """Return the batch to ask for: what was not finished, or the next one."""
        if not self.batches:
            self.batches.append(Batch(first=0, count=REFERENCE))
        elif self.batches[-1].done:
            last = self.batches[-1]
            self.batches.append(Batch(first=last.first + last.count, count=1))
        return self.batches[-1]


class State(BaseModel):
    """All versions, the current one last."""

    model_config = ConfigDict(extra="forbid")
    format: Literal[1] = 1
    versions: list[Version] = Field(min_length=1)

    @property
    def is_new(self) -> bool:
        """Whether nothing was done yet."""
        return len(self.versions) == 1 and not self.versions[0].is_whole

    @classmethod
    def load(cls, store: Path) -> State:
        """Read the state of a store, or begin one. Raises StoreError."""
        path = store / FOLDER / "state.json"
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return cls(versions=[Version(begun=datetime.now(UTC))])
        except (OSError, ValidationError) as error:
            reason = reason_of(error) if isinstance(error, OSError) else _FOREIGN
            raise StoreError(f"{path}: what is watched cannot be read: {reason}") from error

    def save(self, store: Path) -> None:
        """Write it. Raises StoreError."""
        path = store / FOLDER / "state.json"
        try:
            make_folder(path.parent)
            write_atomic(path, self.model_dump_json(indent=1) + "\n")
        except OSError as error:
            raise StoreError(f"{path}: it cannot be written: {reason_of(error)}") from error

    def begin(self) -> Version:
        """Begin another version, called by the day; a second one of a day has a number."""
        day = f"{datetime.now(UTC):%Y-%m-%d}"
        names = {version.name for version in self.versions}
        name = next(n for n in (day, *(f"{day}.{i}" for i in range(2, 10**6))) if n not in names)
        self.versions.append(Version(name=name, begun=datetime.now(UTC)))
        return self.versions[-1]

    def replies(self, store: Path) -> Path:
        """Return the folder of the store that holds the replies to the current version's probe."""
        return store / FOLDER / f"probe-{len(self.versions)}"


def age(text: str) -> timedelta:
    """Read ``4w`` or ``30d``. Raises OptionError."""
    if re.fullmatch("0*[1-9][0-9]{0,4}[dw]", text) is None:
        raise OptionError(f"a time is written as 4w or 30d, not {text[:50]!r}")
    return timedelta(days=int(text[:-1]) * _DAYS[text[-1]])


_BACK = "put a copy back, or go on with safemlrm watch --whole, which begins another"
_PROBE = re.compile("probe-([1-9][0-9]{0,8})")


def probe_stores(store: Path) -> list[Path]:
    """Return the folders of the probes' stores in their order; none through a link."""
    return [path for path in _probes(store) if (path / DATABASE).exists()]


def _probes(store: Path) -> list[Path]:
    folder = store / FOLDER
    if folder.is_symlink() or not folder.is_dir():
        return []
    named = [(name, p) for p in folder.iterdir() if (name := _PROBE.fullmatch(p.name))]
    probes = [(int(name[1]), p) for name, p in named if p.is_dir() and not p.is_symlink()]
    return [path for _, path in sorted(probes)]


def check_watch(store: Path) -> list[Finding]:
    """Return what was looked at in the store's watch, if it has one.

    Raises StoreError if a probe's store cannot be read now, as on a full disk.
    """
    folder = store / FOLDER
    if not folder.is_symlink() and not folder.is_dir():
        return []
    links = [folder] if folder.is_symlink() else [p for p in folder.iterdir() if p.is_symlink()]
    findings = [
        Finding(
            f"{FOLDER}: it holds no links",
            len(links),
            bool(links),
            str(min(links)) if links else None,
            "they are not followed: put what they lead to in their place" if links else None,
        )
    ]
    if folder.is_symlink():
        return findings
    fault = _state_fault(store)
    bad = fault is not None
    findings.append(Finding(f"{FOLDER}/state.json can be read", int(bad), bad, None, fault))
    if gone := _probes_without_store(store):
        lacks = f"{FOLDER}: every probe has its store"
        findings.append(Finding(lacks, len(gone), True, str(gone[0]), _BACK))
    for path in probe_stores(store):
        try:
            looked = check(path)
        except StoreVersionError as error:
            looked = [Finding("it can be read", 1, True, None, str(error))]
        findings += [replace(f, checked=f"{FOLDER}/{path.name}: {f.checked}") for f in looked]
    return findings


def _probes_without_store(store: Path) -> list[Path]:
    """Return the folders of probes whose store is gone: those there are, and the one in use."""
    folders = {*_probes(store)}
    with contextlib.suppress(StoreError):  # the unreadable state has a line of its own
        state = State.load(store)
        folders |= {state.replies(store)} if state.versions[-1].has_reference else set()
    return sorted(p for p in folders if not (p.is_symlink() or (p / DATABASE).exists()))


def refuse_unreadable(store: Path) -> None:
    """Raise StoreError if a probe, or the watch's state, is gone: nothing makes it again."""
    fault = None if (store / FOLDER).is_symlink() else _state_fault(store)
    if fault:
        raise StoreError(fault)
    if gone := _probes_without_store(store):
        raise StoreError(f"{gone[0]}: there is no store of the probe here; {_BACK}")


def _state_fault(store: Path) -> str | None:
    path = store / FOLDER / "state.json"
    if path.is_symlink():
        return f"{path}: it is a link"
    try:
        State.load(store)
    except StoreError as error:
        return str(error)
    if not path.exists() and probe_stores(store):
        return f"{path}: it is not there; put a copy of it back, or move {FOLDER} away"
    return None
