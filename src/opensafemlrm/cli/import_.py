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


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_results)


def import_results(
    source: Annotated[Source, typer.Argument(help="Whose results they are.")],
    path: Annotated[Path, typer.Argument(help="The folder they are in.")],
    store: Annotated[Path, typer.Option(help="The store to read them into.")],
) -> None:
    """Read published results into a store.

    Every table works on them then.

    opensafemlrm: the score histograms (statistic_results) and per-item results
    (evaluation_results) that were published with the study.
    """
    from opensafemlrm.interop.opensafemlrm import import_results as read
    from opensafemlrm.store import Store

    del source  # there is one so far
    with Store.open(store, "create") as opened:
        say(str(read(path, opened)))
    say(f"next: safemlrm table asr {store} --by scenario")
