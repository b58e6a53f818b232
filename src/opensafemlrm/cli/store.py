"""``safemlrm store`` and ``merge``: whether stores are whole, and making one of several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import ExitCode, say
from opensafemlrm.cli._output import FormatOption, show, table_of
from opensafemlrm.text import Format, counted

_Store = Annotated[Path, typer.Argument(help="The store's folder.")]


def check(
    store: _Store,
    to: FormatOption = Format.TEXT,
) -> None:
    """Check whether a store, or a folder of Parquet files, is whole.

    Changes nothing, and exits with 2 where something is wrong.
    """
    findings = lazy.check_store(store)
    if not lazy.is_sink(store):
        findings += lazy.watch_state.check_watch(store)
    show([_table(store, findings)], to)
    if any(finding.problem for finding in findings):
        if not lazy.is_sink(store):
            say(f"next: safemlrm store repair {store}")
        raise typer.Exit(ExitCode.UNUSABLE)


def repair(store: _Store) -> None:
    """Repair what check finds.

    What was there before is kept beside the new database.
    """
    changes = []
    for path in (store, *lazy.watch_state.probe_stores(store)):
        made = lazy.maintenance.repair(path)
        for change in made:
            say(f"{change.n:>9,}  {_of(path, store)}{change.what}")
        changes += made
        if made and path != store:
            say("the next watch asks the model of now for lost replies: a change may go unseen")
            say("go on with safemlrm watch --whole, which compares whole runs")
    lazy.watch_state.refuse_unreadable(store)
    say("run the study again: it makes what is missing" if changes else "nothing to repair")


def vacuum(store: _Store) -> None:
    """Give unused space back to the disk."""
    for path in (store, *lazy.watch_state.probe_stores(store)):
        before, after = lazy.maintenance.vacuum(path)
        say(f"{_of(path, store)}{before:,} bytes before, {after:,} now")


def migrate(store: _Store) -> None:
    """Migrate a store of an older version.

    A copy of the old database is kept.
    """
    for path in (store, *lazy.watch_state.probe_stores(store)):
        found, copy = lazy.maintenance.migrate(path)
        if copy is None:
            now = lazy.SCHEMA_VERSION
            say(f"{_of(path, store)}nothing to do: the store has schema version {now}")
        else:
            copied = f"as it was, it is kept as {copy}"
            say(f"{_of(path, store)}from schema version {found} to {lazy.SCHEMA_VERSION}; {copied}")


def _of(path: Path, store: Path) -> str:
    """Return how a line begins that is on a store of the watch's."""
    return "" if path == store else f"{path.relative_to(store)}: "


def _table(store: Path, findings: list[lazy.StoreFinding]) -> lazy.Table:
    faults = any(finding.problem for finding in findings)
    if_any = (lazy.Form.TEXT, lazy.WhenConstant.DROP_IF_ZERO)
    columns = {
        "checked": "Checked",
        "wrong": ("not so", lazy.Form.COUNT),
        "example": ("for example", *if_any),
        "remedy": ("what to do", *if_any),
    }
    state = "the store is not whole" if faults else "the store is whole"
    return table_of("store", f"{store}: {state}", columns, findings)


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
