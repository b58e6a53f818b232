"""The page's headlines in studies whose truth is known."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import numpy as np
import polars as pl
import pytest

from opensafemlrm.analysis.correction import with_noise_floor
from opensafemlrm.frame import SCHEMA
from opensafemlrm.reading import Reading
from opensafemlrm.report.page.findings import Findings
from opensafemlrm.report.page.key_results import blind_spots, safer, self_correction, tax

PAIRS = pl.DataFrame({"reasoner": ["reasoner"], "base": ["base"]})
CALIBRATION = {
    **{"judge": "j", "labels": "l", "threshold": 4.0, "model": "m", "attack": "", "scenario": ""},
    **{"true_positives": 90, "false_negatives": 10, "true_negatives": 95, "false_positives": 5},
}


def study(rates: Any, *, items: int = 20, unscored: float = 0.0) -> Findings:
    """Judge a reasoner and its base; ``rates`` are, by scenario, of the reasoner's reasoning and
    answer, and of the base's answer. A share of the reasoner's safe replies is cut."""
    random = np.random.default_rng(7)
    rows: list[dict[str, Any]] = []
    for scenario, of_scenario in rates.items():
        for item in range(items):
            reasoning, answer, base = (float(random.random() < rate) for rate in of_scenario)
            cut = answer + reasoning == 0 and random.random() < unscored
            parts = {
                "reasoner": {"reasoning": reasoning, "answer": answer},
                "base": {"answer": base},
            }
            for model, scores in parts.items():
                for part, hit in (*scores.items(), ("full", max(scores.values()))):
                    score = None if cut and model == "reasoner" else 5 * hit
                    rows.append(
                        {
                            "model": model,
                            "cell": model,
                            "sample": f"{model}-{scenario}-{item}",
                            "item": f"{item}",
                            "item_key": f"{scenario}-{item}",
                            "scenario": scenario,
                            "part": part,
                            "score": score,
                        }
                    )
    fixed: dict[str, Any] = {
        "simulated": False,
        "dataset": "d",
        "attack": "direct",
        "defense": "none",
        "sampling": "s",
        "judge": "j",
        "expected": "harmful",
        "repeat": 0,
        "status": "ok",
        "reasoning_status": "closed",
        "threshold_lenient": 4.0,
        "threshold_strict": 4.0,
    }
    frame = pl.DataFrame(
        [{**fixed, **row} for row in rows], schema=SCHEMA, infer_schema_length=None
    )
    return Findings(OfFrame(frame))


class OfFrame(Reading):
    """Results of a tidy table, without a store."""

    def __init__(self, frame: pl.DataFrame) -> None:
        super().__init__("no store")
        self._tidy = frame

    def read(self, columns: Collection[str], *, undefended: bool = False) -> pl.DataFrame:
        return self._tidy

    def pairs(self) -> pl.DataFrame:
        return PAIRS

    def calibrations(self) -> pl.DataFrame:
        return pl.DataFrame(schema=_CALIBRATIONS)


_CALIBRATIONS = {
    **dict.fromkeys(("judge", "labels", "part", "model", "attack", "scenario"), pl.String),
    "threshold": pl.Float64,
    **{name: pl.Int64 for name in CALIBRATION if name.startswith(("true", "false"))},
}


def test_a_scenario_in_which_no_base_is_unsafe_can_be_the_blind_spot() -> None:
    """It has no ratio, and was left out: the worst there was, from 0 to 100 %."""
    rates = {f"{n:02d}": (0.3, 0.3, 0.3) for n in range(9)} | {"zero": (1.0, 1.0, 0.0)}
    found = blind_spots(study(rates))
    assert found.figure.startswith("≥ ")
    assert found.unit == "the bases’ rate in zero"
    assert "100.0 % of the reasoning models’ replies are unsafe there, 0.0 %" in found.text


def test_where_nothing_is_to_be_found_none_stands_out() -> None:
    found = blind_spots(study({f"{n:02d}": (0.0, 0.2, 0.2) for n in range(10)}))
    assert found.figure == "None stands out"


def test_the_tax_of_the_answer_stands_beside_that_of_the_whole() -> None:
    """Traces that are unsafe where answers are not: a tax of the whole, and none of the answer."""
    page = study({"a": (0.6, 0.2, 0.2)}, items=200)
    size, who = tax(page), safer(page)
    by_answer = re.search(r"by the whole reply; (\S+) by the answer$", size.unit)
    assert by_answer is not None
    whole, answer = (float(x.replace("−", "-")) for x in (size.figure, by_answer[1]))
    assert whole > 30
    assert abs(answer) < 10
    assert who.figure == "1 of 1"
    assert who.unit == "comparison: the base is safer, by the whole reply; 0 of 1 by the answer"


def test_the_safer_one_is_named_only_if_it_is_whatever_was_not_scored() -> None:
    page = study({"a": (0.0, 0.45, 0.41)}, items=900, unscored=0.15)
    (row,) = page.compared.rows(named=True)
    assert row["low"] > 0
    assert row["bound_interval_low"] < 0
    assert (safer(page).figure, safer(page).unit) == ("Not decided", "")
    assert "it is not decided" in safer(page).text
    assert "undecided" not in safer(page).text


def test_self_correction_stands_with_its_interval_and_the_floor_of_the_judges_errors() -> None:
    page = study({"a": (0.5, 0.4, 0.2)}, items=100)
    found = self_correction(page)
    (row,) = page.correction.filter(model="reasoner").rows(named=True)
    assert found.figure == f"{100 * row['self_correction']:.1f} %"
    assert "calibrate the judge" in found.text
    assert found.unit == "of unsafe reasoning, 1 model, direct"


@pytest.mark.parametrize(("unsafe", "floor"), [(0.5, 0.1447), (0.2, 0.2545), (0.8, 0.1116)])
def test_a_judge_that_errs_shows_self_correction_where_there_is_none(
    unsafe: float, floor: float
) -> None:
    """Sensitivity 0.90, specificity 0.95, errors of the two parts independent."""
    calibrations = pl.DataFrame(
        [{**CALIBRATION, "part": part} for part in ("reasoning", "answer")], schema=_CALIBRATIONS
    )
    flagged = unsafe * 0.9 + (1 - unsafe) * 0.05
    rows = pl.DataFrame(
        {"judge": "j", "threshold": 4.0, "model": "m", "both": 1.0}
        | {"both_unsafe": flagged, "corrected": 0.0}
    )
    (found,) = with_noise_floor(rows, calibrations)["noise_floor"]
    assert found == pytest.approx(floor, abs=1e-3)
    assert with_noise_floor(rows, calibrations.head(1))["noise_floor"][0] is None
