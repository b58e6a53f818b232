"""``safemlrm report``: a page that shows what a store holds, with figures and tables as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.cli._console import say
from opensafemlrm.cli._output import (
    Everything,
    MaxUnscored,
    OnlyAttack,
    OnlyDataset,
    OnlyJudge,
    OnlyMean,
    OnlyModel,
    tell_left_out,
)
from opensafemlrm.text import counted


def report(
    store: Annotated[str, typer.Argument(help="The store, or a folder or URL of Parquet files.")],
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
    judge: OnlyJudge = None,
    dataset: OnlyDataset = None,
    attack: OnlyAttack = None,
    model: OnlyModel = None,
    mean: OnlyMean = None,
    max_unscored: MaxUnscored = MAX_UNSCORED,
    everything: Everything = False,
) -> None:
    """Write the report of a store.

    It is a page, index.html, beside figures/ (SVG, PNG, PDF, CSV) and tables/ (CSV, Markdown,
    LaTeX). The page opens from disk and asks the network for nothing. --judge, --dataset, --attack
    and --model make it a report of these alone, in its title, its footers and its files; --mean
    makes its tax that over samples or over scenarios alone.
    """
    from opensafemlrm import results
    from opensafemlrm.store.sink import Sink

    if out is None and Sink(store).folder is None:
        raise typer.BadParameter("name the report's folder with --out, since STORE is a URL")
    found = results.open(
        store,
        max_unscored=max_unscored,
        everything=everything,
        judge=judge,
        dataset=dataset,
        attack=attack,
        model=model,
    )
    tell_left_out(found)
    chosen: Literal["micro", "macro"] | None = mean.value if mean else None
    folder = out or Path(store) / "report"
    written = found.report(folder, with_examples=with_examples, mean=chosen)
    say(
        f"{written.page} ({written.size / 1e6:.1f} MB), {counted(written.figures, 'figure')}, "
        f"{counted(written.tables, 'table')}"
    )
    typer.echo(written.page)
