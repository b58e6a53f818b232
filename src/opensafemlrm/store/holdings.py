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
_PLACE: Final = ("dataset_id", "item_id")


def current(source: Source, replies: pl.DataFrame) -> pl.DataFrame:
    """Return the ``replies`` (columns dataset, dataset_id and item_id) of items that are held now.

    Data sets of one name are told apart by a piece of what they hold; an item that several of them
    hold is there for each.
    """
    now, gone = _held(source)
    if len(gone):
        replies = replies.join(gone, on=_PLACE, how="anti", maintain_order="left")
    if now.is_empty():
        return replies
    name = pl.col("dataset").cast(pl.String)
    return (
        replies.join(now, on=_PLACE, how="left", maintain_order="left")
        .with_columns(pl.concat_str(name, pl.concat_str(pl.lit("#"), "table").fill_null("")))
        .with_columns(pl.col("dataset").cast(CATEGORY))
        .drop("table")
    )


def left_out(source: Source) -> int:
    """Return how many samples are left out, as their items have left their data sets.

    A source opened with ``everything`` leaves none out. Raises StoreError.
    """
    _, gone = _held(source)
    if gone.is_empty():
        return 0
    cells = named_cells(source).select("cell_id", "dataset_id")
    replies = read_table(source, "generations", cell_id="cell", item_id="item")
    replies = joined(replies, cells, "cell_id", "generations")
    return replies.join(gone, on=_PLACE, how="semi").height


def _held(source: Source) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the items of data sets that share a name, with the piece of each as ``table``; and
    those that have left, but for a source opened with ``everything``.
    """
    readings = _readings(source)
    latest = readings.filter(
        pl.col("created") == pl.col("created").max().over("dataset_id", "source")
    )
    held = latest.unique(["dataset_id", "digest"]).sort("dataset_id", "digest")
    several = pl.len().over("dataset_id") > 1
    piece = pl.col("digest").bin.encode("hex").str.to_uppercase().str.slice(0, 4)
    now = _items(held.with_columns(table=pl.when(several).then(piece)))
    gone = _items(readings.clear() if source.everything else readings)
    gone = gone.join(now, on=_PLACE, how="anti")
    now = now.select(*_PLACE, "table").filter(pl.col("table").is_not_null())
    return now, gone.select(_PLACE)


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
