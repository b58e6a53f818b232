"""What a watch keeps in a store beside its tables: the probes' stores, and its state."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from opensafemlrm.errors import StoreError, StoreVersionError
from opensafemlrm.store.checking import Finding, check
from opensafemlrm.store.connecting import DATABASE
from opensafemlrm.watch.state import FOLDER, State

_PROBE = re.compile("probe-([1-9][0-9]{0,8})")


def probe_stores(store: Path) -> list[Path]:
    """Return the folders of the probes' stores in their order; none through a link."""
    folder = store / FOLDER
    if folder.is_symlink() or not folder.is_dir():
        return []
    probes = [(int(name[1]), path) for path in folder.iterdir() if (name := _name(path))]
    return [path for _, path in sorted(probes) if _is_store(path)]


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
    findings.append(
        Finding(
            f"{FOLDER}/state.json can be read",
            int(fault is not None),
            fault is not None,
            None,
            fault,
        )
    )
    for path in probe_stores(store):
        try:
            looked = check(path)
        except StoreVersionError as error:
            looked = [Finding("it can be read", 1, True, None, str(error))]
        findings += [replace(f, checked=f"{FOLDER}/{path.name}: {f.checked}") for f in looked]
    return findings


def refuse_unreadable(store: Path) -> None:
    """Raise StoreError if the watch's state cannot be read: nothing makes again what was seen."""
    fault = None if (store / FOLDER).is_symlink() else _state_fault(store)
    if fault:
        raise StoreError(fault)


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


def _name(path: Path) -> re.Match[str] | None:
    return _PROBE.fullmatch(path.name)


def _is_store(path: Path) -> bool:
    return not path.is_symlink() and (path / DATABASE).exists()
