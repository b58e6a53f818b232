"""Where a rule of a study ended a scenario before all its items were run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import polars as pl

from opensafemlrm.store.named import hexadecimal, joined, named_cells, named_judges, read_table
from opensafemlrm.store.source import Source

COLUMNS: Final[Mapping[str, str]] = {
    "model": "The model; of a rule about a tax, the reasoning model.",
    "base": "The base that it is compared with; null for a rule about a rate.",
    "dataset": "The data set, as tables call it.",
    "attack": "The attack.",
    "defense": "The defense.",
    "scenario": "The scenario, as upstream spells it.",
    "judge": "The judge.",
    "part": "The part of the reply that the rule reads.",
    "rule": "The study's key `stop`, as JSON.",
    "answer": "`yes`: there is a tax; `no`: less of one than the margin; `narrow`: the interval is "
    "as narrow as was asked for; `undecided`: a whole run would hardly decide; `all`: every item "
    "was run.",
    "drawn": "Items that were run, in random order.",
    "items": "Items there are.",
    "low": "Lower end of an interval for the rate, or the tax, over all items: it holds however "
    "often one looks. 95 %; of a tax 90 %, so that each end is as sure as the answer.",
    "high": "Upper end.",
    "simulated": "Whether a model is a simulation.",
    "sampling": "Temperature, token limit and seed that the study asks for.",
    "cell": "The cell's key.",
}
"""The columns of :func:`stops`."""
_NUMBERS: Final = ("drawn", "items", "low", "high")


def stops(source: Source) -> pl.DataFrame:
    """Return where scenarios ended by a rule; columns: :data:`COLUMNS`. Raises StoreError."""
    keys = {"cell_id": "cell", "base_id": "base", "judge_id": "judge"}
    names = ("scenario", "rule", "answer", *_NUMBERS)
    cells = named_cells(source)
    rows = read_table(source, "stops", *names, **keys)
    bases = cells.select(base_id="cell_id", base="model", is_base_simulated="simulated")
    rules = [json.loads(rule) for rule in rows["rule"]]
    rows = rows.with_columns(part=pl.Series([rule["part"] for rule in rules], dtype=pl.String))
    named = joined(rows, cells, "cell_id", "stops").join(bases, on="base_id", how="left")
    named = named.join(named_judges(source).select("judge_id", "judge"), on="judge_id")
    any_simulated = pl.col("simulated") | pl.col("is_base_simulated").fill_null(value=False)
    return (
        named.with_columns(simulated=any_simulated)
        .select(pl.col(name) for name in COLUMNS)
        .with_columns(pl.col(pl.Categorical).cast(pl.String))
        .sort(*list(COLUMNS)[:8])
    )


def with_stopped(source: Source, replies: pl.DataFrame) -> pl.DataFrame:
    """Add ``stopped`` to replies: whether a rule ended their scenario early.

    ``replies`` have the columns cell_id, scenario, item_key and expected. A scenario of which every
    item has a reply all the same, as a later run may have no rule, is not one.
    """
    sides = ("cell", "base")
    rows = pl.concat(read_table(source, "stops", "scenario", "items", cell_id=s) for s in sides)
    ends = rows.group_by("cell_id", "scenario").agg(pl.col("items").max())
    place = ("cell_id", "scenario", "expected")
    is_short = pl.col("item_key").n_unique().over(place) < pl.col("items")
    return (
        replies.join(ends, on=["cell_id", "scenario"], how="left", maintain_order="left")
        .with_columns(stopped=is_short.fill_null(value=False) & (pl.col("expected") == "harmful"))
        .drop("items")
    )


def draws(source: Source) -> pl.DataFrame:
    """Return how far the items of scenarios were drawn: cell, scenario, seed, drawn and items.

    ``cell`` is the key, hexadecimal. Where several rules drew from a scenario, it is the one that
    went farthest. Raises StoreError.
    """
    names = ("scenario", "rule", "drawn", "items")
    rows = pl.concat(read_table(source, "stops", *names, id=side) for side in ("cell", "base"))
    seeds = pl.Series([json.loads(rule)["seed"] for rule in rows["rule"]], dtype=pl.Int64)
    rows = rows.with_columns(cell=hexadecimal("id", pl.String()), seed=seeds)
    rows = rows.sort("drawn", "seed", descending=True).unique(["cell", "scenario"], keep="first")
    columns = (pl.col("cell", "scenario").cast(pl.String), "seed", "drawn", "items")
    return rows.select(columns).sort("cell", "scenario")
