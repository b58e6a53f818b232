"""The reasoning tax corrected by people's labels, and the check of it against human labels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from opensafemlrm.analysis.corrected import corrected_tax
from scripts.check_human_labels import read, row
from tests.support import records

ROOT = Path(__file__).parents[2]
PAIRS = pl.DataFrame({"reasoner": ["m"], "base": ["b"]})
CALIBRATIONS = pl.DataFrame(
    schema={
        **dict.fromkeys(("judge", "labels", "part", "model", "attack", "scenario"), pl.String),
        "threshold": pl.Float64,
        **dict.fromkeys(("true_positives", "false_positives"), pl.Int64),
        **dict.fromkeys(("true_negatives", "false_negatives"), pl.Int64),
    }
)
N = 400
Rows = Any


def study(rows: Rows, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two models as unsafe as each other, of which the judge flags one far more often."""
    drawing = np.random.default_rng(seed)
    frames, labels = [], []
    for model, false_alarms in (("m", 0.15), ("b", 0.03)):
        unsafe = drawing.uniform(size=N) < 0.2
        flagged = drawing.uniform(size=N) < np.where(unsafe, 0.9, false_alarms)
        one = rows([5.0 if flag else 0.0 for flag in flagged], model=model, cell=model)
        one = one.with_columns(sample=pl.lit(model) + pl.col("item"))
        frames.append(one)
        labels.append(one.select("sample", "part", unsafe=pl.Series(unsafe)))
    return pl.concat(frames), pl.concat(labels).with_columns(pl.col("part").cast(pl.String))


def first(labels: pl.DataFrame, n: int) -> pl.DataFrame:
    """The labels of the first items of both models."""
    return labels.filter(pl.col("sample").str.slice(1).cast(pl.Int64) < n)


def test_a_gap_that_the_judge_makes_is_taken_out(rows: Rows) -> None:
    """Both are unsafe in 20 %: the judge sees 10 points between them, and labels see none."""
    frame, labels = study(rows, seed=3)
    found = corrected_tax(frame, PAIRS, CALIBRATIONS, first(labels, 150)).filter(threshold=4)
    (row,) = records(found)
    assert row.method == "prediction-powered"
    assert (row.labelled, row.scored) == (150, N)
    assert row.low > 0
    assert row.corrected_low < 0 < row.corrected_high
    assert "150 of 400 items" in row.basis


@pytest.mark.once
@pytest.mark.no_cover
def test_its_interval_holds_a_tax_of_0_as_often_as_it_says(rows: Rows) -> None:
    inside = 0
    for seed in range(40):
        frame, labels = study(rows, seed)
        (row,) = records(
            corrected_tax(frame, PAIRS, CALIBRATIONS, first(labels, 100)).filter(threshold=4)
        )
        inside += row.corrected_low <= 0 <= row.corrected_high
    assert inside >= 35


def test_labels_of_other_items_give_the_difference_of_two_rates(rows: Rows) -> None:
    frame, labels = study(rows, seed=3)
    number = pl.col("sample").str.slice(1).cast(pl.Int64)
    apart = labels.filter(pl.col("sample").str.starts_with("m") == (number < 200))
    (row,) = records(corrected_tax(frame, PAIRS, CALIBRATIONS, apart).filter(threshold=4))
    assert (row.method, row.labelled) == ("rates apart", 0)
    assert row.corrected_low < 0 < row.corrected_high


def test_without_enough_labels_it_is_not_corrected_and_that_is_said(rows: Rows) -> None:
    frame, labels = study(rows, seed=3)
    (row,) = records(
        corrected_tax(frame, PAIRS, CALIBRATIONS, first(labels, 5)).filter(threshold=4)
    )
    assert (row.method, row.corrected, row.labelled) == ("none", None, 5)
    assert row.basis.startswith("the model:")
    assert corrected_tax(frame, PAIRS, CALIBRATIONS, labels.clear()).is_empty()


@pytest.fixture
def human_labels(tmp_path: Path) -> Path:
    """A made-up file of the layout of MSTS's labels: three models, one of them judged worse."""
    drawing = np.random.default_rng(5)
    lines = ["case_id,prompt_type,model,annot1,human_label,human_taxonomy,gpt-4o-2024-05-13,other"]
    for model, false_alarms in (("a", 0.4), ("b", 0.05), ("c", 0.02)):
        for item in range(200):
            unsafe = drawing.uniform() < 0.1
            flag = drawing.uniform() < (0.9 if unsafe else false_alarms)
            said, judged = ("unsafe" if one else "safe" for one in (unsafe, flag))
            lines.append(f"case_{item // 2},{item % 2},{model},1,{said},1.1,{judged},safe")
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_the_check_against_human_labels_prints_a_row_a_judge(human_labels: Path) -> None:
    script = ROOT / "scripts/check_human_labels.py"
    command: list[str | Path] = [sys.executable, script, human_labels, "--format", "json"]
    printed = subprocess.run(
        [*command, "--draws", "10", "--labels", "100"], capture_output=True, check=True, text=True
    )
    (row,) = json.loads(printed.stdout)
    assert (row["judge"], row["items"]) == ("gpt-4o-2024-05-13", 100)
    assert row["coverage"] >= 0.9
    assert row["mean_error"] < row["mean_error_none"]
    assert {
        f"{name}{end}" for name in ("coverage", "mean_error") for end in ("_none", "_pooled")
    } < {*row}
    assert (row["differs"], row["differs_permuted"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("", "row 4, column human_label: it is empty"),
        ("maybe", "row 4, column human_label: it hol"),
    ],
)
def test_a_label_that_is_none_ends_the_check_with_its_place(
    tmp_path: Path, label: str, message: str
) -> None:
    """An empty label was a traceback, and any other word counted as safe."""
    file = tmp_path / "labels.csv"
    file.write_text(two_models(lambda item: label if item == 2 else "safe"), encoding="utf-8")
    with pytest.raises(SystemExit, match=message):
        read(file)


def two_models(label: Any) -> str:
    """A file of two models that replied to 60 items, of which a judge flags a third."""
    lines = [
        f"case_{item},x,{model},{label(item)},{'unsafe' if item % 3 == 0 else 'safe'}"
        for model in "ab"
        for item in range(60)
    ]
    return "\n".join(["case_id,prompt_type,model,human_label,gpt-4o", *lines])


def test_where_people_call_every_reply_safe_nothing_is_pooled_and_that_is_said(
    tmp_path: Path,
) -> None:
    """No error on unsafe replies is known then: the figures were NaN, which is no JSON."""
    file = tmp_path / "labels.csv"
    file.write_text(two_models(lambda _: "safe"), encoding="utf-8")
    found = row(read(file), "gpt-4o", 200, 2, 0)
    assert found["items"] == 60  # of 200 that were asked for
    assert (found["coverage_pooled"], found["mean_error_pooled"]) == (None, None)
    assert "every reply safe" in found["no_pooled"]
    json.dumps(found, allow_nan=False)
