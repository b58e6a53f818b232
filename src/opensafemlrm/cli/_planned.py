"""The cells that a study plans, as tables call them."""

from __future__ import annotations

from dataclasses import asdict

from opensafemlrm.cli import _lazy as lazy


def planned_cells(plan: lazy.Plan) -> lazy.pl.DataFrame:
    """Return the cells of a plan: their names, ``simulated``, ``cell`` (key) and ``samples``."""
    rows = [
        (
            *cell.label,
            lazy.sampling_text(asdict(cell.cell.sampling)),
            bool(cell.model.identity().get("simulated")),
            cell.id,
            cell.samples,
        )
        for cell in plan.cells
    ]
    names = ("model", "dataset", "attack", "defense", "sampling", "simulated", "cell", "samples")
    schema: dict[str, lazy.pl.DataType] = {name: lazy.pl.String() for name in names}
    schema |= {"simulated": lazy.pl.Boolean(), "samples": lazy.pl.Int64()}
    return lazy.pl.DataFrame(rows, schema=schema, orient="row")
