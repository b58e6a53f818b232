"""Counting by item: how many independent samples there are behind a rate.

Repeats of one item are not independent. Of every group of samples these sums are kept; they add up
over scenarios, so that averages need no second look at the samples:

==================  ==========================================================
``n``               samples, those without a score included
``scored``          scored samples
``hits``            scored samples that are hits, such as unsafe ones
``scored_squared``  over items: the sum of the squares of an item's ``scored``
``hits_squared``    the same of ``hits``
``hits_scored``     the same of ``hits`` times ``scored``
``items``           items with a score
==================  ==========================================================

Beside them stand those of :data:`opensafemlrm.analysis.withheld.COVERED`.

Samples whose item is not known (imported histograms) are items of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl
from polars import selectors as cs

from opensafemlrm.analysis.conditions import CELL_COLUMNS, THRESHOLDS, in_part_order
from opensafemlrm.analysis.intervals import Array, Z, rate_interval
from opensafemlrm.analysis.withheld import COVERED, covered, why
from opensafemlrm.analysis.withheld import READS as BEHIND_SCORES
from opensafemlrm.types import ItemKind

_NAMES: Final = (
    *(name for name in CELL_COLUMNS if name != "simulated"),
    *("judge", "scenario", "part", "item_key"),
)
PRIOR_ITEMS: Final = 2.0
SUMS: Final = ("n", "scored", "hits", "scored_squared", "hits_squared", "hits_scored", "items")

READS: Final = frozenset({"simulated", *_NAMES, *THRESHOLDS, "expected", "score"}) | BEHIND_SCORES
"""Columns of the tidy table that a rate of unsafe replies needs."""

UNSAFE: Final = pl.col("score") >= pl.col("threshold")
"""Whether a row of :func:`at_thresholds` is unsafe; null where it has no score."""
UNSAFE_SO_FAR: Final = pl.col("score_so_far") >= pl.col("threshold")
"""Whether what came of a part before it was cut is unsafe already; null where it was not cut."""
NEVER: Final = pl.lit(value=False)
"""Whether it is, of what a cut says nothing of."""


def harmful(frame: pl.DataFrame | pl.LazyFrame) -> pl.LazyFrame:
    """Return the judged rows of harmful items: what a rate of unsafe replies is made of.

    Without a judge there is no threshold, and so no rate: coverage has these replies.
    """
    return _judged(frame, ItemKind.HARMFUL)


def benign(frame: pl.DataFrame | pl.LazyFrame) -> pl.LazyFrame:
    """Return the judged rows of benign items: what a rate of refusals is made of."""
    return _judged(frame, ItemKind.BENIGN)


def _judged(frame: pl.DataFrame | pl.LazyFrame, expected: ItemKind) -> pl.LazyFrame:
    rows = frame.lazy().filter(pl.col("expected") == expected.value, pl.col("judge").is_not_null())
    # Categories are grouped and joined as numbers: on 540,000 rows the tax took 0.6 s of CPU and
    # 95 MB so, and 1.9 s and 700 MB by texts.
    return rows.with_columns(pl.col(_NAMES).cast(pl.Categorical))


def texts(rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``rows`` with texts in place of categories."""
    return rows.with_columns(cs.categorical().cast(pl.String))


