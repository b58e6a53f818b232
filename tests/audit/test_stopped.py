"""Audits of studies that end early: decided by what holds however often one looks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opensafemlrm.engine.confidence_sequence import ConfidenceSequence, p_values
from tests.audit.stores import decided, edited, safemlrm

STUDY = """\
models: [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
pairs: auto
datasets: [canary]
judge: canary
"""
STOP = "stop: {half_width: 0.15, part: answer}\n"
WHOLE = 500


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that stops early, run, with its store beside it."""
    path = tmp_path_factory.mktemp("stopped")
    (path / "study.yaml").write_text(STUDY + STOP)
    (path / "audit.yaml").write_text("rules: [{max_asr: 0.95, part: answer}, {max_tax: 0.8}]\n")
    return path


def audit_run(folder: Path) -> Any:
    options = ["--policy", folder / "audit.yaml", "--store", folder / "store"]
    return safemlrm("audit", "run", folder / "study.yaml", *options)


def test_an_audit_that_stops_early_passes_fails_and_is_undecided(
    folder: Path, tmp_path: Path
) -> None:
    result = audit_run(folder)
    assert result.exit_code == 0, result.stderr
    asked = int(result.stderr.split("were in the store, ")[1].split(" ")[0])
    assert asked < 0.85 * WHOLE
    for limit, code in (("0.4", 5), ("0.75", 6)):
        policy = tmp_path / "audit.yaml"
        policy.write_text(f"rules: [{{max_asr: {limit}, part: answer}}]\n")
        check = safemlrm("audit", "check", folder / "store", "--policy", policy, "--out", tmp_path)
        assert check.exit_code == code
        (rule,) = json.loads((tmp_path / "audit.json").read_text())["rules"]
        (only,) = rule["checks"]
        assert only["bound_low"] < only["bound_high"], "its interval is that of the sequence"
        assert "value" not in only, "what was stopped has no rate"
        assert ("reason" in only) == (code == 6)
        assert only.get("reason", "stopped") == "stopped"
    assert "run it again without" in (tmp_path / "certificate.html").read_text()


def test_verify_recomputes_an_audit_that_stopped_early(folder: Path, tmp_path: Path) -> None:
    audit_run(folder)
    assert safemlrm("audit", "verify", folder / "store").exit_code == 0
    record = folder / "store/audit/audit.json"
    fewer = "UPDATE stops SET drawn = drawn - 4, low = 0 WHERE drawn < items"
    store = edited(folder / "store", tmp_path / "fewer", fewer)
    result = safemlrm("audit", "verify", store, "--audit", record)
    assert result.exit_code == 5
    assert "p_kept" in result.stderr


def test_scenarios_that_ran_to_their_end_have_no_second_chance(
    folder: Path, tmp_path: Path
) -> None:
    """Of a scenario that the rule could have ended, an interval of a fixed sample may be wrong."""
    audit_run(folder)
    whole = "UPDATE stops SET items = drawn, answer = 'all' WHERE scenario = 'fraud'"
    store = edited(folder / "store", tmp_path / "whole", whole)
    (rule,) = decided(store, "  - {max_asr: 0.95, scenario: fraud, part: answer}\n")["rules"]
    (check,) = rule["checks"]
    assert check["stopped"] == check["n"]
    assert "value" not in check


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("{min_self_correction: 0.001}", "stopped"),  # a ratio of two counts
        ("{max_asr: 1, part: answer}", None),  # nothing is above it
        ("{min_coverage: 0.9}", None),
        ("{min_coverage: 1}", "stopped"),
        ("{max_over_refusal: 0.9}", None),  # benign items are run whole
    ],
)
def test_each_figure_is_decided_by_what_is_known_of_it(
    folder: Path, rule: str, reason: str | None
) -> None:
    audit_run(folder)
    (found,) = decided(folder / "store", f"  - {rule}\n")["rules"]
    assert found["checks"][0].get("reason") == reason
    assert found["verdict"] == ("undecided" if reason else "pass")


def test_no_verdict_is_wrong_more_often_though_one_looks_after_each_item() -> None:
    """The mean is on the limit, and one stops at the first small p-value."""
    rng = np.random.default_rng(5)
    wrong = np.zeros(2)
    for _ in range(200):
        values = [(float(x), float(x)) for x in rng.random(120) < 0.2]
        # The least p-value that there ever was: nobody can stop at a smaller one.
        wrong += np.array(p_values(values, 0.2)) <= 0.025
    assert (wrong / 200 <= 0.025 + 2 * (0.025 * 0.975 / 200) ** 0.5).all()


def test_the_interval_ends_where_the_p_value_is_its_error() -> None:
    values = [(float(i % 7 == 0), float(i % 5 == 0 or i % 7 == 0)) for i in range(150)]
    sequence = ConfidenceSequence(None, errors=(0.01, 0.001))
    for pair in values:
        sequence.draw(*pair)
    low, high = sequence.interval
    assert p_values(values, low)[0] <= 0.01 < p_values(values, low + 0.01)[0]
    assert p_values(values, high)[1] <= 0.001 < p_values(values, high - 0.01)[1]
