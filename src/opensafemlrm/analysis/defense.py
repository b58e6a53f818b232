"""What a defense changes: safety, self-correction and over-refusal, and what it costs.

The comparison is that of the reasoning tax: two sides of the same items, here the defended model
and the same model without a defense. Over-refusal always stands beside safety, since a defense that
refuses everything is perfectly safe and useless.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from opensafemlrm.analysis.clustered_counts import format_threshold
from opensafemlrm.analysis.cost import cost
from opensafemlrm.analysis.tax import TaxRow, tax
from opensafemlrm.types import ItemKind, Part

UNDEFENDED: Final = "none"
"""The label of the baseline."""

_BETWEEN: Final = "\x1f"
_KEY: Final = ("dataset", "attack", "sampling", "judge")


@dataclass(frozen=True, slots=True)
class DefenseRow:
    """One defense of one model under one attack, beside the same model undefended.

    Rates and differences are fractions; differences are defended − undefended, with 95 % intervals;
    ``None`` means not measured. ``method`` is that of :class:`~opensafemlrm.analysis.tax.TaxRow`.
    """

    model: str
    dataset: str
    attack: str
    defense: str
    part: str
    threshold: float
    method: str
    scored: int
    """Samples whose scores are compared."""
    asr: float | None
    asr_undefended: float | None
    asr_change: float | None
    asr_change_low: float | None
    asr_change_high: float | None
    p_value: float | None
    self_correction: float | None
    """Samples with unsafe reasoning whose answer is safe, of those with unsafe reasoning."""
    self_correction_undefended: float | None
    self_correction_change: float | None
    self_correction_change_low: float | None
    self_correction_change_high: float | None
    overrefusal: float | None
    """Benign samples refused, of those known to be refused or not."""
    overrefusal_undefended: float | None
    overrefusal_change: float | None
    overrefusal_change_low: float | None
    overrefusal_change_high: float | None
    requests: float | None
    """Requests to models a sample, the defense's own included. A guard or a scorer is counted as
    one request each time it looks, whatever it asks."""
    tokens: float | None
    """Tokens written a sample, where the server counted them."""
    seconds: float | None
    """Time of all requests a sample, in seconds."""
    pareto: bool | None
    """Whether no other defense of this model under this attack is at least as good in safety,
    over-refusal and requests and better in one; ``None`` where one of them was not measured."""
    judge: str
    sampling: str
    simulated: bool
    cell: str


def defense_effects(frame: pl.DataFrame | pl.LazyFrame) -> list[DefenseRow]:
    """Return a row for each model, dataset, attack, defense, part and threshold.

    Only cells whose undefended side is in ``frame`` too. The undefended model has rows of its own
    (change ``None``), so that its point on the Pareto front is there.
    """
    frame = frame.lazy().collect()
    effects = _effects(frame)
    refusals = {_where(row): row for row in _effects(_benign(frame))}
    corrections = {(*_where(row), row.threshold): row for row in _corrections(frame)}
    costs = {row["cell"]: row for row in cost(frame).iter_rows(named=True)}
    rows = []
    for row in effects:
        refusal = refusals.get(_where(row))
        correction = corrections.get((*_where(row), row.threshold))
        spent = costs.get(row.cell)
        rows.append(_row(row, refusal, correction, spent))
    return _with_pareto(rows)


def _effects(frame: pl.DataFrame) -> list[TaxRow]:
    """Compare every defended model with itself undefended, and the undefended one with itself."""
    defended = pl.format(f"{{}}{_BETWEEN}{{}}", "model", "defense")
    undefended = pl.format(f"{{}}{_BETWEEN}{UNDEFENDED}", "model")
    relabelled = frame.with_columns(
        base=undefended.cast(pl.String),
        model=defended.cast(pl.String),
        defense=pl.lit("any"),
    )
    return [row for row in tax(relabelled) if row.level == "micro"]


def _benign(frame: pl.DataFrame) -> pl.DataFrame:
    """Make refusals of benign items into scores, so that they are compared as scores are."""
    return frame.filter(
        pl.col("expected") == ItemKind.BENIGN.value, pl.col("part") == Part.ANSWER.value
    ).with_columns(
        expected=pl.lit(ItemKind.HARMFUL.value),
        part=pl.lit(Part.FULL.value),
        score=pl.col("refusal").cast(pl.Float64),
        threshold_lenient=pl.lit(1.0),
        threshold_strict=pl.lit(1.0),
    )


def _corrections(frame: pl.DataFrame) -> list[TaxRow]:
    """Make self-correction, at each threshold, into scores, and compare them as scores are."""
    harmful = frame.filter(
        pl.col("expected") == ItemKind.HARMFUL.value, pl.col("sample").is_not_null()
    )
    answers = harmful.filter(pl.col("part") == Part.ANSWER.value)
    thoughts = harmful.filter(pl.col("part") == Part.REASONING.value).select(
        "sample", "judge", pl.col("score").alias("thought")
    )
    both = answers.join(thoughts, on=["sample", "judge"]).filter(
        pl.col("score").is_not_null(), pl.col("thought").is_not_null()
    )
    rows: list[TaxRow] = []
    for threshold in sorted(
        {*both["threshold_lenient"].unique(), *both["threshold_strict"].unique()}
    ):
        at = both.filter(
            (pl.col("threshold_lenient") == threshold) | (pl.col("threshold_strict") == threshold),
            pl.col("thought") >= threshold,
        ).with_columns(
            part=pl.lit(Part.FULL.value),
            score=(pl.col("score") < threshold).cast(pl.Float64),
            threshold_lenient=pl.lit(1.0),
            threshold_strict=pl.lit(1.0),
        )
        rows += [
            dataclasses.replace(row, threshold=format_threshold(threshold)) for row in _effects(at)
        ]
    return rows


def _where(row: TaxRow) -> tuple[str, ...]:
    return (row.model, *(str(getattr(row, name)) for name in _KEY))


def _row(
    row: TaxRow, refusal: TaxRow | None, correction: TaxRow | None, spent: dict[str, Any] | None
) -> DefenseRow:
    model, _, defense = row.model.partition(_BETWEEN)
    baseline = defense == UNDEFENDED
    return DefenseRow(
        model=model,
        dataset=row.dataset,
        attack=row.attack,
        defense=defense,
        part=row.part,
        threshold=row.threshold,
        method="–" if baseline else row.method,
        scored=row.scored_model,
        asr=row.asr_model,
        asr_undefended=row.asr_base,
        asr_change=None if baseline else row.difference,
        asr_change_low=None if baseline else row.low,
        asr_change_high=None if baseline else row.high,
        p_value=None if baseline else row.p_value,
        **_beside("self_correction", None if row.part == Part.REASONING else correction, baseline),
        **_beside("overrefusal", refusal, baseline),
        requests=None if spent is None else spent["requests"] / spent["samples"],
        tokens=None if spent is None else _share(spent["output_tokens"], spent["usage_known"]),
        seconds=None if spent is None else _share(spent["seconds"], spent["samples"]),
        pareto=None,
        judge=row.judge,
        sampling=row.sampling,
        simulated=row.simulated,
        cell=row.cell,
    )


def _beside(name: str, row: TaxRow | None, baseline: bool) -> dict[str, Any]:
    """Return a figure of the defended and the undefended model, and its change, under ``name``."""
    change = None if row is None or baseline else row
    return {
        name: None if row is None else row.asr_model,
        f"{name}_undefended": None if row is None else row.asr_base,
        f"{name}_change": None if change is None else change.difference,
        f"{name}_change_low": None if change is None else change.low,
        f"{name}_change_high": None if change is None else change.high,
    }


def _share(total: float | None, n: int) -> float | None:
    return total / n if total is not None and n else None


def _with_pareto(rows: Sequence[DefenseRow]) -> list[DefenseRow]:
    """Mark the rows that no other of the same model, attack, part and threshold dominates.

    The undefended model comes first in each group.
    """
    groups: dict[tuple[object, ...], list[DefenseRow]] = {}
    for row in rows:
        setting = (row.model, row.dataset, row.attack, row.part, row.threshold)
        groups.setdefault((*setting, row.judge, row.sampling), []).append(row)
    marked = []
    for found in groups.values():
        group = sorted(found, key=lambda row: row.defense != UNDEFENDED)
        points = [_point(row) for row in group]
        for row, point in zip(group, points, strict=True):
            front = None if point is None else not any(_dominates(q, point) for q in points)
            marked.append(dataclasses.replace(row, pareto=front))
    return marked


def _point(row: DefenseRow) -> tuple[float, float, float] | None:
    """Return what should be small: ASR, over-refusal and requests."""
    if row.asr is None or row.overrefusal is None or row.requests is None:
        return None
    return row.asr, row.overrefusal, row.requests


def _dominates(other: tuple[float, float, float] | None, point: tuple[float, float, float]) -> bool:
    if other is None or other == point:
        return False
    return all(o <= p for o, p in zip(other, point, strict=True))
