"""The Hugging Face hub: what the repository of a data set holds, and fetching it."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any, Final

from opensafemlrm.errors import DatasetError, MissingExtraError

GB: Final = 1_000_000_000
MAX_GB: Final = 20
"""The most that is fetched of a data set unless somebody says otherwise."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository at one commit: its licence, as its page states it, and each file's bytes.

    ``gated`` tells whether the hub gives it only to those who have accepted its terms.
    """

    commit: str
    licence: str
    gated: bool
    sizes: Mapping[str, int]

    def wanted(self, patterns: Sequence[str]) -> dict[str, int]:
        """Return the files, with their sizes, that match one of ``patterns``."""
        return {
            name: size
            for name, size in self.sizes.items()
            if any(fnmatch(name, pattern) for pattern in patterns)
        }


def listing(hub: str, revision: str | None) -> Listing:
    """Ask what is in a repository, at the newest commit where no ``revision`` is given.

    Raises DatasetError if the hub does not say, MissingExtraError without ``huggingface_hub``.
    """
    client = _client(hub)
    try:
        info = client.HfApi().dataset_info(hub, revision=revision, files_metadata=True)
    except _errors() as error:
        raise _refusal(hub, revision or "its newest commit", error) from error
    sizes = {file.rfilename: file.size for file in info.siblings or ()}
    if (unknown := next((name for name, size in sizes.items() if size is None), None)) is not None:
        raise DatasetError(f"the hub does not state the size of {unknown} in {hub}")
    card = info.card_data or {}
    return Listing(str(info.sha), _text(card.get("license")), bool(info.gated), sizes)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value or "")


@cache
def snapshot(
    hub: str,
    commit: str,
    patterns: tuple[str, ...],
    folder: Path | None = None,
    max_gb: float | None = MAX_GB,
) -> Path:
    """Return where the files that match ``patterns`` lie, fetching what is not there yet.

    They lie in ``folder``, or else in the hub's cache; what was fetched before is kept, and a file
    that was cut short goes on where it stopped. The hub is asked once a process; where it does not
    answer, what the cache has is taken. Raises DatasetError if the hub does not give them or more
    than ``max_gb`` would be fetched, MissingExtraError without ``huggingface_hub``.
    """
    client = _client(hub)
    options: dict[str, Any] = {
        "repo_type": "dataset",
        "revision": commit,
        "allow_patterns": list(patterns),
    }
    if folder is not None:
        options["local_dir"] = str(folder)
    if max_gb is not None:
        try:
            total = sum(listing(hub, commit).wanted(patterns).values())
        except DatasetError as unknown:
            try:
                return Path(client.snapshot_download(hub, local_files_only=True, **options))
            except _errors():
                raise unknown from None
        if total > max_gb * GB:
            _refuse_what_is_missing(client, hub, options, max_gb)
    try:
        return Path(client.snapshot_download(hub, **options))
    except _errors() as error:
        raise _refusal(hub, commit, error) from error


def _refuse_what_is_missing(client: Any, hub: str, options: Mapping[str, Any], most: float) -> None:
    """Raise DatasetError if more than ``most`` GB are not here yet."""
    try:
        files = client.snapshot_download(hub, dry_run=True, **options)
    except _errors() as error:
        raise _refusal(hub, options["revision"], error) from error
    missing = sum(file.file_size or 0 for file in files if file.will_download)
    if missing > most * GB:
        raise DatasetError(
            f"{page(hub)} would fetch {in_words(missing)}, more than {most:g} GB; if you mean it, "
            f"run once: safemlrm datasets download NAME --revision {options['revision']} --max-gb "
            f"{math.ceil(missing / GB)}, with -o and the options of the study"
        )


def in_words(size: int) -> str:
    """Return a number of bytes as one reads it."""
    return f"{size / GB:,.2f} GB" if size >= GB else f"{size / 1_000_000:,.2f} MB"


def cache_folder(hub: str) -> Path:
    """Return the folder that the hub's client keeps files in."""
    return Path(_client(hub).constants.HF_HUB_CACHE)


def page(hub: str) -> str:
    """Return the address of a data set's page."""
    return f"https://huggingface.co/datasets/{hub}"


def _client(hub: str) -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise MissingExtraError(f"reading {hub} from the hub", "hub") from error


def _refusal(hub: str, revision: str, error: Exception) -> DatasetError:
    lines = [line for line in str(error).splitlines() if line.strip()]
    said = lines[0].strip().rstrip(".") if lines else type(error).__name__
    return DatasetError(
        f"the hub does not give {hub} at {revision}: {said}; a gated data set needs its terms "
        f"accepted on {page(hub)} and a login (`hf auth login`), and with HF_HUB_OFFLINE=1 it must "
        "be in the cache already"
    )


def _errors() -> tuple[type[Exception], ...]:
    """Return what the hub's client raises: its own errors are OSErrors, or its HTTP library's."""
    errors: list[type[Exception]] = [OSError, ValueError]
    for name, attribute in (
        ("httpx2", "HTTPError"),
        ("httpx", "HTTPError"),
        ("requests", "RequestException"),
    ):
        try:
            errors.append(getattr(importlib.import_module(name), attribute))
        except ImportError:
            continue
    return tuple(errors)
