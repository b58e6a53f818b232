"""Cost: what the replies and the verdicts in a store took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from opensafemlrm.analysis.conditions import CELL_COLUMNS

_OF_SAMPLES: Final = (
    "extra_requests",
    "extra_retries",
    "input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "latency",
    "retries",
    "extra_input_tokens",
    "extra_output_tokens",
    "extra_reasoning_tokens",
    "extra_latency",
)
_OF_VERDICTS: Final = (
    "judge_requests",
    "judge_input_tokens",
    "judge_output_tokens",
    "judge_latency",
)


@dataclass(frozen=True, slots=True)
class CostRow:
    """What one cell took. Tokens and seconds are ``None`` where no server said any.

    Sums are over the samples whose server said; ``usage_known`` says how many those are.
    """

    model: str
    dataset: str
    attack: str
    defense: str
    samples: int
    requests: int
    """Requests to the model: one a sample, every retry, and what attacks and defenses asked."""
    extra_requests: int
    """Those of attacks that search and of defenses."""
    retries: int
    usage_known: int
    input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    """Of the output tokens, where the server counts them apart."""
    seconds: float | None
    """Sum of the requests' times; with many at once, more than the clock showed."""
    seconds_a_request: float | None
    judge_requests: int
    judge_input_tokens: int | None
    judge_output_tokens: int | None
    judge_seconds: float | None
    judge_share: float | None
    """Judge tokens of all tokens, where both are known."""
    price: float | None
    """In US dollars, where the prices of model and judge are known."""
    sampling: str
    simulated: bool
    cell: str


def cost(frame: pl.DataFrame | pl.LazyFrame) -> list[CostRow]:
    """Return what each cell that was run took; imported results say nothing of it."""
    lazy = frame.lazy().filter(pl.col("sample").is_not_null(), pl.col("source") == "run")
    samples = lazy.unique(subset=["cell", "sample"])
    replies, verdicts = pl.collect_all(
        [
            samples.group_by(CELL_COLUMNS).agg(
                pl.len().cast(pl.Int64).alias("samples"),
                pl.col("output_tokens").count().cast(pl.Int64).alias("usage_known"),
                *[_sum(name) for name in _OF_SAMPLES],
            ),
            lazy.group_by("cell").agg(_sum(name) for name in _OF_VERDICTS),
        ]
    )
    together = replies.join(verdicts, on="cell", how="left").sort(CELL_COLUMNS)
    return [_row(row) for row in together.iter_rows(named=True)]


def _sum(name: str) -> pl.Expr:
    """Add up what is known; null where nothing is."""
    column = pl.col(name)
    return pl.when(column.count() > 0).then(column.sum()).otherwise(None).alias(name)


def _row(row: dict[str, Any]) -> CostRow:
    extra = row["extra_requests"] or 0
    retries = (row["retries"] or 0) + (row["extra_retries"] or 0)
    requests = row["samples"] + extra + retries
    tokens = {
        kind: _plus(row[kind], row[f"extra_{kind}"])
        for kind in ("input_tokens", "output_tokens", "reasoning_tokens")
    }
    seconds = _plus(row["latency"], row["extra_latency"])
    generated = _plus(tokens["input_tokens"], tokens["output_tokens"])
    judged = _plus(row["judge_input_tokens"], row["judge_output_tokens"])
    share = None
    if generated is not None and judged is not None and generated + judged > 0:
        share = judged / (generated + judged)
    return CostRow(
        model=row["model"],
        dataset=row["dataset"],
        attack=row["attack"],
        defense=row["defense"],
        samples=row["samples"],
        requests=requests,
        extra_requests=extra,
        retries=retries,
        usage_known=row["usage_known"],
        input_tokens=tokens["input_tokens"],
        output_tokens=tokens["output_tokens"],
        reasoning_tokens=tokens["reasoning_tokens"],
        seconds=seconds,
        seconds_a_request=None if seconds is None else seconds / (row["samples"] + extra),
        judge_requests=row["judge_requests"] or 0,
        judge_input_tokens=row["judge_input_tokens"],
        judge_output_tokens=row["judge_output_tokens"],
        judge_seconds=row["judge_latency"],
        judge_share=share,
        price=None,
        sampling=row["sampling"],
        simulated=row["simulated"],
        cell=row["cell"],
    )


def _plus(one: Any, other: Any) -> Any:
    """Add what is known; ``None`` where neither is."""
    return one if other is None else other if one is None else one + other
