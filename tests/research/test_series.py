"""Shipped organisms are read back whole, and checkpoints become a study that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch and ONNX: the dependency group research")
pytest.importorskip("onnx", reason="needs PyTorch and ONNX: the dependency group research")

from opensafemlrm import study  # noqa: E402 # after the skip
from opensafemlrm.models.demo import organism  # noqa: E402 # after the skip
from research.organism import series, shipped  # noqa: E402 # after the skip
from research.organism.export import same_replies  # noqa: E402 # after the skip
from research.organism.model import save  # noqa: E402 # after the skip

SHIPPED = Path(organism.__file__).parent / "data/organism"


def test_a_shipped_organism_replies_as_what_it_is_read_from() -> None:
    """A matrix that was taken for another, or left as it was drawn, would babble."""
    assert same_replies(shipped.read("base"), SHIPPED, "base", 12) == 12


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # torch's own
def test_checkpoints_become_a_series_after_the_base(tmp_path: Path) -> None:
    whole = shipped.read("reasoner")
    (tmp_path / "reasoner").mkdir()
    for step in (25, 150):
        save(whole, tmp_path / f"reasoner/{step:04}.pt")
    written = series.write([tmp_path / "reasoner"], tmp_path / "organisms")
    (training,) = study.load(written).series
    labels = ["organism/base", "organism/reasoner-0025", "organism/reasoner-0150"]
    assert [version.model.label for version in training.versions] == labels
    assert [version.step for version in training.versions] == [0, 25, 150]
    assert same_replies(whole, tmp_path / "organisms", "reasoner-0150", 4) == 4