def at_thresholds(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return ``rows`` once for each threshold of their judge, with the column ``threshold``."""
    lenient, strict = map(pl.col, THRESHOLDS)
    return pl.concat(
        [
            rows.with_columns(threshold=lenient),
            rows.filter(lenient != strict).with_columns(threshold=strict),
        ]
    )


def unsafe_counts(frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Return the sums over harmful items of every cell, scenario, judge, part and threshold.

    Beside the sums it has the judge's thresholds, and ``mean``, the mean score.
    """
    keys = [*CELL_COLUMNS, "judge", "scenario", "part", *THRESHOLDS, "threshold"]
    mean = pl.col("score_sum") / pl.col("scored")
    return (
        counts(
            at_thresholds(harmful(frame)),
            keys,
            UNSAFE,
            UNSAFE_SO_FAR,
            score_sum=pl.col("score").sum(),
        )
        .with_columns(mean=pl.when(pl.col("scored") > 0).then(mean))
        .collect()
        .pipe(texts)
        .sort(*CELL_COLUMNS, "judge", "scenario", in_part_order(), "threshold")
    )


def counts(
    rows: pl.LazyFrame,
    keys: Sequence[str],
    hit: pl.Expr,
    so_far: pl.Expr = NEVER,
    **totals: pl.Expr,
) -> pl.LazyFrame:
    """Return the sums of every group of ``keys``.

    ``hit`` says of a row whether it is one; null where that is not known. ``so_far`` says of a row
    where it is not that it is one all the same, whatever a cut would have left out. ``totals`` are
    further sums, by name.
    """
    scored, hits = pl.col("scored"), pl.col("hits")
    single = pl.col("item_key").is_null()

    def over_items(product: pl.Expr, of_one: pl.Expr) -> pl.Expr:
        return pl.when(single).then(of_one).otherwise(product).sum()

    by_item = rows.group_by(*keys, "item_key").agg(
        scored=hit.count().cast(pl.Int64),
        hits=hit.sum().cast(pl.Int64),
        **covered(hit, so_far),
        **totals,
    )
    return by_item.group_by(keys).agg(
        pl.col("scored", "hits", *COVERED, *totals).sum(),
        scored_squared=over_items(scored**2, scored),
        hits_squared=over_items(hits**2, hits),
        hits_scored=over_items(hits * scored, hits),
        items=over_items((scored > 0).cast(pl.Int64), scored),
    )


def rate_of(sums: pl.DataFrame, side: str = "") -> tuple[Array, Array]:
    """Return the rates hits/scored of ``sums``, and the number of independent samples behind each.

    That number is the one whose binomial variance is the variance of the rate between items
    (:func:`variance`), and lies between :func:`independent_items` and the number of samples.
    ``side`` ends the names of the columns.
    """
    scored, items = pl.col(f"scored{side}"), independent_items(side)
    rate = pl.col(f"hits{side}") / scored
    size = rate * (1 - rate) * scored**2 / variance(cautious_rate(rate, items), side)
    rates = sums.select(
        rate=rate, size=pl.when(scored > 0).then(size.clip(items, scored)).otherwise(0.0)
    )
    return rates["rate"].to_numpy(), rates["size"].to_numpy()


def with_rates(sums: pl.DataFrame, max_unscored: float) -> pl.DataFrame:
    """Return ``sums`` with what they say of the rate of their hits.

    Added are ``rate`` and the ``size`` behind it (:func:`rate_of`); ``low`` and ``high``, its 95 %
    interval; ``if_safe`` and ``if_unsafe``, the rate over all of ``n`` if nothing without a score
    were a hit, but for what was cut and is one already, and if all of it were; and ``withheld``
    (:func:`opensafemlrm.analysis.withheld.why`).
    """
    rate, size = rate_of(sums)
    values = (rate, size, *rate_interval(rate * size, size))
    n, scored, hits, so_far = map(pl.col, ("n", "scored", "hits", "so_far"))
    return sums.with_columns(
        # As lists: to look at an array, polars loads numpy.ma, which takes half as long as numpy.
        *(
            pl.Series(name, array.tolist(), pl.Float64)
            for name, array in zip(("rate", "size", "low", "high"), values, strict=True)
        ),
        if_safe=(hits + so_far) / n,
        if_unsafe=(hits + n - scored) / n,
        withheld=why(max_unscored),
    )


def independent_items(side: str = "") -> pl.Expr:
    """Return how many items, asked equally often, are as uncertain as these if no repeat adds.

    It is the number of items where all have as many scores, and fewer where they have not: an item
    with sixteen scores weighs as much as sixteen items with one. Source: Kish, Survey Sampling
    (1965), section 11.7.
    """
    scored = pl.col(f"scored{side}").cast(pl.Float64)
    return pl.when(scored > 0).then(scored**2 / pl.col(f"scored_squared{side}"))


def between_items(side: str = "") -> pl.Expr:
    """Return the variance of the number of hits as it shows between items; null for one item."""
    names = ("scored", "hits", "scored_squared", "hits_squared", "hits_scored")
    scored, hits, scored2, hits2, both = (pl.col(f"{name}{side}") for name in names)
    rate, items = hits / scored, independent_items(side)
    squares = hits2 - 2 * rate * both + rate**2 * scored2
    return pl.when(items > 1).then(squares * items / (items - 1))


def variance(rate: pl.Expr, side: str = "") -> pl.Expr:
    """Return the variance of the number of hits, as :func:`between_items` but never overly small.

    Few items that happen to be alike, or whose heavy ones happen to have no hit, say too little
    about their variance. So it is averaged with that of items which answer always the same, at
    ``rate``, as if two more items (counted as :func:`independent_items`) had shown it.
    """
    items = independent_items(side)
    more = PRIOR_ITEMS * pl.col(f"items{side}") / items
    alike = rate * (1 - rate) * pl.col(f"scored_squared{side}")
    own = between_items(side)
    both = (items * own + more * alike) / (items + more)
    return pl.when(own.is_null()).then(alike).otherwise(both)


def cautious_rate(rate: pl.Expr, items: pl.Expr) -> pl.Expr:
    """Return a rate that is never 0 or 1: the middle of Wilson's interval for so many items."""
    return (rate * items + Z**2 / 2) / (items + Z**2)


def finite(rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``rows`` with null for every number that was not measured or has no end."""
    numbers = cs.float()
    return rows.with_columns(pl.when(numbers.is_finite()).then(numbers))
