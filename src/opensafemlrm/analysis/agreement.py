"""How alike labels, or rankings, are: of people, of judges, of several of either.

Sources: K. Krippendorff, Content Analysis (2004), chapter 11, for α; J. Cohen, A coefficient of
agreement for nominal scales (1960), for κ.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from opensafemlrm.analysis.conditions import in_part_order
from opensafemlrm.analysis.intervals import TAILS, Array
from opensafemlrm.types import Label

SEED: Final = 20_250_408
_DRAWS: Final = 4_000
_PERMUTATIONS: Final = 10_000
MIN_BLOCKS: Final = 2


@dataclass(frozen=True, slots=True)
class Agreement:
    """φ and κ of a 2×2, each with its 95 % interval; ``None`` where a label never changes."""

    phi: float | None = None
    phi_low: float | None = None
    phi_high: float | None = None
    kappa: float | None = None
    kappa_low: float | None = None
    kappa_high: float | None = None


def agreement(both: float, first: float, second: float, neither: float) -> Agreement:
    """Return φ and κ of two labels, from how often both, one or the other, or neither is set.

    The intervals are equal-tailed posterior intervals under a Dirichlet prior of ½ a cell, widened
    to hold the estimate; unlike those by the delta method they hold their level for small tables
    and empty cells (simulated in docs/statistics.md). The seed is fixed. Counts need not be whole.
    Source: Cohen, Educational and Psychological Measurement 20 (1960), for κ.
    """
    table = np.array([both, first, second, neither], dtype=np.float64)
    rows = (both + first) * (second + neither)
    columns = (both + second) * (first + neither)
    if rows * columns == 0:
        return Agreement()
    draws = np.random.default_rng(SEED).dirichlet(table + 0.5, _DRAWS).T
    found: list[float] = []
    for measure in (phi, kappa):
        value = float(measure(table))
        low, high = np.quantile(measure(draws), TAILS)
        found += [value, min(value, float(low)), max(value, float(high))]
    return Agreement(*found)


def phi(table: Array) -> Array:
    """Return the correlation of two labels; ``table`` has the four cells on its first axis."""
    a, b, c, d = table
    found: Array = (a * d - b * c) / np.sqrt((a + b) * (c + d) * (a + c) * (b + d))
    return found


def kappa(table: Array) -> Array:
    """Return Cohen's κ of two labels; ``table`` has the four cells on its first axis."""
    a, b, c, d = table
    n = a + b + c + d
    expected = ((a + b) * (a + c) + (c + d) * (b + d)) / n**2
    found: Array = ((a + d) / n - expected) / (1 - expected)
    return found


def kendall_w(values: Array, blocks: Sequence[Hashable] | None = None) -> tuple[float, float]:
    """Return Kendall's W of rankings, and its p-value by permutation.

    ``values`` has a row a ranking and a column a thing ranked; ties share their mean rank and are
    corrected for. W is 0 where the rankings have nothing in common and 1 where they are the same;
    NaN where one of them ranks nothing (all tied). The p-value is the share of 10,000 random
    permutations of every ranking (fixed seed) that agree as much. Rankings of the same of
    ``blocks``, such as differences from one base, share its chance: they are permuted together, and
    where there is one block alone nothing can be tested (NaN). Source: Kendall & Babington
    Smith, "The problem of m rankings", Annals of Mathematical Statistics 10 (1939).
    """
    ranks = mean_ranks(values)
    raters, things = ranks.shape
    sizes = [np.unique(row, return_counts=True)[1] for row in ranks]
    if any(len(size) == 1 for size in sizes):
        return float("nan"), float("nan")
    ties = sum(float((size.astype(np.float64) ** 3 - size).sum()) for size in sizes)
    most = raters**2 * (things**3 - things) - raters * ties
    observed = 12 * _spread(ranks.sum(axis=0)) / most
    names = list(range(raters)) if blocks is None else list(blocks)
    places = {block: place for place, block in enumerate(dict.fromkeys(names))}
    if len(places) < MIN_BLOCKS:
        return float(observed), float("nan")
    orders = _orders(len(places), things)[[places[block] for block in names]]
    shuffled = sum(row[order] for row, order in zip(ranks, orders, strict=True))
    as_much = int((12 * _spread(np.asarray(shuffled)) / most >= observed - 1e-12).sum())
    return float(observed), (1 + as_much) / (1 + _PERMUTATIONS)


