"""``safemlrm datasets``: what there is, fetching a release, whether it is whole, and your own."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import ExitCode, say
from opensafemlrm.cli._option import (
    DatasetName,
    DatasetOptions,
    DatasetRoot,
    dataset_of,
    parse_option,
)
from opensafemlrm.cli._output import FormatOption, facts_table, print_facts, table_of
from opensafemlrm.cli._output import show as show_tables
from opensafemlrm.errors import OptionError
from opensafemlrm.text import Format, counted
from opensafemlrm.types import Card, Item

MAX_NAMED = 10
"""Scenarios that a message names; of the rest it gives the number."""


def list_all(to: FormatOption = Format.TEXT) -> None:
    """List the data sets there are, those of plugins among them."""
    rows = [
        {
            "name": name,
            **{key: getattr(found.card, key) for key in ("title", "size", "licence")},
            "version": found.version,
        }
        for name, found in lazy.registry.available(lazy.ComponentKind.DATASET, say).items()
    ]
    columns = {"name": "Name", "title": "Data set", "licence": "Licence"}
    show_tables([table_of("datasets", f"{len(rows)} data sets", columns, rows)], to)


def show(name: DatasetName, to: FormatOption = Format.TEXT) -> None:
    """Show a data set's card, its options, and what its scenarios mean."""
    found = lazy.registry.find(lazy.ComponentKind.DATASET, name)
    card = found.card
    every = {
        "title": card.title,
        "paper": card.paper,
        "licence": lazy.data_licence(name),
        "source": card.source,
        "size": card.size,
        "harmful or benign": card.kinds,
        "notes": card.notes,
        "version": found.version,
        "options": ", ".join(_options(found)),
    }
    facts = {key: value for key, value in every.items() if value}
    titles = lazy.taxonomy.titles()
    meanings = [
        (scenario, meaning, titles[meaning], lazy.taxonomy.of(name, scenario, "ailuminate"))
        for scenario, meaning in lazy.taxonomy.scenarios(name).items()
    ]
    tables = []
    if to is Format.TEXT:
        print_facts(facts)
        typer.echo()
    else:
        tables.append(facts_table("card", name, facts.items()))
    if meanings:
        schema = dict.fromkeys(("scenario", "taxonomy", "title", "hazard"), lazy.pl.String)
        columns = {"scenario": "Scenario", "taxonomy": "Shared id", "hazard": "AILuminate's hazard"}
        frame = lazy.pl.DataFrame(meanings, schema, orient="row")
        tables.append(table_of("scenarios", "Scenarios", columns, frame))
    show_tables(tables, to)


def _options(component: type[Any]) -> list[str]:
    return [
        f"{f.name} (needed)" if f.default is dataclasses.MISSING else f.name
        for f in dataclasses.fields(component)
        if f.init
    ]


def check(
    name: DatasetName,
    root: DatasetRoot = None,
    option: DatasetOptions = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Another data set, as NAME or NAME=FOLDER: name the items whose questions it has "
            "in nearly the same words. May be repeated."
        ),
    ] = None,
    to: FormatOption = Format.TEXT,
) -> None:
    """Read a whole release, decode every image, and say what is missing or broken.

    Exits with 2 where the release is not whole.
    """
    dataset = dataset_of(name, root, option)
    found = lazy.audit_dataset(dataset)
    others = [_near_duplicates(dataset, text) for text in against or []]
    show_tables([_check_table(found), *others], to)
    for note in found.notes:
        say(note)
    if name == "table" and found.found and not found.images:
        say("no pictures are mapped: every question is sent as text alone")
    if found.marked:
        say("marks such as <image> are sent as text, in " + counted(found.marked, "question"))
    if found.unmapped:
        named = ", ".join(repr(name) for name in found.unmapped[:MAX_NAMED])
        more = f" and {rest} more" if (rest := len(found.unmapped) - MAX_NAMED) > 0 else ""
        say(f"not in the shared list of scenarios, so left out of comparisons by it: {named}{more}")
    for file in found.left_out:
        say(f"left out: {file} (no item is made of it)")
    if not found.is_complete:
        say(f"incomplete: {_what_is_wrong(found)}")
        raise typer.Exit(ExitCode.UNUSABLE)


