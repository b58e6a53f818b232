"""The series of a store: versions of a model in their order."""

from __future__ import annotations

from typing import Final

import polars as pl
from polars import selectors as cs

from opensafemlrm.store.named import named_cells, read_table
from opensafemlrm.store.source import Source

SERIES: Final = pl.Schema(
    {"series": pl.String, "model": pl.String, "step": pl.Float64, "date": pl.String}
)
"""The columns of :func:`series`."""


def series(source: Source) -> pl.DataFrame:
    """Return the versions of every series that have replies, in order, by the names of tables.

    Columns: :data:`SERIES`; step and date are null where there are none. Raises StoreError.
    """
    order = ("place", "step", "date")
    rows = read_table(source, "series", *order, series="name", model_id="model")
    models = named_cells(source).select("model_id", "model").unique()
    return (
        rows.join(models, on="model_id")
        .with_columns(cs.categorical().cast(pl.String))
        .sort("series", "step", "date", "place", "model")
        .select(*SERIES)
    )
