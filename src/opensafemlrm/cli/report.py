"""``safemlrm report``: a page that shows what a store holds, with figures and tables as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opensafemlrm.cli._console import say


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    store: Annotated[Path, typer.Argument(help="The store's folder.")],
    out: Annotated[
        Path | None, typer.Option(help="The folder to write to; STORE/report if left out.")
    ] = None,
    with_examples: Annotated[
        bool,
        typer.Option(
            "--with-examples", help="Put replies on the page, folded and blurred until asked for."
        ),
    ] = False,
) -> None:
    """Write index.html, figures/ (SVG, PNG, PDF) and tables/ (CSV, Markdown, LaTeX) of a store.

    The page is one file: it opens from disk and asks the network for nothing.
    """
    from opensafemlrm.report.page import write_report
    from opensafemlrm.store.sink import Sink
    from opensafemlrm.store.sink_reader import opened as open_results

    if out is None and Sink(store).folder is None:
        raise typer.BadParameter("say with --out where the report of a sink elsewhere is to go")
    with open_results(store) as opened:
        written = write_report(opened, out or store / "report", with_examples=with_examples)
    say(
        f"{written.page} ({written.size / 1e6:.1f} MB), {written.figures} figures, "
        f"{written.tables} tables"
    )
    typer.echo(written.page)
