"""``safemlrm report``, a page of what a store holds, and ``cite``, what to cite for its results."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import say
from opensafemlrm.cli._filters import ALL, Chosen, choosing
from opensafemlrm.cli._output import Everything, MaxUnscored, show_plain, tell_left_out
from opensafemlrm.text import Format, counted


@choosing(
    *ALL, helps={"by": "scenario: a row for each in the tables' files. Others: this name first."}
)
def report(
    store: Annotated[str, typer.Argument(help="The store, or a folder or URL of Parquet files.")],
    chosen: Chosen,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write to; STORE/report if left out.")
    ] = None,
    with_examples: Annotated[
        bool,
        typer.Option(
            "--with-examples",
            help="Show some replies, folded and blurred until clicked.",
        ),
    ] = False,
    max_unscored: MaxUnscored = MAX_UNSCORED,
    everything: Everything = False,
) -> None:
    """Write the report of a store.

    It is a page, index.html, beside figures/ (SVG, PNG, PDF, CSV) and tables/ (CSV, Markdown,
    LaTeX). The page opens from disk and asks the network for nothing. --judge, --part, --threshold
    and the like make it a report of these alone, in its title, its footers and its files; --mean
    makes its tax that over samples or over scenarios alone.
    """
    if out is None and lazy.Sink(store).folder is None:
        raise typer.BadParameter("name the report's folder with --out, since STORE is a URL")
    opened = lazy.results.open(
        store, max_unscored=max_unscored, everything=everything, **chosen.names
    )
    tell_left_out(opened)
    folder = out or Path(store) / "report"
    written = opened.report(folder, with_examples=with_examples, **asdict(chosen.rows))
    say(
        f"{written.page} ({written.size / 1e6:.1f} MB), {counted(written.figures, 'figure')}, "
        f"{counted(written.tables, 'table')}"
    )
    typer.echo(written.page)


class _As(StrEnum):
    BIBTEX = "bibtex"
    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


def cite(
    store: Annotated[str, typer.Argument(help="The store, or a folder or URL of Parquet files.")],
    to: Annotated[_As, typer.Option("--format", help="How to print it.")] = _As.BIBTEX,
) -> None:
    """Print what to cite: every data set, attack, judge, defense and model of a store.

    Each entry says what of the store it stands for, and the licence of a data set. Where the
    licence forbids commercial use, a line says so.
    """
    with lazy.open_source(store) as source:
        found = lazy.citations(source)
    if to in (_As.JSON, _As.JSONL):
        show_plain([asdict(citation) for citation in found], Format(to.value), "cite")
    else:
        join = "\n" if to is _As.BIBTEX else ""
        entries = [
            citation.bibtex() if to is _As.BIBTEX else f"{citation.words()}\n" for citation in found
        ]
        typer.echo(join.join(entries), nl=False)
    for citation in found:
        if citation.non_commercial:
            say(f"non-commercial use only: {citation.used} ({citation.licence})")
