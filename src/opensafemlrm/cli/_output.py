"""Printing tables, in the format that ``--format`` asks for."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import say
from opensafemlrm.text import Format, counted, for_terminal

_MIN_WIDTH: Final = 24
"""Characters of a paragraph that a line holds, however narrow the terminal."""

PortOption: TypeAlias = Annotated[
    int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
]
MaxRequests: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Stop after this many requests to models and judges.")
]
MaxCost: TypeAlias = Annotated[
    float | None, typer.Option(min=0, help="Stop at this many US dollars, by models' prices.")
]
MaxUnscored: TypeAlias = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="Where more than this share has no score, show bounds in place of the rate.",
    ),
]
Everything: TypeAlias = Annotated[
    bool,
    typer.Option("--all", help="Count samples too whose items have left their data sets since."),
]
PricesOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(help='Prices, lines such as "openai/X" = [2.5, 10]: $ per million in and out.'),
]
FormatOption: TypeAlias = Annotated[Format, typer.Option("--format", help="How to print it.")]


def table_of(
    name: str, title: str, columns: Mapping[str, Any], rows: Any, caption: str = ""
) -> lazy.Table:
    """Return ``rows``, a frame or what one is made of, as a table.

    ``columns`` has for each column its heading, or a tuple of all that a Column takes.
    """
    made = [lazy.Column(key, *(c if isinstance(c, tuple) else (c,))) for key, c in columns.items()]
    is_frame = isinstance(rows, lazy.pl.DataFrame)
    frame = rows if is_frame else lazy.pl.DataFrame(rows, infer_schema_length=None)
    return lazy.Table(name, title, made, frame, caption)


def facts_table(name: str, title: str, facts: Iterable[tuple[str, str]]) -> lazy.Table:
    """Return what is known of a thing as a table: what, and its value."""
    rows = [{"key": key, "value": value} for key, value in facts]
    return table_of(name, title, {"key": "Fact", "value": ""}, rows)


def print_facts(facts: Mapping[str, str]) -> None:
    """Print what is known of a thing, a paragraph each."""
    for key, value in facts.items():
        print_wrapped(f"{key}: {value}", hanging="    ")


def show_plain(value: Any, to: Format, what: str) -> None:
    """Print a record, or a list of them, for programs: JSON as one document, or in lines.

    Raises BadParameter for another format, but for text, of which the command itself has words.
    """
    check_plain(to, what)
    if to is not Format.TEXT:
        lines = value if isinstance(value, list) else [value]
        typer.echo(lazy.as_json(value) if to is Format.JSON else lazy.as_lines(lines), nl=False)


def check_plain(to: Format, what: str) -> None:
    """Raise BadParameter for a format that only tables have."""
    if to not in (Format.TEXT, Format.JSON, Format.JSONL):
        raise typer.BadParameter(f"{what} prints text, json or jsonl; {to} is for tables")


def tell_left_out(found: lazy.Results) -> None:
    """Say how many samples no figure counts, if there are any."""
    if samples := found.left_out():
        say(
            f"left out: {counted(samples, 'sample')} of an earlier version of the data; --all "
            "counts them too"
        )


def show(tables: Sequence[lazy.Table], to: Format = Format.TEXT) -> None:
    """Print tables one after the other, as wide as the terminal; JSON of several is one object."""
    width, is_known = line_width()
    if is_known and to is Format.TEXT:
        tables = [lazy.fitted(table, width) for table in tables]
    if to is Format.CSV and len(tables) > 1:
        say(f"{len(tables)} tables with an empty line between; --format json has each by its name")
    typer.echo(lazy.render_all(tables, to, width), nl=False)


def line_width() -> tuple[int, bool]:
    """Return how long a line may be, and whether a terminal or COLUMNS says so.

    It is 100 where nothing does: files do not vary, and leave out no column.
    """
    is_known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return (shutil.get_terminal_size((100, 24)).columns if is_known else 100), is_known


def print_wrapped(text: str, indent: str = "", hanging: str | None = None) -> None:
    """Print a paragraph in lines that fit; those after the first begin with ``hanging``."""
    after = indent if hanging is None else hanging
    width = max(line_width()[0], len(after) + _MIN_WIDTH)
    typer.echo(
        textwrap.fill(
            for_terminal(text.replace("\n", " ")),
            width,
            initial_indent=indent,
            subsequent_indent=after,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )
