"""``safemlrm diff``: what changed between two stores, or two studies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.cli._filters import Chosen, choosing
from opensafemlrm.cli._output import FormatOption, MaxUnscored, show
from opensafemlrm.selection import KINDS, Selection
from opensafemlrm.text import Format

if TYPE_CHECKING:
    import polars as pl

_STUDIES: Final = {".yaml", ".yml"}
_CELL: Final = ("model", "dataset", "attack", "defense", "sampling", "simulated", "cell")
_SIDE: Final = "a store, a folder of Parquet files, or a study file"


@choosing(*KINDS, "by", "part", "threshold", helps={"by": "scenario: figures of each."})
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help=f"The first: {_SIDE}.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The second.")],
    chosen: Chosen,
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
    from opensafemlrm.report.notes import finished

    names = _renames(rename or ())
    (cells_a, frame_a), (cells_b, frame_b) = _side(a, store, names), _side(b, store, {})
    rows, selection = chosen.rows, Selection.of(chosen.names)
    figures = verdicts = None
    if frame_a is not None and frame_b is not None:
        selection = _found(selection, frame_a, frame_b)
        frame_a, frame_b = selection.rows(frame_a), selection.rows(frame_b)
        cells_a, cells_b = _cells(frame_a), _cells(frame_b)
        figures = changes.changed_figures(
            *(frame_a, frame_b),
            by="scenario" if rows.by == "scenario" else None,
            part=rows.part,
            threshold=rows.threshold,
            max_unscored=max_unscored,
        )
        verdicts = changes.changed_verdicts(frame_a, frame_b, part=rows.part) if flips else None
    else:
        chosen.refuse_but(("model", "dataset", "attack", "defense"), "diff of cells alone")
        selection = _found(selection, cells_a, cells_b)
        cells_a, cells_b = selection.rows(cells_a), selection.rows(cells_b)
    tables = change_tables(changes.changed_cells(cells_a, cells_b), figures, verdicts)
    show(finished(tables, {}, selection, rows), to)


def _found(selection: Selection, a: pl.DataFrame, b: pl.DataFrame) -> Selection:
    """Return the selection by the labels of either side. Raises UnknownNameError."""
    import polars as pl

    both = pl.concat([side.select(selection.columns) for side in (a, b)])
    return selection.of_frame(both, pl.DataFrame(schema={"reasoner": str, "base": str}))


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
    from opensafemlrm.cli._planned import planned_cells
    from opensafemlrm.engine import Plan

    planned = None
    if Path(address).suffix in _STUDIES and not Path(address).is_dir():
        planned = planned_cells(Plan.of(studies.load(address)))
        if store is None:
            return _renamed(planned, names), None
        address = str(store)
    frame = results.open(address).frame().select(sorted({*READS, *_CELL}))
    frame = frame.with_columns(pl.selectors.categorical().cast(pl.String))
    if planned is not None:
        frame = frame.filter(pl.col("cell").is_in(planned["cell"].implode()))
    frame = _renamed(frame, names)
    return _cells(frame), frame


def _cells(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the cells of a tidy table, each with how many samples it has."""
    import polars as pl

    return frame.group_by(_CELL).agg(samples=pl.col("sample").n_unique().cast(pl.Int64))


def _renamed(rows: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """Call things of a side as the other does. Raises BadParameter for what is not there."""
    import polars as pl

    kinds = [n for n in ("model", "judge", "dataset", "attack", "defense") if n in rows.columns]
    known = {label for kind in kinds for label in rows[kind].unique()}
    for old in names:
        if old not in known:
            raise typer.BadParameter(f"--rename: A has nothing called {old!r}")
    return rows.with_columns(pl.col(kinds).replace(dict(names)))
