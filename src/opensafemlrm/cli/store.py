"""``safemlrm store``: whether a store is whole, and putting it right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opensafemlrm.cli._console import say
from opensafemlrm.cli._exit_codes import ExitCode
from opensafemlrm.cli._output import FormatOption, show
from opensafemlrm.text import Format

if TYPE_CHECKING:
    from opensafemlrm.report import Table
    from opensafemlrm.store.checking import Finding

_Store = Annotated[Path, typer.Argument(help="The store's folder.")]


def check(
    store: _Store,
    to: FormatOption = Format.TEXT,
) -> None:
    """Check whether a store, or a folder of Parquet files, is whole.

    Changes nothing, and exits with 2 where something is wrong.
    """
    from opensafemlrm.store.checking import check as look
    from opensafemlrm.store.sink import is_sink
    from opensafemlrm.watch.stores import check_watch

    findings = look(store)
    if not is_sink(store):
        findings += check_watch(store)
    show([_table(store, findings)], to)
    if any(finding.problem for finding in findings):
        if not is_sink(store):
            say(f"next: safemlrm store repair {store}")
        raise typer.Exit(ExitCode.UNUSABLE)


def repair(store: _Store) -> None:
    """Repair what check finds.

    What was there before is kept beside the new database.
    """
    from opensafemlrm.store.maintenance import repair as put_right
    from opensafemlrm.watch.stores import probe_stores, refuse_unreadable

    changes = []
    for path in (store, *probe_stores(store)):
        made = put_right(path)
        for change in made:
            say(f"{change.n:>9,}  {_of(path, store)}{change.what}")
        changes += made
        if made and path != store:
            say("the next watch asks the model of now for lost replies: a change may go unseen")
            say("go on with safemlrm watch --whole, which compares whole runs")
    refuse_unreadable(store)
    say("run the study again: it makes what is missing" if changes else "nothing to repair")


def vacuum(store: _Store) -> None:
    """Give unused space back to the disk."""
    from opensafemlrm.store.maintenance import vacuum as give_back
    from opensafemlrm.watch.stores import probe_stores

    for path in (store, *probe_stores(store)):
        before, after = give_back(path)
        say(f"{_of(path, store)}{before:,} bytes before, {after:,} now")


def migrate(store: _Store) -> None:
    """Migrate a store of an older version.

    A copy of the old database is kept.
    """
    from opensafemlrm.store.maintenance import migrate as bring_forward
    from opensafemlrm.store.schema import VERSION
    from opensafemlrm.watch.stores import probe_stores

    for path in (store, *probe_stores(store)):
        found, copy = bring_forward(path)
        if copy is None:
            say(f"{_of(path, store)}nothing to do: the store has schema version {VERSION}")
        else:
            copied = f"as it was, it is kept as {copy}"
            say(f"{_of(path, store)}from schema version {found} to {VERSION}; {copied}")


def _of(path: Path, store: Path) -> str:
    """Return how a line begins that is on a store of the watch's."""
    return "" if path == store else f"{path.relative_to(store)}: "


def _table(store: Path, findings: list[Finding]) -> Table:
    import polars as pl

    from opensafemlrm.report import Column, Form, Table, WhenConstant

    faults = any(finding.problem for finding in findings)
    return Table(
        name="store",
        title=f"{store}: " + ("the store is not whole" if faults else "the store is whole"),
        frame=pl.DataFrame(findings, infer_schema_length=None),
        columns=[
            Column("checked", "Checked"),
            Column("wrong", "not so", Form.COUNT),
            Column("example", "for example", constant=WhenConstant.DROP_IF_ZERO),
            Column("remedy", "what to do", constant=WhenConstant.DROP_IF_ZERO),
        ],
    )
