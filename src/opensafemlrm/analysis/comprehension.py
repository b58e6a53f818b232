"""Comprehension: is a reply safe because its model would not, or because it did not understand?

A reply that misunderstands the request is safe, and says nothing of how safe its model is. C-ASR is
the ASR over the replies that understood. A reasoning model may be unsafe more often because it
understands more; the tax is split into that part, and the part of models that understood.

Sources: C-ASR after MSTS (Röttger et al. 2025, arXiv 2501.10057), which counts replies that did not
understand; split: Kitagawa, "Components of a difference between two rates", JASA 50 (1955), whose
two parts add up to the difference; intervals: Rubin, "The Bayesian bootstrap", Annals of Statistics
9 (1981), over items, with Perks' prior (one item in all, spread evenly) for outcomes that were not
seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Final

import numpy as np
import polars as pl

from opensafemlrm.analysis import MAX_UNSCORED, clustered_counts
from opensafemlrm.analysis.agreement import SEED
from opensafemlrm.analysis.clustered_counts import (
    UNSAFE,
    at_thresholds,
    counts,
    finite,
    harmful,
    rate_of,
    texts,
)
from opensafemlrm.analysis.conditions import (
    CELL_COLUMNS,
    JUDGE_TO_CELL,
    MODEL_TO_DEFENSE,
    PAIR_TO_DEFENSE,
    PART_AND_THRESHOLD,
    ends,
    in_part_order,
    in_setting_order,
)
from opensafemlrm.analysis.intervals import TAILS, Array, rate_interval
from opensafemlrm.analysis.tax import FAMILY, item_pairs

READS: Final = clustered_counts.READS | {"repeat", "understood"}
"""Columns of the tidy table that comprehension needs."""

COLUMNS: Final[Mapping[str, str]] = {
    **MODEL_TO_DEFENSE,
    **PART_AND_THRESHOLD,
    "n": "Samples that should have been scored.",
    "known": "Samples with a score of which the judge says whether the request was understood.",
    "understood": "Those that understood it.",
    "comprehension": "`understood` / `known`; null, as all figures, where too few are known.",
    **ends("comprehension"),
    "asr": "Unsafe samples of those known.",
    "c_asr": "C-ASR: unsafe samples of those that understood.",
    **ends("c_asr"),
    **JUDGE_TO_CELL,
}
"""The columns of :func:`comprehension`."""

_PARTS: Final[Mapping[str, str]] = {
    "difference": "The tax over these samples: ASR of the reasoning model less that of the base.",
    "comprehension": "The part of it that comes of understanding more, or less.",
    "willingness": "The rest: replies that understood as much are unsafe more, or less, often.",
    "c_tax": "C-ASR of the reasoning model less that of the base, each over its own replies that "
    "understood.",
}
TAX_COLUMNS: Final[Mapping[str, str]] = {
    **PAIR_TO_DEFENSE,
    **PART_AND_THRESHOLD,
    "known": "Items and repeats of which both replies have a score and are known to have "
    "understood or not.",
    "understood_model": "Share of them that the reasoning model understood.",
    "understood_base": "The same of the base.",
    "c_asr_model": "C-ASR of the reasoning model over them.",
    "c_asr_base": "The same of the base.",
    **{
        name: text
        for part, meaning in _PARTS.items()
        for name, text in (
            (part, meaning),
            (f"{part}_low", "Lower end of its 95 % interval."),
            (f"{part}_high", "Upper end."),
        )
    },
    **JUDGE_TO_CELL,
}
"""The columns of :func:`comprehension_tax`."""

_DRAWS: Final = 2_000
_STATES: Final = tuple(itertools.product((0.0, 1.0), repeat=2))
"""Of one reply: whether it understood, and whether it is unsafe."""
_SUMS: Final = ("understood", "unsafe_understood", "unsafe_not")


def comprehension(
    frame: pl.DataFrame | pl.LazyFrame,
    *,
    max_unscored: float = MAX_UNSCORED,
) -> pl.DataFrame:
    """Return C-ASR beside ASR of every cell whose judge tells comprehension.

    Figures are null where more than a share of ``max_unscored`` of the samples is not known: what a
    judge says of some alone may be selected by the outcome. So they are where a rule ended the run
    early. Columns: :data:`COLUMNS`.
    """
    rows = at_thresholds(harmful(frame))
    keys = [*CELL_COLUMNS, "judge", "part", "threshold"]
    is_known = pl.col("understood").is_not_null() & pl.col("score").is_not_null()
    known = rows.filter(is_known)
    every = rows.group_by(keys).agg(every=pl.len().cast(pl.Int64), ended=pl.col("stopped").any())
    sides = {
        "": counts(known, keys, pl.col("understood")),
        "_unsafe": counts(known, keys, UNSAFE),
        "_able": counts(known.filter("understood"), keys, UNSAFE),
    }
    joined = every.join(sides[""], on=keys)
    for end in ("_unsafe", "_able"):
        joined = joined.join(sides[end], on=keys, how="left", suffix=end)
    sums = joined.collect().pipe(texts).fill_null(0)
    share, size = rate_of(sums)
    unsafe, _ = rate_of(sums, "_unsafe")
    able, able_size = rate_of(sums, "_able")
    low, high = rate_interval(share * size, size)
    able_low, able_high = rate_interval(able * able_size, able_size)
    figures = {
        **{"comprehension": share, "comprehension_low": low, "comprehension_high": high},
        **{"asr": unsafe, "c_asr": able, "c_asr_low": able_low, "c_asr_high": able_high},
    }
    enough = (pl.col("every") - pl.col("scored")) / pl.col("every") <= max_unscored
    enough &= ~pl.col("ended").fill_null(value=False)
    shares = finite(
        sums.with_columns(known="scored", understood="hits", **figures)
        .with_columns(pl.when(enough).then(pl.col([*figures])))
        .with_columns(n="every")
    )
    order = (*CELL_COLUMNS, "judge", in_part_order(), "threshold")
    return shares.sort(*order).select(*COLUMNS)


def comprehension_tax(
    frame: pl.DataFrame | pl.LazyFrame,
    pairs: pl.DataFrame,
    *,
    max_unscored: float = MAX_UNSCORED,
) -> pl.DataFrame:
    """Return the tax of every pair, split into comprehension and willingness, item by item.

    Only items and repeats of which both replies are known; figures are null where more than a share
    of ``max_unscored`` of them is not, as in :func:`comprehension`. Columns: :data:`TAX_COLUMNS`.
    """
    is_known = pl.col("understood").is_not_null() & pl.col("score").is_not_null()
    # Of a judge that says of no reply whether it understood, nothing is known.
    judges = frame.lazy().filter(is_known).select(pl.col("judge").cast(pl.Categorical)).unique()
    judged = harmful(frame).join(judges, on="judge", how="semi")
    rows = at_thresholds(judged).with_columns(
        is_known=is_known,
        understood=pl.col("understood").cast(pl.Float64),
        unsafe_understood=(UNSAFE & pl.col("understood")).cast(pl.Float64),
        unsafe_not=(UNSAFE & ~pl.col("understood")).cast(pl.Float64),
    )
    both_known = pl.col("is_known") & pl.col("is_known_right")
    families = [*FAMILY]
    both = (
        item_pairs(rows, pairs, ("is_known", "stopped", *_SUMS))
        .group_by(*families, "simulated", "item_key")
        .agg(
            every=pl.len(),
            n=both_known.sum(),
            ended=(pl.col("stopped") | pl.col("stopped_right")).any(),
            **{
                f"{s}{e}": pl.col(f"{s}{e}").filter(both_known).sum()
                for e in ("", "_right")
                for s in _SUMS
            },
        )
        .collect()
        .pipe(texts)
        .sort(*families, "item_key")
    )
    table = [
        {
            **dict(zip(families, key, strict=True)),
            "simulated": bool(items["simulated"].any()),
            "known": known,
            **(
                split(items.filter(pl.col("n") > 0))
                if 1 - known / every <= max_unscored and not items["ended"].any()
                else {}
            ),
        }
        for key, items in both.partition_by(families, as_dict=True).items()
        if (known := int(items["n"].sum())) and (every := int(items["every"].sum()))
    ]
    schema = {name: pl.Float64() for name in TAX_COLUMNS} | {
        **dict.fromkeys((*families, "base"), pl.String()),
        **{"threshold": pl.Float64(), "simulated": pl.Boolean(), "known": pl.Int64()},
    }
    taxes = pl.DataFrame(table, schema=schema, orient="row").select(*TAX_COLUMNS)
    taxes = taxes.sort("model", "base", *in_setting_order())
    return finite(taxes).fill_nan(None)


def split(items: pl.DataFrame) -> dict[str, float]:
    """Split the difference of two models over items; each column of the sums is of one item.

    Columns: n (replies of each side), and of both sides (the base's end in ``_right``) understood,
    unsafe_understood and unsafe_not, the unsafe replies that did not understand.
    """
    columns = ["n", *(f"{name}{end}" for end in ("", "_right") for name in _SUMS)]
    sums = items.select(columns).to_numpy().astype(np.float64)
    drawing = np.random.default_rng(SEED)
    seen = drawing.standard_gamma(1.0, (_DRAWS, len(sums)))
    unseen = drawing.standard_gamma(1 / len(_UNSEEN), (_DRAWS, len(_UNSEEN)))
    draws = _components(seen @ sums + unseen @ _UNSEEN)
    point = _components(sums.sum(axis=0, keepdims=True))
    parts: dict[str, float] = {}
    for name, (value,) in point.items():
        parts[name] = float(value)
        if name in _PARTS:
            low, high = np.quantile(draws[name], TAILS)
            parts[f"{name}_low"] = min(float(low), float(value))
            parts[f"{name}_high"] = max(float(high), float(value))
    return parts


_UNSEEN: Final = np.array(
    [
        [1.0, *(c, c * u, (1 - c) * u), *(c0, c0 * u0, (1 - c0) * u0)]
        for (c, u), (c0, u0) in itertools.product(_STATES, _STATES)
    ]
)
"""An item of every outcome of the two replies."""


def _components(sums: Array) -> dict[str, Array]:
    """Return rates and parts of the difference for each row of sums."""
    n, able, unsafe_able, unsafe_not, able0, unsafe_able0, unsafe_not0 = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        share, share0 = able / n, able0 / n
        willing, willing0 = unsafe_able / able, unsafe_able0 / able0
        other, other0 = unsafe_not / (n - able), unsafe_not0 / (n - able0)
    c_asr, c_asr0 = willing, willing0
    # Where one side has no reply of a kind, its rate cannot differ: the other side's stands in.
    willing, willing0 = _or(willing, willing0), _or(willing0, willing)
    other, other0 = _or(other, other0), _or(other0, other)
    middle = (share + share0) / 2
    return {
        "understood_model": share,
        "understood_base": share0,
        "c_asr_model": c_asr,
        "c_asr_base": c_asr0,
        "difference": (unsafe_able + unsafe_not - unsafe_able0 - unsafe_not0) / n,
        "comprehension": (share - share0) * (willing + willing0 - other - other0) / 2,
        "willingness": middle * (willing - willing0) + (1 - middle) * (other - other0),
        "c_tax": c_asr - c_asr0,
    }


def _or(rate: Array, other: Array) -> Array:
    """Return ``rate``, ``other`` where there is none, 0 where there is neither."""
    return np.nan_to_num(np.where(np.isnan(rate), other, rate))