def _what_is_wrong(found: lazy.DatasetAudit) -> str:
    counts = {
        "images missing": "missing_images",
        "images broken": "broken_images",
        "ids given twice": "duplicates",
        "rows without a text they need": "empty_texts",
        "rows bad for another reason": "other",
    }
    totals = {
        what: sum(getattr(one, name) for one in found.scenarios) for what, name in counts.items()
    }
    expected = "" if found.expected is None else f" of {found.expected:,}"
    wrong = [f"{total:,} {what}" for what, total in totals.items() if total]
    return ", ".join([f"{found.found:,}{expected} items can be used", *wrong])


def _near_duplicates(dataset: lazy.Dataset, against: str) -> lazy.Table:
    name, _, root = against.partition("=")
    other = dataset_of(name, Path(root) if root else None)
    groups = [
        [row for row in source.rows() if isinstance(row, Item)] for source in (dataset, other)
    ]
    pairs = list(lazy.near_duplicates(*groups))
    texts = ("item", "scenario", "other_item", "other_scenario")
    schema = {**dict.fromkeys(texts, lazy.pl.String), "similarity": lazy.pl.Float64}
    return table_of(
        "near_duplicates",
        f"items nearly the same in {other.label}: {len(pairs):,} of {len(groups[0]):,}",
        {
            **dict(zip(texts, ("Item", "Scenario", "there", "in scenario"), strict=True)),
            "similarity": ("similarity", lazy.Form.DECIMAL),
        },
        lazy.pl.DataFrame([dataclasses.asdict(pair) for pair in pairs], schema=schema),
        "By the question alone, not by pictures. Results of two data sets that share items do not "
        "confirm each other.",
    )


def _check_table(found: lazy.DatasetAudit) -> lazy.Table:
    count, if_any = lazy.Form.COUNT, lazy.WhenConstant.DROP_IF_ZERO
    expected = "" if found.expected is None else f" of {found.expected:,} expected"
    return table_of(
        "check",
        f"{found.dataset}: {found.found:,}{expected} items, {found.verdict}",
        {
            "scenario": "Scenario",
            "taxonomy": "Shared id",
            "expected": ("expected", count),
            "found": ("found", count),
            "benign": ("benign", count, if_any),
            "images": ("images", count),
            "missing_images": ("missing", count),
            "broken_images": ("broken", count),
            "duplicates": ("twice", count),
            "empty_texts": ("empty", count),
            "other": ("other", count, if_any),
            "repeats": ("repeats", count, if_any),
        },
        found.scenarios,
        f"Licence: {found.licence}. Found are the items that can be used. Missing and "
        "broken are images; twice are ids given again; empty are rows without a text they need; "
        "repeats, no fault, are items with the content of an earlier one.",
    )


def init(
    path: Annotated[Path, typer.Argument(help="A CSV, TSV, JSON(L) or Parquet file, or a folder.")],
    output: Annotated[
        Path | None, typer.Option("--output", help="Where to write the mapping.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a mapping.")] = False,
) -> None:
    """Write a mapping for your own data by looking at it."""
    found = lazy.guess_mapping(path)
    target = output or found.path
    if target.exists() and not force:
        raise OptionError(f"{target} is there already; --force writes over it")
    lazy.write_atomic(target, found.text, private=False)
    for doubt in found.doubts:
        say(f"look at this: {doubt}")
    dataset, key = ("images", "root") if path.is_dir() else ("table", "path")
    say(f"wrote {target}; next: safemlrm datasets check {dataset} -o {key}={path}")


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
