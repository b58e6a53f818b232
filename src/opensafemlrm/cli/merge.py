"""``safemlrm merge``: bring sinks and stores together in one store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    from opensafemlrm.store import Store
    from opensafemlrm.store.merge import merge as bring_together
    from opensafemlrm.watch.state import FOLDER

    with Store.open(store, "create") as opened:
        samples = bring_together(sources, opened)
        kept = opened.connection.execute("SELECT count(*) FROM generations").fetchone()[0]
    say(f"{counted(samples, 'sample')} read; the store has {kept:,}")
    for source in sources:
        if (Path(source) / FOLDER).is_dir():
            say(
                f"left behind: {source}/{FOLDER}, what `safemlrm watch` knows; go on watching there"
            )
    say(f"next: safemlrm table asr {store}   safemlrm table coverage {store}")
