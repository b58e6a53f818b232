"""What data sets hold now: which samples are of items that have left, and tables of one name.

A run notes the items of a data set each time it has read the whole of it. An item has left where an
earlier reading of the same file (or folder) had it and the latest has not: its id or its content
was changed. What no reading ever had, such as imported samples, never leaves.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from opensafemlrm.store.database import unfit
from opensafemlrm.store.named import CATEGORY, joined, named_cells, read_table
from opensafemlrm.store.source import Source
from opensafemlrm.store.tables import TABLES
from opensafemlrm.types import content_key

KEY_BYTES: Final = 16


def current(source: Source, replies: pl.DataFrame) -> pl.DataFrame:
    """Return the ``replies`` (columns dataset, dataset_id and item_id) of items that are held now.

    Data sets of one name are told apart by a piece of what they hold; an item that several of them
    hold is there for each.
    """
    readings = _readings(source)
    place = ["dataset_id", "item_id"]
    latest = readings.filter(
        pl.col("created") == pl.col("created").max().over("dataset_id", "source")
    )
    held = latest.unique(["dataset_id", "digest"]).sort("dataset_id", "digest")
    several = pl.len().over("dataset_id") > 1
    piece = pl.col("digest").bin.encode("hex").str.to_uppercase().str.slice(0, 4)
    now = _items(held.with_columns(table=pl.when(several).then(piece)))
    if source.everything:
        now = now.filter(pl.col("table").is_not_null())
    else:
        gone = _items(readings).join(now, on=place, how="anti")
        replies = replies.join(gone, on=place, how="anti", maintain_order="left")
    now = now.select(*place, "table").filter(pl.col("table").is_not_null())
    name = pl.col("dataset").cast(pl.String)
    return (
        replies.join(now, on=place, how="left", maintain_order="left")
        .with_columns(pl.concat_str(name, pl.concat_str(pl.lit("#"), "table").fill_null("")))
        .with_columns(pl.col("dataset").cast(CATEGORY))
        .drop("table")
    )


def left_out(source: Source) -> int:
    """Return how many samples are left out, as their items have left their data sets.

    A source opened with ``everything`` leaves none out. Raises StoreError.
    """
    cells = named_cells(source).select("cell_id", "dataset_id", "dataset")
    replies = read_table(source, "generations", id="key", cell_id="cell", item_id="item")
    replies = joined(replies, cells, "cell_id", "generations")
    return replies["id"].n_unique() - current(source, replies)["id"].n_unique()


def _readings(source: Source) -> pl.DataFrame:
    table = TABLES["readings"]
    rows = source.query(table.select(), table.schema())
    for digest, items in rows.select("digest", "items").iter_rows():
        if digest != content_key(items):
            raise unfit("readings", "items that are not those of its key")
    return rows.rename({"dataset": "dataset_id"})


def _items(readings: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each item of each reading, with its key as ``item_id``."""
    keys = [
        [items[at : at + KEY_BYTES] for at in range(0, len(items), KEY_BYTES)]
        for items in readings["items"]
    ]
    return (
        readings.with_columns(item_id=pl.Series(keys, dtype=pl.List(pl.Binary)))
        .drop("items")
        .explode("item_id")
        .drop_nulls("item_id")
        .unique(maintain_order=True)
    )