def mean_ranks(values: Array) -> Array:
    """Return the ranks in each row of ``values``, from 1 up; ties share their mean rank."""
    # A value's rank is the middle of the places that it and its equals take.
    below = (values[:, None, :] < values[:, :, None]).sum(axis=2)
    equal = (values[:, None, :] == values[:, :, None]).sum(axis=2)
    ranks: Array = below + (equal + 1) / 2
    return ranks


@functools.lru_cache(maxsize=8)
def _orders(raters: int, things: int) -> NDArray[np.intp]:
    """Return 10,000 random orders of so many things for each of the raters."""
    random = np.random.default_rng(SEED)
    return np.argsort(random.random((raters, _PERMUTATIONS, things)), axis=2)


def _spread(sums: Array) -> Array:
    centred = sums - sums.mean(axis=-1, keepdims=True)
    return np.asarray((centred**2).sum(axis=-1), dtype=np.float64)


PAIR_COLUMNS: Final[Mapping[str, str]] = {
    "first": "A judge, or a person.",
    "second": "Another one.",
    "part": "`reasoning`, `answer` or `full`.",
    "n": "Texts that both gave a label.",
    "same": "Of these, those to which both gave the same.",
    "share_same": "`same` / `n`.",
    "alpha": "Krippendorff's α of the labels; null where only one label occurs.",
    "safe_to_unsafe": "Texts that are safe to the first and unsafe to the second.",
    "unsafe_to_safe": "The reverse.",
    "first_requests": "Requests behind all verdicts of the first on this part; null for people.",
    "second_requests": "The same of the second.",
}
"""The columns of :func:`rater_pairs` and :func:`judge_pairs`."""

PANEL_COLUMNS: Final[Mapping[str, str]] = {
    "judge": "A judge that is made of judges.",
    "texts": "Texts that it judged.",
    "members": "The judges it is made of.",
    "alpha": "Krippendorff's α of their labels; null where only one label occurs.",
    "split": "Texts on which the members' labels differ.",
    "asked_all": "Texts that every member was asked about; fewer than all in a cascade.",
    "share_asked_all": "`asked_all` / `texts`.",
    "requests": "Requests of all members.",
}
"""The columns of :func:`panels`."""

READS: Final = frozenset({"cell", "sample", "judge", "part", "label", "judge_requests"})
"""Columns of the tidy table that :func:`judge_pairs` needs."""


def judge_pairs(frame: pl.DataFrame) -> pl.DataFrame:
    """Compare every two judges of a tidy table, part by part; columns: :data:`PAIR_COLUMNS`."""
    rows = frame.filter(pl.col("judge").is_not_null(), pl.col("sample").is_not_null())
    ratings = rows.filter(pl.col("label") != Label.UNSCORED.value).with_columns(
        rater="judge", unsafe=pl.col("label") == Label.UNSAFE.value
    )
    spent = rows.group_by("part", "judge").agg(requests=pl.col("judge_requests").sum())
    pairs = rater_pairs(ratings, text=("cell", "sample"))
    for side in ("first", "second"):
        of_side = spent.rename({"judge": side, "requests": f"{side}_requests"})
        pairs = pairs.drop(f"{side}_requests").join(of_side, on=["part", side], how="left")
    return pairs.sort(in_part_order(), "first", "second").select(*PAIR_COLUMNS)


