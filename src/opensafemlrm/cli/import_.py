"""``safemlrm import``: results of other tools, read into a store."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from opensafemlrm.cli._console import say


class Source(StrEnum):
    """Whose results can be read."""

    OPENSAFEMLRM = "opensafemlrm"
    LABELS = "labels"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_results)


def import_results(
    source: Annotated[Source, typer.Argument(help="Whose results they are, or labels of people.")],
    path: Annotated[Path, typer.Argument(help="The folder or file they are in.")],
    store: Annotated[Path, typer.Option(help="The store to read them into.")],
    annotator: Annotated[
        str, typer.Option(help="labels: who gave them, where the file does not say.")
    ] = "",
    part: Annotated[
        str, typer.Option(help="labels: the part they are of, where the file does not say.")
    ] = "answer",
) -> None:
    """Read published results, or labels of people, into a store.

    Every table works on them then.

    opensafemlrm: the score histograms (statistic_results) and per-item results
    (evaluation_results) that were published with the study. labels: a CSV file as `safemlrm export
    labels` writes it, or a validation set of Inspect Scout (columns id and target).
    """
    from opensafemlrm.interop.label_exchange import import_labels
    from opensafemlrm.interop.opensafemlrm import import_results as read
    from opensafemlrm.store import Store

    if source is Source.LABELS:
        with Store.open(store, "write") as opened:
            say(str(import_labels(path, opened, annotator, part)))
        return
    with Store.open(store, "create") as opened:
        say(str(read(path, opened)))
    say(f"next: safemlrm table asr {store} --by scenario")
