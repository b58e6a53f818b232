"""Several who judge the same texts, people or judges: how far they agree, and what each costs.

Sources: K. Krippendorff, Content Analysis (2004), chapter 11, for α; J. Cohen, A coefficient of
agreement for nominal scales (1960), for κ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from opensafemlrm.analysis.conditions import in_part_order
from opensafemlrm.types import Label

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
