"""The cells that a study plans, as tables call them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from opensafemlrm.engine import Plan


def planned_cells(plan: Plan) -> pl.DataFrame:
    """Return the cells of a plan: their names, ``simulated``, ``cell`` (key) and ``samples``."""
    import polars as pl

    from opensafemlrm.store.named import sampling_text

    rows = [
        (
            *cell.label,
            sampling_text(asdict(cell.cell.sampling)),
            bool(cell.model.identity().get("simulated")),
            cell.id,
            cell.samples,
        )
        for cell in plan.cells
    ]
    names = ("model", "dataset", "attack", "defense", "sampling", "simulated", "cell", "samples")
    schema: dict[str, pl.DataType] = {name: pl.String() for name in names}
    schema |= {"simulated": pl.Boolean(), "samples": pl.Int64()}
    return pl.DataFrame(rows, schema=schema, orient="row")
