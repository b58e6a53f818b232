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

    findings = look(store)
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

    changes = put_right(store)
    for change in changes:
        say(f"{change.n:>9,}  {change.what}")
    say("run the study again: it makes what is missing" if changes else "nothing to repair")


def vacuum(store: _Store) -> None:
    """Give unused space back to the disk."""
    from opensafemlrm.store.maintenance import vacuum as give_back

    before, after = give_back(store)
    say(f"{before:,} bytes before, {after:,} now")


def migrate(store: _Store) -> None:
    """Migrate a store of an older version.

    A copy of the old database is kept.
    """
    from opensafemlrm.store.maintenance import migrate as bring_forward
    from opensafemlrm.store.schema import VERSION

    found, copy = bring_forward(store)
    if copy is None:
        say(f"nothing to do: the store has schema version {VERSION}")
    else:
        say(f"from schema version {found} to {VERSION}; as it was, it is kept as {copy}")


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
