"""``safemlrm merge``: bring sinks and stores together in one store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import say
from opensafemlrm.text import counted


def merge(
    sources: Annotated[
        list[str], typer.Argument(help="Stores, and folders or URLs of Parquet files.")
    ],
    store: Annotated[Path, typer.Option(help="The store to merge into; made if needed.")],
) -> None:
    """Merge Parquet files and stores into one store.

    Merging again changes nothing.
    """
    with lazy.Store.open(store, "create") as opened:
        samples = lazy.merge_stores(sources, opened)
        kept = opened.connection.execute("SELECT count(*) FROM generations").fetchone()[0]
    say(f"{counted(samples, 'sample')} read; the store has {kept:,}")
    for source in sources:
        folder = f"{source}/{lazy.watch_state.FOLDER}"
        if Path(folder).is_dir():
            say(f"left behind: {folder}, what `safemlrm watch` knows; go on watching there")
    say(f"next: safemlrm table asr {store}   safemlrm table coverage {store}")