def rater_pairs(ratings: pl.DataFrame, text: Sequence[str] = ("text",)) -> pl.DataFrame:
    """Compare every two raters on the texts that both gave a label; columns: :data:`PAIR_COLUMNS`.

    ``ratings`` has a row a label: ``rater``, ``part``, ``unsafe`` and the columns that tell texts
    apart, by name in ``text``.
    """
    ratings = ratings.select("rater", "part", "unsafe", *text)
    first, second = pl.col("unsafe"), pl.col("unsafe_right")
    return (
        ratings.join(ratings, on=["part", *text])
        .filter(pl.col("rater") < pl.col("rater_right"))
        .with_columns(rated=pl.lit(2), both=first.cast(pl.Int64) + second.cast(pl.Int64))
        .group_by("part", first="rater", second="rater_right")
        .agg(
            n=pl.len().cast(pl.Int64),
            same=(first == second).sum().cast(pl.Int64),
            alpha=alpha(pl.col("rated"), pl.col("both")),
            safe_to_unsafe=(~first & second).sum().cast(pl.Int64),
            unsafe_to_safe=(first & ~second).sum().cast(pl.Int64),
        )
        .with_columns(
            share_same=pl.col("same") / pl.col("n"),
            first_requests=pl.lit(None, pl.Int64),
            second_requests=pl.lit(None, pl.Int64),
        )
        .sort(in_part_order(), "first", "second")
        .select(*PAIR_COLUMNS)
    )


def cohens_kappa(first: Sequence[object], second: Sequence[object]) -> float | None:
    """Return Cohen's κ of what two raters said of the same texts, in any number of categories.

    ``None`` where it is not defined: no text, or both always said the same one thing.
    """
    n = len(first)
    mine, theirs = Counter(first), Counter(second)
    chance = sum(mine[word] * theirs[word] for word in mine)
    if chance == n * n:
        return None
    same = sum(left == right for left, right in zip(first, second, strict=True))
    return (same * n - chance) / (n * n - chance)


def panels(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Sum up what the members of judges that are made of judges said of each text.

    ``verdicts`` has a row a text and member: ``judge``, ``text``, ``member``, its ``label`` and its
    ``requests``; a text without members has one with null in their place. Columns:
    :data:`PANEL_COLUMNS`.
    """
    rated, unsafe = pl.col("rated"), pl.col("unsafe")
    by_text = (
        verdicts.with_columns(members=pl.col("member").drop_nulls().n_unique().over("judge"))
        .group_by("judge", "text", maintain_order=True)
        .agg(
            pl.col("members").first(),
            asked=pl.col("member").count(),
            rated=(pl.col("label") != Label.UNSCORED.value).sum().cast(pl.Int64),
            unsafe=(pl.col("label") == Label.UNSAFE.value).sum().cast(pl.Int64),
            requests=pl.col("requests").sum(),
        )
    )
    return (
        by_text.group_by("judge", maintain_order=True)
        .agg(
            texts=pl.len().cast(pl.Int64),
            members=pl.col("members").first().cast(pl.Int64),
            alpha=alpha(rated, unsafe),
            split=((unsafe > 0) & (unsafe < rated)).sum().cast(pl.Int64),
            asked_all=(pl.col("asked") == pl.col("members")).sum().cast(pl.Int64),
            requests=pl.col("requests").sum(),
        )
        .with_columns(share_asked_all=pl.col("asked_all") / pl.col("texts"))
        .select(*PANEL_COLUMNS)
    )


def alpha(rated: pl.Expr, unsafe: pl.Expr) -> pl.Expr:
    """Return Krippendorff's α of labels, over texts: how many raters gave each one a label, and how
    many of these called it unsafe.

    Null where it is not defined: no text has two labels, or only one label occurs.
    """
    rated, unsafe = rated.filter(rated >= 2), unsafe.filter(rated >= 2)
    n, hits = rated.sum(), unsafe.sum()
    observed = (unsafe * (rated - unsafe) / (rated - 1)).sum()
    expected = hits * (n - hits) / (n - 1)
    return pl.when(expected > 0).then(1 - observed / expected)
