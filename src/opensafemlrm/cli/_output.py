"""Printing tables, in the format that ``--format`` asks for."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from opensafemlrm.cli._console import say
from opensafemlrm.text import Format, counted, for_terminal

if TYPE_CHECKING:
    from opensafemlrm.report import Table
    from opensafemlrm.results import Results


_MIN_WIDTH: Final = 24
"""Characters of a paragraph that a line holds, however narrow the terminal."""


class Mean(StrEnum):
    """What a mean is over."""

    MICRO = "micro"
    MACRO = "macro"


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
OnlyJudge: TypeAlias = Annotated[
    list[str] | None, typer.Option("--judge", help="Only this judge's verdicts; may be repeated.")
]
OnlyDataset: TypeAlias = Annotated[
    list[str] | None, typer.Option("--dataset", help="Only this dataset; may be repeated.")
]
OnlyAttack: TypeAlias = Annotated[
    list[str] | None, typer.Option("--attack", help="Only this attack; may be repeated.")
]
OnlyModel: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--model", help="Only this model, and its base; may be repeated."),
]
OnlyMean: TypeAlias = Annotated[
    Mean | None, typer.Option(help="Only rows over all samples (micro) or scenarios (macro).")
]
PricesOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(help='Prices, lines such as "openai/X" = [2.5, 10]: $ per million in and out.'),
]
FormatOption: TypeAlias = Annotated[Format, typer.Option("--format", help="How to print it.")]


def tell_left_out(found: Results) -> None:
    """Say how many samples no figure counts, if there are any."""
    if samples := found.left_out():
        say(
            f"left out: {counted(samples, 'sample')} of an earlier version of the data; --all "
            "counts them too"
        )


def show(tables: Sequence[Table], to: Format = Format.TEXT) -> None:
    """Print tables one after the other, as wide as the terminal; JSON of several is one object."""
    from opensafemlrm.report import render_all
    from opensafemlrm.report.fitting import fitted

    width, is_known = line_width()
    if is_known and to is Format.TEXT:
        tables = [fitted(table, width) for table in tables]
    typer.echo(render_all(tables, to, width), nl=False)


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
