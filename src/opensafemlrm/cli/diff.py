"""``safemlrm diff``: what changed between two stores, or two studies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._dry_run import planned_cells
from opensafemlrm.cli._filters import Chosen, choosing
from opensafemlrm.cli._output import FormatOption, MaxUnscored, show
from opensafemlrm.selection import KINDS, Selection
from opensafemlrm.text import Format

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
    names = _renames(rename or ())
    (cells_a, frame_a), (cells_b, frame_b) = _side(a, store, names), _side(b, store, {})
    rows, selection = chosen.rows, Selection.of(chosen.names)
    figures = verdicts = None
    if frame_a is not None and frame_b is not None:
        selection = _found(selection, frame_a, frame_b)
        frame_a, frame_b = selection.rows(frame_a), selection.rows(frame_b)
        cells_a, cells_b = _cells(frame_a), _cells(frame_b)
        figures = lazy.changes.changed_figures(
            *(frame_a, frame_b),
            by="scenario" if rows.by == "scenario" else None,
            part=rows.part,
            threshold=rows.threshold,
            max_unscored=max_unscored,
        )
        verdicts = (
            lazy.changes.changed_verdicts(frame_a, frame_b, part=rows.part) if flips else None
        )
    else:
        chosen.refuse_but(("model", "dataset", "attack", "defense"), "diff of cells alone")
        selection = _found(selection, cells_a, cells_b)
        cells_a, cells_b = selection.rows(cells_a), selection.rows(cells_b)
    tables = lazy.change_tables(lazy.changes.changed_cells(cells_a, cells_b), figures, verdicts)
    show(lazy.finished(tables, {}, selection, rows), to)


def _found(selection: Selection, a: lazy.pl.DataFrame, b: lazy.pl.DataFrame) -> Selection:
    """Return the selection by the labels of either side. Raises UnknownNameError."""
    both = lazy.pl.concat([side.select(selection.columns) for side in (a, b)])
    return selection.of_frame(both, lazy.pl.DataFrame(schema={"reasoner": str, "base": str}))


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
) -> tuple[lazy.pl.DataFrame, lazy.pl.DataFrame | None]:
    """Return the cells of a side, and its tidy table; ``None`` where it has no results."""
    planned = None
    if Path(address).suffix in _STUDIES and not Path(address).is_dir():
        planned = planned_cells(lazy.Plan.of(lazy.study.load(address)))
        if store is None:
            return _renamed(planned, names), None
        address = str(store)
    frame = lazy.results.open(address).frame().select(sorted({*lazy.changes.READS, *_CELL}))
    frame = frame.with_columns(lazy.pl.selectors.categorical().cast(lazy.pl.String))
    if planned is not None:
        frame = frame.filter(lazy.pl.col("cell").is_in(planned["cell"].implode()))
    frame = _renamed(frame, names)
    return _cells(frame), frame


def _cells(frame: lazy.pl.DataFrame) -> lazy.pl.DataFrame:
    """Return the cells of a tidy table, each with how many samples it has."""
    return frame.group_by(_CELL).agg(samples=lazy.pl.col("sample").n_unique().cast(lazy.pl.Int64))


def _renamed(rows: lazy.pl.DataFrame, names: Mapping[str, str]) -> lazy.pl.DataFrame:
    """Call things of a side as the other does. Raises BadParameter for what is not there."""
    kinds = [n for n in ("model", "judge", "dataset", "attack", "defense") if n in rows.columns]
    known = {label for kind in kinds for label in rows[kind].unique()}
    for old in names:
        if old not in known:
            raise typer.BadParameter(f"--rename: A has nothing called {old!r}")
    return rows.with_columns(lazy.pl.col(kinds).replace(dict(names)))
