"""Printing tables, for the commands about judges."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from opensafemlrm.report import Table


class Format(StrEnum):
    """What a table is printed as."""

    TEXT = "text"
    MD = "md"
    CSV = "csv"
    JSON = "json"
    LATEX = "latex"


def show(tables: Sequence[Table], to: Format) -> None:
    """Print tables one after the other; JSON of several is one object."""
    from opensafemlrm.report import Format as ReportFormat
    from opensafemlrm.report import render_all

    typer.echo(render_all(tables, ReportFormat(to.value)), nl=False)
