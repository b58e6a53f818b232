"""Which replies people should label next, so that the corrected figures become narrowest.

A comparison of a reasoning model with its base is corrected on items of which both replies are
labelled; a model of no pair is corrected alone. Labels go where the judge's verdicts say least
(:func:`opensafemlrm.analysis.prediction_powered.allocate`), drawn by chance among replies with the
same verdicts, so that what they say holds for the rest.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from opensafemlrm.analysis import corrected
from opensafemlrm.analysis.clustered_counts import texts
from opensafemlrm.analysis.conditions import (
    CONDITION_COLUMNS,
    JUDGE_TO_CELL,
    PART_AND_THRESHOLD,
)
from opensafemlrm.analysis.corrected import guessed, labelled_rows, units, verdict_pairs
from opensafemlrm.analysis.intervals import Array
from opensafemlrm.analysis.prediction_powered import (
    DIFFERENCE,
    MIN_LABELS,
    RATE,
    Counts,
    Strata,
    allocate,
    half_width,
    labels_for,
)
from opensafemlrm.analysis.tax import FAMILY

READS: Final = corrected.READS
"""Columns of the tidy table that :func:`label_plan` needs."""

COLUMNS: Final[Mapping[str, str]] = {
    "model": "The model.",
    "base": "The base it is compared with; null for a model of no pair.",
    **dict.fromkeys(CONDITION_COLUMNS[:3], "As in the tax."),
    **PART_AND_THRESHOLD,
    "judge": "The judge whose verdicts are corrected.",
    "simulated": JUDGE_TO_CELL["simulated"],
    "items": "Items and repeats that both models answered, or replies of the model.",
    "labelled": "Of these, those with every label that they need.",
    "within": "Half the width that the 95 % interval over these items is expected to have now.",
    "wanted": "Half the width that is wanted.",
    "needed": "Labelled items that it takes in all.",
    "next_labels": "Labelled items that it has once the replies of the plan are labelled.",
    "next_within": "Half the width then.",
}
"""The columns of the plan's table."""


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Units to label: their strata and labels, and the replies that each is made of."""

    names: Mapping[str, Any]
    verdicts: Counts
    labels: Array
    samples: list[tuple[str, ...]]
    values: tuple[float, ...]

    @property
    def strata(self) -> Strata:
        return Strata.of(self.verdicts, self.labels, self.values)

    @property
    def guessed(self) -> Array:
        return guessed(np.unique(self.verdicts))

    @property
    def replies(self) -> int:
        """How many replies are labelled for one unit."""
        return len(self.samples[0])

    def chosen(self, allocation: NDArray[np.int64], seed: int) -> list[tuple[float, str]]:
        """Return the replies to label, each with its place in the order, from 0 to 1."""
        drawing = random.Random(seed)  # noqa: S311 # no secret
        figures = []
        wanted = allocation - self.strata.labels
        for code, n in zip(np.unique(self.verdicts), wanted, strict=True):
            free = np.flatnonzero((self.verdicts == code) & np.isnan(self.labels)).tolist()
            start = drawing.random()
            for rank, unit in enumerate(drawing.sample(free, int(n))):
                figures += [((rank + start) / n, sample) for sample in self.samples[unit]]
        return figures


def label_plan(
    frame: pl.DataFrame,
    pairs: pl.DataFrame,
    labels: pl.DataFrame,
    *,
    part: str,
    within: float,
    more: int,
    seed: int = 0,
) -> tuple[pl.DataFrame, list[str]]:
    """Return what labels each comparison has and needs, and the samples to label next, in order.

    ``within`` is the half width that is wanted, a fraction; ``more`` is how many replies are to be
    labelled, in equal shares for all comparisons. Only the judge's lenient threshold. Table:
    :data:`COLUMNS`.
    """
    rows = frame.with_columns(threshold_strict=pl.col("threshold_lenient"))
    rows = rows.filter(pl.col("part") == part)
    table, placed = [], []
    comparisons = list(_comparisons(rows, pairs, labels))
    share = more / max(1, len(comparisons))
    for comparison in comparisons:
        strata, expected = comparison.strata, comparison.guessed
        n = int(strata.labels.sum())
        allocation = allocate(strata, expected, n + max(1, int(share / comparison.replies)))
        # So few labels correct nothing, however narrow.
        needed = max(labels_for(strata, expected, within), min(MIN_LABELS, len(comparison.labels)))
        table.append(
            {
                **comparison.names,
                "items": len(comparison.labels),
                "labelled": n,
                "within": half_width(strata, expected, strata.labels) if n else None,
                "wanted": within,
                "needed": needed,
                "next_labels": int(allocation.sum()),
                "next_within": half_width(strata, expected, allocation),
            }
        )
        placed += comparison.chosen(allocation, seed)
    given = set(labels.filter(part=part)["sample"])
    order = dict.fromkeys(sample for _, sample in sorted(placed) if sample not in given)
    return pl.DataFrame(table, schema=[*COLUMNS], infer_schema_length=None), list(order)


def _comparisons(
    frame: pl.DataFrame, pairs: pl.DataFrame, labels: pl.DataFrame
) -> Iterator[_Comparison]:
    for key, rows in sorted(units(frame, pairs, labels).items()):
        label = (rows["label"] - rows["label_right"]).fill_null(np.nan).to_numpy()
        yield _Comparison(
            _names(dict(zip(FAMILY, key, strict=True)), rows),
            verdict_pairs(rows["flagged"], rows["flagged_right"]),
            label,
            list(rows.select("sample", "sample_right").iter_rows()),
            DIFFERENCE,
        )
    paired = {*pairs["reasoner"], *pairs["base"]}
    alone = labelled_rows(
        frame.filter(~pl.col("model").cast(pl.String).is_in(list(paired))), labels
    )
    by = ("model", *FAMILY[3:])
    columns = (*by, "simulated", "sample", "flagged", "label")
    rows_alone = texts(alone.select(columns).collect()).sort("sample")
    for key, rows in sorted(rows_alone.partition_by(by, as_dict=True).items()):
        yield _Comparison(
            _names({**dict(zip(by, key, strict=True)), "base": None}, rows),
            rows["flagged"].to_numpy(),
            rows["label"].fill_null(np.nan).to_numpy(),
            list(rows.select("sample").iter_rows()),
            RATE,
        )


def _names(of_comparison: Mapping[str, Any], rows: pl.DataFrame) -> dict[str, Any]:
    names = {**of_comparison, "simulated": bool(rows["simulated"].any())}
    return {name: names[name] for name in COLUMNS if name in names}


_STRATA: Final = ("model", "scenario", "score")

DRAWN_BY: Final = frozenset({*_STRATA, "part", "sample", "status", "reason"})
"""Columns of the tidy table that :func:`to_label` needs."""


def to_label(frame: pl.DataFrame, part: str, seed: int = 0) -> list[str]:
    """Return the samples whose ``part`` can be labelled, in the order they should be in.

    The first n, for any n, hold models, scenarios and judge scores in about the shares that the
    store has them in (proportional stratified sampling), so that what is measured on them holds
    for the store: a sample that is even over the scores would flatter or slander a judge. The
    order depends on the seed and the store alone; every labeller gets the same.
    """
    rows = (
        frame.filter(
            pl.col("part") == part,
            pl.col("sample").is_not_null(),
            pl.col("status") == "ok",
            pl.col("reason").is_null() | (pl.col("reason") != "no_text"),
        )
        .group_by("sample")
        .agg(pl.col("model").first(), pl.col("scenario").first(), pl.col("score").max())
        .sort("sample")
    )
    strata: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for row in rows.iter_rows(named=True):
        strata[tuple(row[name] for name in _STRATA)].append(row["sample"])
    drawing = random.Random(seed)  # noqa: S311  # not a secret
    placed = []
    for samples in strata.values():
        start = drawing.random()
        for rank, sample in enumerate(drawing.sample(samples, len(samples))):
            # Spread evenly over 0 to 1, so that a prefix of all of them takes from each its share.
            placed.append(((rank + start) / len(samples), sample))
    return [sample for _, sample in sorted(placed)]
