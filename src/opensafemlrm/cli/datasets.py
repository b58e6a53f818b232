"""``safemlrm datasets``: what there is, whether a release is whole, and a mapping for your own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import ExitCode, say
from opensafemlrm.cli._option import DatasetName, DatasetOptions, DatasetRoot, dataset_of
from opensafemlrm.cli._output import FormatOption, print_wrapped
from opensafemlrm.cli._output import show as show_tables
from opensafemlrm.errors import OptionError
from opensafemlrm.text import Format, counted
from opensafemlrm.types import Item

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
    columns = [
        lazy.Column("name", "Name"),
        lazy.Column("title", "Data set"),
        lazy.Column("licence", "Licence"),
    ]
    show_tables(
        [lazy.Table("datasets", f"{len(rows)} data sets", columns, lazy.pl.DataFrame(rows))], to
    )


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
        for key, value in facts.items():
            print_wrapped(f"{key}: {value}", hanging="    ")
        typer.echo()
    else:
        frame = lazy.pl.DataFrame({"key": list(facts), "value": list(facts.values())})
        tables.append(
            lazy.Table("card", name, [lazy.Column("key", "Fact"), lazy.Column("value", "")], frame)
        )
    if meanings:
        schema = dict.fromkeys(("scenario", "taxonomy", "title", "hazard"), lazy.pl.String)
        columns = [
            lazy.Column("scenario", "Scenario"),
            lazy.Column("taxonomy", "Shared id"),
            lazy.Column("hazard", "AILuminate's hazard"),
        ]
        frame = lazy.pl.DataFrame(meanings, schema, orient="row")
        tables.append(lazy.Table("scenarios", "Scenarios", columns, frame))
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
    return lazy.Table(
        name="near_duplicates",
        title=f"items nearly the same in {other.label}: {len(pairs):,} of {len(groups[0]):,}",
        frame=lazy.pl.DataFrame([dataclasses.asdict(pair) for pair in pairs], schema=schema),
        columns=[
            lazy.Column("item", "Item"),
            lazy.Column("scenario", "Scenario"),
            lazy.Column("other_item", "there"),
            lazy.Column("other_scenario", "in scenario"),
            lazy.Column("similarity", "similarity", lazy.Form.DECIMAL),
        ],
        caption="By the question alone, not by pictures. Results of two data sets that share items "
        "do not confirm each other.",
    )


def _check_table(found: lazy.DatasetAudit) -> lazy.Table:
    zero = lazy.WhenConstant.DROP_IF_ZERO
    expected = "" if found.expected is None else f" of {found.expected:,} expected"
    return lazy.Table(
        name="check",
        title=f"{found.dataset}: {found.found:,}{expected} items, {found.verdict}",
        frame=lazy.pl.DataFrame(found.scenarios, infer_schema_length=None),
        columns=[
            lazy.Column("scenario", "Scenario"),
            lazy.Column("taxonomy", "Shared id"),
            lazy.Column("expected", "expected", lazy.Form.COUNT),
            lazy.Column("found", "found", lazy.Form.COUNT),
            lazy.Column("benign", "benign", lazy.Form.COUNT, constant=zero),
            lazy.Column("images", "images", lazy.Form.COUNT),
            lazy.Column("missing_images", "missing", lazy.Form.COUNT),
            lazy.Column("broken_images", "broken", lazy.Form.COUNT),
            lazy.Column("duplicates", "twice", lazy.Form.COUNT),
            lazy.Column("empty_texts", "empty", lazy.Form.COUNT),
            lazy.Column("other", "other", lazy.Form.COUNT, constant=zero),
            lazy.Column("repeats", "repeats", lazy.Form.COUNT, constant=zero),
        ],
        caption=f"Licence: {found.licence}. Found are the items that can be used. Missing and "
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
