"""``safemlrm diff``: what changed between two stores, or two studies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.cli._output import FormatOption, MaxUnscored, show
from opensafemlrm.cli.tables import By
from opensafemlrm.text import Format
from opensafemlrm.types import Part

if TYPE_CHECKING:
    import polars as pl

_STUDIES: Final = {".yaml", ".yml"}
_SIDE: Final = "a store, a folder of Parquet files, or a study file"


def diff(  # options speak for themselves
    a: Annotated[str, typer.Argument(metavar="A", help=f"The first: {_SIDE}.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The second.")],
    store: Annotated[
        Path | None,
        typer.Option(help="Where studies have their results; without, only cells are compared."),
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OLD=NEW",
            help="Take a model, judge, dataset, attack or defense of A for another's; repeatable.",
        ),
    ] = None,
    by: Annotated[By | None, typer.Option(help="Compare figures for each of these.")] = None,
    part: Annotated[Part | None, typer.Option(help="Print only the rows of this part.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Print only figures at this threshold of the judge.")
    ] = None,
    flips: Annotated[
        bool, typer.Option("--flips/--no-flips", help="Print the verdicts that differ.")
    ] = True,
    max_unscored: MaxUnscored = MAX_UNSCORED,
    to: FormatOption = Format.TEXT,
) -> None:
    """Print what changed from A to B: cells, figures, and verdicts item by item.

    Figures are compared item by item where both have the item, with 95 % intervals of the
    difference. --rename compares what has two names: --rename openai/my-v1=openai/my-v2.
    """
    from opensafemlrm.analysis import changes
    from opensafemlrm.report.changes import change_tables

    names = _renames(rename or ())
    cells_a, frame_a = _side(a, store, names)
    cells_b, frame_b = _side(b, store, {})
    figures = verdicts = None
    if frame_a is not None and frame_b is not None:
        figures = changes.changed_figures(
            *(frame_a, frame_b),
            by="scenario" if by else None,
            part=part,
            threshold=threshold,
            max_unscored=max_unscored,
        )
        verdicts = changes.changed_verdicts(frame_a, frame_b, part=part) if flips else None
    show(change_tables(changes.changed_cells(cells_a, cells_b), figures, verdicts), to)


def _renames(pairs: list[str] | tuple[()]) -> dict[str, str]:
    names = {}
    for pair in pairs:
        old, sign, new = pair.partition("=")
        if not (old and sign and new):
            raise typer.BadParameter(f"--rename: {pair!r} is not such as OLD=NEW")
        names[old] = new
    return names


def _side(
    address: str, store: Path | None, names: Mapping[str, str]
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Return the cells of a side, and its tidy table; ``None`` where it has no results."""
    import polars as pl

    from opensafemlrm import results
    from opensafemlrm import study as studies
    from opensafemlrm.analysis.changes import READS
    from opensafemlrm.analysis.conditions import CONDITION_COLUMNS
    from opensafemlrm.cli._planned import planned_cells
    from opensafemlrm.engine import Plan

    planned = None
    if Path(address).suffix in _STUDIES and not Path(address).is_dir():
        planned = planned_cells(Plan.of(studies.load(address)))
        if store is None:
            return _renamed(planned, names), None
        address = str(store)
    columns = ("model", *CONDITION_COLUMNS, "simulated", "cell")
    frame = results.open(address).frame().select(sorted({*READS, *columns}))
    frame = frame.with_columns(pl.selectors.categorical().cast(pl.String))
    if planned is not None:
        frame = frame.filter(pl.col("cell").is_in(planned["cell"].implode()))
    frame = _renamed(frame, names)
    cells = frame.group_by(columns).agg(samples=pl.col("sample").n_unique().cast(pl.Int64))
    return cells, frame


def _renamed(rows: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """Call things of a side as the other does. Raises BadParameter for what is not there."""
    import polars as pl

    kinds = [n for n in ("model", "judge", "dataset", "attack", "defense") if n in rows.columns]
    known = {label for kind in kinds for label in rows[kind].unique()}
    for old in names:
        if old not in known:
            raise typer.BadParameter(f"--rename: A has nothing called {old!r}")
    return rows.with_columns(pl.col(kinds).replace(dict(names)))
