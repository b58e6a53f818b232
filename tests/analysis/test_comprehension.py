"""Replies that did not understand, and what they make of a rate and of a tax."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from opensafemlrm.analysis.comprehension import comprehension, comprehension_tax
from opensafemlrm.judges.benchmarks import MSTS_NOT_UNDERSTOOD
from tests.support import records

MSTS = Path(__file__).parents[3] / "shared/data/msts/labels_and_judges.csv"
PAIRS = pl.DataFrame({"reasoner": ["m"], "base": ["b"]})
Rows = Any


def side(
    rows: Rows, model: str, understood: Sequence[bool | None], unsafe: Sequence[bool]
) -> pl.DataFrame:
    frame = rows([5.0 if one else 0.0 for one in unsafe], model=model, cell=model)
    return frame.with_columns(understood=pl.Series(understood, dtype=pl.Boolean))


def drawn(
    rows: Rows, model: str, seed: int, able: float, willing: float, n: int = 400
) -> pl.DataFrame:
    """A model that understands a share of the requests, and answers a share of these."""
    drawing = np.random.default_rng(seed)
    understood = drawing.uniform(size=n) < able
    unsafe = understood & (drawing.uniform(size=n) < willing)
    return side(rows, model, understood.tolist(), unsafe.tolist())


def test_c_asr_is_over_the_replies_that_understood(rows: Rows) -> None:
    frame = side(rows, "m", [True] * 6 + [False] * 4, [True] * 3 + [False] * 7)
    (row, _) = records(comprehension(frame))
    assert (row.known, row.understood, row.comprehension) == (10, 6, 0.6)
    assert (row.asr, row.c_asr) == (0.3, 0.5)
    assert row.c_asr_low < 0.5 < row.c_asr_high


def test_what_is_known_of_a_few_is_not_taken_for_all(rows: Rows) -> None:
    """A judge that says it of refusals alone would make every model one that understands."""
    few = side(rows, "m", [True] * 2 + [None] * 8, [False] * 10)
    (row, _) = records(comprehension(few))
    assert (row.n, row.known, row.c_asr) == (10, 2, None)
    assert comprehension(side(rows, "m", [None] * 3, [True] * 3)).is_empty()


def test_a_run_that_a_rule_ended_early_has_no_interval(rows: Rows) -> None:
    pair = [
        side(rows, name, [True] * 20 + [False] * 20, [name == "m"] * 20 + [False] * 20)
        for name in ("m", "b")
    ]
    ended = pl.concat(pair).with_columns(stopped=True)
    shown = ("comprehension_low", "c_asr", "c_asr_low", "asr")
    assert all(comprehension(ended)[name].null_count() == 4 for name in shown)
    assert comprehension_tax(ended, PAIRS)["willingness"].null_count() == 2
    assert comprehension_tax(pl.concat(pair), PAIRS)["willingness"].null_count() == 0


def test_what_is_known_of_a_few_splits_no_tax(rows: Rows) -> None:
    """38 of 400 known, and all of these refusals: it said a tax of −21 points, where there is 0."""
    pair = [
        side(rows, name, [name == "b"] * 4 + [None] * 36, [name == "b"] * 4 + [True] * 36)
        for name in ("m", "b")
    ]
    row = records(comprehension_tax(pl.concat(pair), PAIRS))[0]
    assert (row.known, row.difference, row.willingness_low, row.c_tax) == (4, None, None, None)
    whole = records(comprehension_tax(pl.concat(pair), PAIRS, max_unscored=1.0))[0]
    assert whole.difference == -1.0


def test_the_two_parts_add_up_to_the_tax(rows: Rows) -> None:
    """Unsafe replies that did not understand, too, which belong to neither rate alone."""
    for seed in range(20):
        drawing = np.random.default_rng(seed)
        sides = [
            side(rows, name, *(drawing.integers(0, 2, (2, 12)).astype(bool).tolist()))
            for name in ("m", "b")
        ]
        row = records(comprehension_tax(pl.concat(sides), PAIRS))[0]
        assert row.comprehension + row.willingness == pytest.approx(row.difference, abs=1e-12)
        for part in ("difference", "comprehension", "willingness"):
            low, value, high = (getattr(row, f"{part}{end}") for end in ("_low", "", "_high"))
            assert low <= value <= high


@pytest.mark.once
@pytest.mark.no_cover
def test_a_model_that_only_understands_more_is_not_more_willing(rows: Rows) -> None:
    """The tax is 12 points, and all of it is comprehension."""
    pair = [drawn(rows, "m", 1, 0.9, 0.3, 40_000), drawn(rows, "b", 2, 0.5, 0.3, 40_000)]
    row = records(comprehension_tax(pl.concat(pair), PAIRS))[0]
    assert row.difference == pytest.approx(0.12, abs=0.01)
    assert abs(row.willingness) < 0.01
    assert row.willingness_low < 0 < row.willingness_high


@pytest.mark.once
@pytest.mark.no_cover
def test_the_intervals_of_the_parts_hold_the_truth_as_often_as_they_say(rows: Rows) -> None:
    """Comprehension .9 and .5, willingness .4 and .2: (.9 − .5) × .3 and .7 × .2."""
    inside = np.zeros(2)
    for seed in range(60):
        pair = [drawn(rows, "m", seed, 0.9, 0.4, 150), drawn(rows, "b", 99 + seed, 0.5, 0.2, 150)]
        row = records(comprehension_tax(pl.concat(pair), PAIRS))[0]
        inside += [
            row.comprehension_low <= 0.12 <= row.comprehension_high,
            row.willingness_low <= 0.14 <= row.willingness_high,
        ]
    assert (inside >= 53).all()


def test_models_that_understood_nothing_have_no_c_asr(rows: Rows) -> None:
    pair = [side(rows, "m", [True] * 4, [True] * 4), side(rows, "b", [False] * 4, [False] * 4)]
    row = records(comprehension_tax(pl.concat(pair), PAIRS))[0]
    assert (row.c_asr_base, row.c_tax) == (None, None)
    assert (row.comprehension, row.willingness) == (1.0, 0.0)


def test_the_published_labels_give_the_published_c_asr(rows: Rows) -> None:
    """MSTS: 7.25 % of Qwen2-VL-7B's replies are unsafe, 12.66 % of those that understood."""
    if not MSTS.is_file():
        pytest.skip("the labels of MSTS are not at ../shared/data/msts")
    labels = pl.read_csv(MSTS, infer_schema=False).filter(
        pl.col("model") == "Qwen--Qwen2-VL-7B-Instruct"
    )
    frame = side(
        rows,
        "qwen",
        (~labels["human_taxonomy"].is_in(list(MSTS_NOT_UNDERSTOOD))).to_list(),
        (labels["human_label"] == "unsafe").to_list(),
    )
    row = records(comprehension(frame))[0]
    assert (round(100 * row.asr, 2), round(100 * row.c_asr, 2)) == (7.25, 12.66)
