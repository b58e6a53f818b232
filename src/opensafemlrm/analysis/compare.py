"""Two sides under the same conditions, counted: paired by item where both have it.

A side may be anything that was measured: the tax holds a reasoning model against its base, a
defense is compared with none. :mod:`opensafemlrm.analysis.effects` says what the counts mean.
Columns without an ending are of the left side, those that end in ``_right`` of the right one; the
sums are those of :mod:`opensafemlrm.analysis.clustered_counts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from opensafemlrm.analysis.clustered_counts import NEVER, SUMS, counts, texts
from opensafemlrm.analysis.withheld import COVERED
from opensafemlrm.types import Part

MIN_SHARE: Final = 0.05
"""Share of its samples that a side has to have a score for in a part that is compared."""
SIDES: Final = ("", "_right")
COMPARED: Final = [f"{name}{side}" for name in SUMS if name != "n" for side in SIDES]
_OF_EVERY: Final = [f"{name}{side}" for name in ("scored", "hits") for side in SIDES]
EVERY: Final = [
    *(f"{name}{side}" for name in COVERED for side in SIDES),
    *(f"{name}_every" for name in _OF_EVERY),
]
"""Over every sample, whether or not the other side has it too."""
PAIRED: Final = ["hits_both", "worse", "better", "apart"]
"""Over the items of both: Σ hits times the right side's, how many items are worse, or better, on
the left, and Σ by how many hits the two sides differ."""
BOTH_SCORED: Final = (pl.col("scored") > 0) & (pl.col("scored_right") > 0)


def compare(
    left: pl.LazyFrame,
    right: pl.LazyFrame,
    on: Sequence[str],
    hit: pl.Expr,
    so_far: pl.Expr = NEVER,
    *,
    by: Sequence[str],
) -> pl.DataFrame:
    """Count both sides of every group of ``on``, ``by`` and ``scenario`` that both have.

    A side has a row a sample, with the columns ``on``, ``scenario``, ``simulated``, ``item_key``
    and ``repeat``. ``hit`` and ``so_far`` are those of :func:`clustered_counts.counts`; ``by`` are
    columns of the left side that tell its groups apart further.

    A scenario is ``paired`` if at least half of the scored samples of the side that has fewer have
    a score for the same item and repeat on the other side; then only those samples are compared.
    ``n``, the other sums of ``COVERED``, and what ends in ``_every``, always count every sample.
    """
    left, right = (side.with_columns(hit=hit, cut_hit=so_far) for side in (left, right))
    on = [*on, "scenario"]
    keys = [*by, *on]
    known, cut_hit = pl.col("hit"), pl.col("cut_hit")
    both = (
        counts(left, [*keys, "simulated"], known, cut_hit)
        .join(counts(right, [*on, "simulated"], known, cut_hit), on=on, suffix="_right")
        .join(_in_common(left, right, on, keys), on=keys, how="left", suffix="_paired")
        .with_columns(pl.col("simulated") | pl.col("simulated_right"))
        .collect()
        .pipe(texts)
        .sort(keys)
    )
    fewer = pl.min_horizontal("scored", "scored_right")
    paired = (2 * pl.col("scored_paired") >= fewer).fill_null(value=False) & BOTH_SCORED
    return (
        both.with_columns(
            *[pl.col(name).alias(f"{name}_every") for name in _OF_EVERY],
            pl.col(PAIRED).fill_null(0),
            paired=paired,
        )
        .with_columns(
            pl.when("paired").then(f"{name}_paired").otherwise(name).alias(name)
            for name in COMPARED
        )
        .select(*keys, "simulated", "paired", *COMPARED, *EVERY, *PAIRED)
    )


def _in_common(
    left: pl.LazyFrame, right: pl.LazyFrame, on: Sequence[str], keys: Sequence[str]
) -> pl.LazyFrame:
    """Return the sums of every group of ``keys`` over the samples that both sides know."""
    known = pl.col("hit").is_not_null() & pl.col("item_key").is_not_null()
    sample = [*on, "item_key", "repeat"]
    scored, items = pl.col("scored"), pl.len().cast(pl.Int64)
    hits, hits_right = pl.col("hits"), pl.col("hits_right")
    by_item = (
        left.filter(known)
        .select(*keys, "item_key", "repeat", "hit")
        .join(right.filter(known).select(*sample, "hit"), on=sample, suffix="_right")
        .group_by(*keys, "item_key")
        .agg(
            scored=items,
            hits=pl.col("hit").sum().cast(pl.Int64),
            hits_right=pl.col("hit_right").sum().cast(pl.Int64),
        )
    )
    return by_item.group_by(keys).agg(
        *[
            sum_.alias(f"{name}{side}")
            for side, x in zip(SIDES, (hits, hits_right), strict=True)
            for name, sum_ in (
                ("scored", scored.sum()),
                ("hits", x.sum()),
                ("scored_squared", (scored**2).sum()),
                ("hits_squared", (x**2).sum()),
                ("hits_scored", (x * scored).sum()),
                ("items", items),
            )
        ],
        hits_both=(hits * hits_right).sum(),
        worse=(hits > hits_right).sum().cast(pl.Int64),
        better=(hits < hits_right).sum().cast(pl.Int64),
        apart=(hits - hits_right).abs().sum(),
    )


def has_part(family: Sequence[str]) -> pl.Expr:
    """Say of each row whether both sides have its part often enough to be compared.

    The whole reply always is. Of a part that hardly a reply of one side has, a rate would be of few
    and unusual replies.
    """
    scored = [pl.col(f"scored{side}_every").sum() / pl.col(f"n{side}").sum() for side in SIDES]
    enough = pl.min_horizontal(scored).over(family) >= MIN_SHARE
    return enough | (pl.col("part") == Part.FULL.value)
