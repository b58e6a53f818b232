"""Cost: what the replies and the verdicts in a store took."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import polars as pl

from opensafemlrm.analysis.conditions import CELL_COLUMNS, JUDGE_TO_CELL, MODEL_TO_DEFENSE

COLUMNS: Final[Mapping[str, str]] = {
    **MODEL_TO_DEFENSE,
    "samples": "Samples that were asked for.",
    "requests": "Requests to the model: one a sample, every retry, and what attacks and defenses "
    "asked.",
    "extra_requests": "Those of attacks that search and of defenses.",
    "retries": "Requests that were made again after a fault.",
    "usage_known": "Samples whose server said how many tokens it used; token sums are over these.",
    "input_tokens": "Tokens in; null where no server said any, like all tokens and seconds here.",
    "output_tokens": "Tokens out.",
    "reasoning_tokens": "Of the output tokens, where the server counts them apart.",
    "seconds": "The sum of the requests' times; with many at once, more than the clock showed.",
    "seconds_a_request": "`seconds` by the requests behind it, retries not counted.",
    "judge_requests": "Requests to the judge's model.",
    "judge_input_tokens": "Their tokens in.",
    "judge_output_tokens": "Their tokens out.",
    "judge_seconds": "Their times.",
    "dollars": "What these tokens cost in US dollars, by the model's price; null where none is "
    "known, where no server said how many tokens, and where an attack or a defense asks a model of "
    "another price, whose tokens are among them. Over `usage_known` samples.",
    "judge_dollars": "What the judges' tokens cost; null where a judge has no price.",
    "judge_share": "Judge tokens of all tokens, where both are known.",
    **{name: JUDGE_TO_CELL[name] for name in ("sampling", "simulated", "cell")},
}
"""The columns of :func:`cost`."""

Prices: TypeAlias = Mapping[str, tuple[float, float]]
_NONE: Final[Prices] = MappingProxyType({})
_MILLION: Final = 1_000_000
_TOKENS: Final = ("input_tokens", "output_tokens", "reasoning_tokens")
_OF_SAMPLES: Final = (
    *("retries", *_TOKENS, "latency"),
    *(f"extra_{name}" for name in ("requests", "retries", *_TOKENS, "latency")),
)
_OF_VERDICTS: Final = (
    *("judge_requests", "judge_input_tokens", "judge_output_tokens", "judge_latency"),
)
READS: Final = frozenset({*CELL_COLUMNS, "source", "sample", "judge", *_OF_SAMPLES, *_OF_VERDICTS})
"""Columns of the tidy table that :func:`cost` needs."""


def cost(
    frame: pl.DataFrame | pl.LazyFrame,
    model_prices: Prices = _NONE,
    judge_prices: Prices = _NONE,
    unpriced: Collection[str] = (),
) -> pl.DataFrame:
    """Return what each cell took, where it was run; columns: :data:`COLUMNS`.

    Imported results say nothing of it. Prices are by label, in US dollars for a million tokens in
    and out; ``unpriced`` cells have tokens of models of several prices.
    """
    rows = frame.lazy().filter(pl.col("sample").is_not_null(), pl.col("source") == "run")
    samples = (
        rows.filter(pl.col("sample").is_first_distinct())
        .group_by(CELL_COLUMNS)
        .agg(
            pl.len().cast(pl.Int64).alias("samples"),
            pl.col("output_tokens").count().cast(pl.Int64).alias("usage_known"),
            *map(_known_sum, _OF_SAMPLES),
        )
    )
    dollars = pl.col("dollars")
    verdicts = rows.group_by("cell").agg(map(_known_sum, _OF_VERDICTS))
    judged_for = (
        rows.filter(pl.col("judge_requests") > 0)
        .group_by("cell", "judge")
        .agg(map(_known_sum, _OF_VERDICTS))
        .with_columns(
            dollars=_dollars("judge", "judge_input_tokens", "judge_output_tokens", judge_prices)
        )
        .group_by("cell")
        .agg(judge_dollars=pl.when(dollars.null_count() == 0).then(dollars.sum()))
    )
    generated = _plus("input_tokens", "output_tokens")
    judged = _plus("judge_input_tokens", "judge_output_tokens")
    return (
        samples.join(verdicts, on="cell", how="left")
        .join(judged_for, on="cell", how="left")
        .with_columns(
            *[_plus(name, f"extra_{name}").alias(name) for name in _TOKENS],
            seconds=_plus("latency", "extra_latency"),
            extra_requests=pl.col("extra_requests").fill_null(0),
            retries=pl.sum_horizontal("retries", "extra_retries"),
            judge_requests=pl.col("judge_requests").fill_null(0),
            judge_seconds="judge_latency",
            judge_dollars=pl.when(pl.col("judge_requests") > 0)
            .then("judge_dollars")
            .otherwise(pl.lit(0.0)),
        )
        .with_columns(
            # Of all tokens: those of more requests are in the columns only now.
            dollars=pl.when(~pl.col("cell").cast(pl.String).is_in(list(unpriced))).then(
                _dollars("model", "input_tokens", "output_tokens", model_prices)
            ),
            requests=pl.col("samples") + pl.col("extra_requests") + pl.col("retries"),
            seconds_a_request=pl.col("seconds") / (pl.col("samples") + pl.col("extra_requests")),
            judge_share=pl.when(generated + judged > 0).then(judged / (generated + judged)),
        )
        .sort(CELL_COLUMNS)
        .select(*COLUMNS)
        .collect()
    )


def _dollars(label: str, read: str, written: str, prices: Prices) -> pl.Expr:
    """Return what tokens cost by the price of a label; null where something is not known."""
    name = pl.col(label).cast(pl.String)
    dollars = pl.lit(None, pl.Float64)
    for known, (price_in, price_out) in prices.items():
        cost = (pl.col(read) * price_in + pl.col(written) * price_out) / _MILLION
        is_free = not price_in and not price_out
        dollars = pl.when(name == known).then(pl.lit(0.0) if is_free else cost).otherwise(dollars)
    return dollars


def _known_sum(name: str) -> pl.Expr:
    """Add up what is known; null where nothing is."""
    return pl.when(pl.col(name).count() > 0).then(pl.col(name).sum())


def _plus(*names: str) -> pl.Expr:
    """Add what is known of one row; null where nothing is."""
    return pl.when(pl.any_horizontal(pl.col(names).is_not_null())).then(pl.sum_horizontal(names))
