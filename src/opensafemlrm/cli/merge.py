"""``safemlrm merge``: bring sinks and stores together in one store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opensafemlrm.cli._console import say


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("merge")(merge)


def merge(
    sources: Annotated[
        list[str], typer.Argument(help="Sinks (folders of parts, or URLs) and stores.")
    ],
    store: Annotated[Path, typer.Option(help="The store to bring them together in.")],
) -> None:
    """Bring sinks and stores together in one store. Doing it again changes nothing."""
    from opensafemlrm.store import Store
    from opensafemlrm.store.merge import merge as bring_together

    with Store.open(store, "create") as opened:
        samples = bring_together(sources, opened)
        kept = opened.connection.execute("SELECT count(*) FROM generations").fetchone()[0]
    say(f"{samples:,} samples read; the store has {kept:,}")
    say(f"next: safemlrm table asr {store}   safemlrm table coverage {store}")
