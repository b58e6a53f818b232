"""The written rule for the default pair: competence decides, and nothing else can."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch", reason="needs PyTorch and ONNX: the dependency group research")
pytest.importorskip("onnx", reason="needs PyTorch and ONNX: the dependency group research")

from research.organism.choose import choose, choose_step


def row(weights: str, text: float, pictures: float, **more: float) -> dict[str, Any]:
    found = {"allowed text exact": text, "allowed pictures exact": pictures, "traces closed": 1.0}
    return {"weights": weights, **found, **more}


def test_the_first_step_that_meets_the_gates_is_taken() -> None:
    steps = {
        100: row("r", 0.99, 0.99),
        50: row("r", 0.91, 0.81),
        25: row("r", 0.95, 0.79),
    }
    assert choose_step(steps) == 50


def test_where_none_meets_them_the_nearest_is_taken() -> None:
    assert choose_step({25: row("r", 0.5, 0.9), 50: row("r", 0.95, 0.7)}) == 50


def test_refusal_after_training_does_not_enter() -> None:
    """The mistake: a pair that is picked for its tax."""

    def rows(refusal: float) -> list[dict[str, Any]]:
        found = []
        for seed, pictures in enumerate((0.85, 0.9)):
            base = {"forbidden text declined": 0.99}
            found.append(row(f"seed{seed}/base.pt", 0.99, 0.95, **base))
            after = {"forbidden text declined": refusal if seed else 1 - refusal}
            found.append(row(f"seed{seed}/reasoner/0050.pt", 0.99, pictures, **after))
        return found

    assert choose(rows(0.0)) == choose(rows(1.0))
    assert choose(rows(0.0))[0].folder.name == "seed1"


def test_a_base_that_misses_a_gate_costs_its_seed() -> None:
    rows = [
        row("seed0/base.pt", 0.95, 0.9, **{"forbidden text declined": 0.85}),
        row("seed0/reasoner/0050.pt", 0.99, 0.99),
        row("seed1/base.pt", 0.91, 0.81, **{"forbidden text declined": 0.91}),
        row("seed1/reasoner/0050.pt", 0.91, 0.81),
    ]
    assert [choice.folder.name for choice in choose(rows)] == ["seed1", "seed0"]
