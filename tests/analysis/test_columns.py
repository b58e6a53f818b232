"""Results are frames with documented columns, made of the columns of the tidy table they name."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from opensafemlrm import frame as frames
from opensafemlrm.analysis import (
    agreement,
    asr,
    blindspots,
    changes,
    comprehension,
    corrected,
    correction,
    cost,
    coverage,
    defense,
    drift,
    grouped,
    label_plan,
    overrefusal,
    tax,
)
from opensafemlrm.store import Store
from tests.report.page_stores import run_study

STUDY = """\
models: [sim/r1-onevision-7b, sim/mulberry-llava-8b, sim/qwen2.5-vl-7b, sim/llava-next-llama3-8b]
pairs:
  - [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
  - [sim/mulberry-llava-8b, sim/llava-next-llama3-8b]
datasets: [canary]
attacks: [direct, typo]
defenses: [none, self-reminder]
judge: canary
limit: 20
"""
CALIBRATIONS = pl.DataFrame(
    [
        {"judge": "canary", "labels": "l", "scenario": "", "threshold": 4.0}
        | {"part": "answer", "model": "", "attack": ""}
        | dict(zip(("true_positives", "false_positives"), (90, 5), strict=True))
        | dict(zip(("true_negatives", "false_negatives"), (95, 10), strict=True))
    ]
)
MODELS = ["sim/r1-onevision-7b", "sim/mulberry-llava-8b"]
BASES = ["sim/qwen2.5-vl-7b", "sim/llava-next-llama3-8b"]


def understood(frame: pl.DataFrame) -> pl.DataFrame:
    """As a judge leaves it that tells what was understood: three of four replies."""
    return frame.with_columns(understood=pl.int_range(pl.len()) % 4 > 0)


def _series(pairs: pl.DataFrame) -> pl.DataFrame:
    """Return each pair as a series of two versions."""
    name = pl.col("reasoner").alias("series")
    sides = [pairs.select(name, model=side) for side in ("base", "reasoner")]
    return pl.concat(sides).with_columns(
        step=pl.lit(None, pl.Float64), date=pl.lit(None, pl.String)
    )


SCORES = SimpleNamespace(READS=coverage.SCORE_READS)
Result = Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]
RESULTS: dict[str, tuple[Any, Mapping[str, str], Result]] = {
    "asr": (asr, asr.COLUMNS, lambda f, _: asr.asr(f, by="scenario")),
    "tax": (tax, tax.COLUMNS, lambda f, p: tax.tax(f, p, by="scenario")),
    "blindspots": (blindspots, blindspots.COLUMNS, blindspots.blindspots),
    "consistency": (
        blindspots,
        blindspots.CONSISTENCY_COLUMNS,
        lambda f, p: blindspots.consistency(blindspots.blindspots(f, p)),
    ),
    "grouped": (grouped, grouped.COLUMNS, lambda f, _: grouped.grouped(f, MODELS, BASES)),
    "correction": (correction, correction.COLUMNS, lambda f, _: correction.correction(f)),
    "overrefusal": (overrefusal, overrefusal.COLUMNS, lambda f, _: overrefusal.overrefusal(f)),
    "balance": (overrefusal, overrefusal.BALANCE_COLUMNS, lambda f, _: overrefusal.balance(f)),
    "defense": (defense, defense.COLUMNS, lambda f, _: defense.defense_effects(f)),
    "drift": (drift, drift.COLUMNS, lambda f, p: drift.drift(f, _series(p)).changes),
    "trend": (drift, drift.TREND_COLUMNS, lambda f, p: drift.drift(f, _series(p)).trend),
    "changes": (
        changes,
        changes.FIGURE_COLUMNS,
        lambda f, _: changes.changed_figures(f, f, by="scenario"),
    ),
    "cost": (cost, cost.COLUMNS, lambda f, _: cost.cost(f)),
    "corrected": (
        corrected,
        corrected.COLUMNS,
        lambda f, _: corrected.corrected_asr(f, CALIBRATIONS, by="scenario"),
    ),
    "comprehension": (
        comprehension,
        comprehension.COLUMNS,
        lambda f, _: comprehension.comprehension(understood(f)),
    ),
    "comprehension_tax": (
        comprehension,
        comprehension.TAX_COLUMNS,
        lambda f, p: comprehension.comprehension_tax(understood(f), p),
    ),
    "replies": (coverage, coverage.REPLY_COLUMNS, lambda f, _: coverage.reply_outcomes(f)),
    "verdicts": (coverage, coverage.VERDICT_COLUMNS, lambda f, _: coverage.verdict_outcomes(f)),
    "scores": (
        SimpleNamespace(READS=coverage.SCORE_READS),
        coverage.SCORE_COLUMNS,
        lambda f, _: coverage.scores(f),
    ),
    "judges": (agreement, agreement.PAIR_COLUMNS, lambda f, _: agreement.judge_pairs(f)),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, pl.DataFrame]:
    path = run_study(tmp_path_factory.mktemp("columns") / "store", STUDY)
    with Store.open(path) as opened:
        return frames.read(opened), frames.pairs(opened)


@pytest.fixture(scope="module")
def results(store: tuple[pl.DataFrame, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Every result of the whole frame, which two tests read."""
    return {name: result(*store) for name, (_, _, result) in RESULTS.items()}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_has_the_documented_columns_from_the_columns_it_names(
    name: str, store: tuple[pl.DataFrame, pl.DataFrame], results: dict[str, pl.DataFrame]
) -> None:
    """A column that a table reads and does not name would be missing where only those are read."""
    module, columns, result = RESULTS[name]
    frame, pairs = store
    whole = results[name]
    assert whole.columns == list(columns)
    assert all(columns.values())
    assert not whole.is_empty() or name == "judges"
    part = result(frame.select(sorted(module.READS)), pairs)
    assert_frame_equal(part, whole)


# The models of ``grouped`` have to be in the frame.
@pytest.mark.parametrize("name", sorted(set(RESULTS) - {"grouped"}))
def test_a_result_of_nothing_has_the_same_columns(
    name: str, store: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    _, columns, result = RESULTS[name]
    frame, pairs = store
    nothing = result(frame.clear(), pairs.clear())
    assert (nothing.columns, len(nothing)) == (list(columns), 0)


def test_numbers_that_were_not_measured_are_null(results: dict[str, pl.DataFrame]) -> None:
    """NaN and infinity are no JSON, and a mean over them is neither."""
    for name, result in results.items():
        for numbers in result.select(pl.selectors.float()):
            assert numbers.drop_nulls().is_finite().all(), (name, numbers.name)


def test_what_is_put_before_labellers_needs_few_columns(
    store: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    frame, _ = store
    few = label_plan.to_label(frame.select(sorted(label_plan.DRAWN_BY)), "answer")
    assert few == label_plan.to_label(frame, "answer")


def test_the_document_of_the_tables_says_what_the_analyses_say() -> None:
    """Written anew by ``python scripts/document_tables.py``."""
    root = Path(__file__).parents[2]
    text = runpy.run_path(str(root / "scripts" / "document_tables.py"))["text"]()
    assert (root / "docs" / "tables.md").read_text(encoding="utf-8") == text
