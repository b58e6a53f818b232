"""``safemlrm table`` and ``safemlrm export``: figures and the tidy table of a store."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from opensafemlrm.report import Table


class Name(StrEnum):
    """The tables there are."""

    ASR = "asr"
    COVERAGE = "coverage"


class Format(StrEnum):
    """What a table is printed as."""

    TEXT = "text"
    MD = "md"
    CSV = "csv"
    JSON = "json"
    LATEX = "latex"


class By(StrEnum):
    """What a table can be broken down by."""

    SCENARIO = "scenario"


class Kind(StrEnum):
    """What the tidy table is written as."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"


_Store = Annotated[Path, typer.Argument(help="The store's folder.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("table")(table)
    app.command("export")(export)


def table(
    name: Annotated[Name, typer.Argument(help="Which table.")],
    store: _Store,
    to: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.TEXT,
    by: Annotated[By | None, typer.Option(help="A row for each of these.")] = None,
) -> None:
    """Print a table of figures from a store.

    asr: attack success rates with intervals and bounds. coverage: how every reply and every
    verdict ended.
    """
    from opensafemlrm.report import Format as ReportFormat
    from opensafemlrm.report import render_all

    typer.echo(render_all(make(name, store, by=by), ReportFormat(to.value), _width()), nl=False)


def make(name: Name, path: Path, *, by: By | None = None) -> list[Table]:
    """Compute a table of the store at ``path``."""
    from opensafemlrm import frame as frames
    from opensafemlrm.analysis.asr import asr
    from opensafemlrm.analysis.coverage import coverage, not_sent
    from opensafemlrm.report import asr_table, coverage_tables, not_sent_table
    from opensafemlrm.store import Store

    with Store.open(path) as store:
        frame = frames.read(store)
        if name is Name.ASR:
            return [asr_table(asr(frame, by_scenario=by is By.SCENARIO))]
        unsent = not_sent(frames.not_sent(store))
        return coverage_tables(coverage(frame)) + ([not_sent_table(unsent)] if unsent else [])


def export(
    kind: Annotated[Kind, typer.Argument(help="The file's format.")],
    store: _Store,
    path: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Write the tidy table: one row for each sample, part and judge."""
    from opensafemlrm import frame as frames
    from opensafemlrm.store import Store

    with Store.open(store) as opened:
        frames.write(frames.read(opened), kind.value, path)


def _width() -> int:
    """Return the terminal's width, and 100 where there is no terminal: files do not vary."""
    import shutil
    import sys

    return shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100
