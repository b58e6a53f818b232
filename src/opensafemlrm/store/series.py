"""The series of a store: versions of a model in their order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import polars as pl
from polars import selectors as cs

from opensafemlrm.redaction import without_secrets
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
    names = _published(rows["series"].cast(pl.String).unique().sort())
    return (
        rows.join(models, on="model_id")
        .with_columns(cs.categorical().cast(pl.String))
        .with_columns(pl.col("series").replace(names))
        .sort("series", "step", "date", "place", "model")
        .select(*SERIES)
    )


def _published(names: Iterable[str]) -> dict[str, str]:
    """Return names without the keys that older stores may hold in them; each stays its own."""
    plain = {name: without_secrets(name) for name in names}
    changed = [name for name in plain if plain[name] != name]
    return plain | {name: f"{plain[name]} #{n}" for n, name in enumerate(changed, 1)}
