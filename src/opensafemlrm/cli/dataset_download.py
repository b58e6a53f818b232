"""``safemlrm datasets download``: fetch a data set from the Hugging Face hub, at one commit."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import ExitCode, say
from opensafemlrm.cli._option import DatasetName, DatasetOptions, parse_option
from opensafemlrm.errors import OptionError
from opensafemlrm.text import counted
from opensafemlrm.types import Card


def download(
    name: DatasetName,
    to: Annotated[
        Path | None, typer.Option(help="A folder to write to; left out, it is the hub's cache.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="The commit to fetch; left out, it is the newest.")
    ] = None,
    option: DatasetOptions = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="You accept the licence and the terms shown.")
    ] = False,
    max_gb: Annotated[float, typer.Option(help="The most that is fetched, in GB.", min=0)] = 20,
) -> None:
    """Fetch a data set from the Hugging Face hub, once you accept its licence.

    Fetches the files that the options read, and no others. Run it again to go on after an
    interruption: what is there is kept. A gated data set needs its terms accepted on its page, and
    `hf auth login`.
    """
    kind = lazy.ComponentKind.DATASET
    cls = lazy.registry.find(kind, name)
    if not issubclass(cls, lazy.HubDataset):
        raise OptionError(
            f"{name} is not read from the hub; get it from {cls.card.source}, then: "
            f"safemlrm datasets check {name} --root FOLDER"
        )
    options = dict(map(parse_option, option or []))
    listing = lazy.hub.listing(cls.hub, revision)
    dataset = lazy.registry.build(kind, name, {**options, "revision": listing.commit})
    sizes = listing.wanted(dataset.patterns())
    if not sizes:
        raise OptionError(
            f"{lazy.hub.page(cls.hub)} has no file that {name} is read from at {listing.commit} "
            f"({', '.join(dataset.patterns()[:3])} …): name an older --revision"
        )
    _say_what(cls.card, cls.hub, listing, sizes)
    _check_size(sum(sizes.values()), max_gb, to or lazy.hub.cache_folder(cls.hub))
    if not accept and not _says_yes():
        say("nothing was fetched; --accept says that you accept the licence and the terms")
        raise typer.Exit(ExitCode.UNUSABLE)
    folder = lazy.hub.snapshot(cls.hub, listing.commit, tuple(dataset.patterns()), to, None)
    place = f"--root {folder}" if to else f"-o revision={listing.commit}"
    given = "".join(f" -o {text}" for text in option or [])
    say(f"fetched to {folder}; next: safemlrm datasets check {name} {place}{given}")


def _say_what(card: Card, hub_name: str, listing: lazy.hub.Listing, sizes: dict[str, int]) -> None:
    stated = f"{listing.licence} (as its page says)" if listing.licence else "none on its page"
    lines = {
        "data set": card.title,
        "paper": card.paper,
        "licence": f"{stated}; by this project's card: {card.licence}",
        "terms": lazy.hub.page(hub_name),
        "commit": listing.commit,
        "to fetch": f"{counted(len(sizes), 'file')}, {lazy.hub.in_words(sum(sizes.values()))}",
    }
    if listing.gated:
        lines["gated"] = "accept its terms on its page, then `hf auth login`"
    for key, value in lines.items():
        say(f"{key}: {value}")


def _check_size(total: int, max_gb: float, to: Path) -> None:
    """Raise OptionError where more would be fetched than may be, or than there is room for."""
    if total > max_gb * lazy.hub.GB:
        raise OptionError(
            f"this is {lazy.hub.in_words(total)}, more than {max_gb:g} GB: allow it with --max-gb"
        )
    target = to.absolute()
    place = next(path for path in (target, *target.parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    if total > free:
        raise OptionError(
            f"this is {lazy.hub.in_words(total)}, and {place} has room for "
            f"{lazy.hub.in_words(free)}: name another folder with --to"
        )


def _says_yes() -> bool:
    if not sys.stdin.isatty():
        return False
    say()
    return typer.confirm("Do you accept the licence and the terms?", err=True)
