"""Training in small: it goes on where it was stopped, and what is exported replies the same."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch and ONNX: the dependency group research")
pytest.importorskip("onnx", reason="needs PyTorch and ONNX: the dependency group research")

from opensafemlrm.models.demo.organism_engine import Engine  # noqa: E402 # after the skip
from opensafemlrm.models.demo.organism_reading import (  # noqa: E402 # after the skip
    OrganismRequest,
    vocabulary,
)
from research.organism import evaluate, low_rank, train  # noqa: E402 # after the skip
from research.organism.export import export  # noqa: E402 # after the skip
from research.organism.model import Organism, Shape, load, save  # noqa: E402 # after the skip


def small() -> Organism:
    torch.manual_seed(5)
    return Organism(Shape(len(vocabulary().words), width=32, layers=2, heads=2, seen=16))


def one_weight(folder: Path, steps: int) -> float:
    """Train one number towards numbers drawn by chance."""
    module = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(2.0)

    def distance(target: float) -> Any:
        return (module.weight.sum() - target) ** 2

    def chunk(rng: random.Random) -> Iterator[Callable[[], Any]]:
        while True:
            yield partial(distance, rng.random())

    train.Run(folder, 0, "one", steps, 0.01, warm=1).go(module, chunk)
    return float(module.weight.item())


def test_a_run_that_was_stopped_is_the_run_that_was_not(tmp_path: Path, monkeypatch) -> None:
    whole = one_weight(tmp_path / "whole", 2 * train.CHUNK)
    noted = itertools.count()
    plain = train.Run._note

    def stopping(self: train.Run, *more) -> None:
        plain(self, *more)
        if next(noted) == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(train.Run, "_note", stopping)
    with pytest.raises(KeyboardInterrupt):
        one_weight(tmp_path / "stopped", 2 * train.CHUNK)
    assert one_weight(tmp_path / "stopped", 2 * train.CHUNK) == whole
    log = (tmp_path / "stopped" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [train.CHUNK, 2 * train.CHUNK]
    assert (tmp_path / "stopped" / "loss.svg").read_text().startswith("<svg")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # torch's own
def test_what_is_exported_replies_as_what_was_trained(tmp_path: Path) -> None:
    """Padding, the cache and half precision: each could change a reply."""
    organism = small()
    with torch.no_grad():
        for weight in organism.parameters():
            weight.copy_(weight.half().float())
    export(organism, tmp_path, "base")
    for written in tmp_path.glob("*.onnx"):
        assert str(Path(train.__file__).parent).encode() not in written.read_bytes()
    engine = Engine(tmp_path, "base", 1)
    for group in evaluate.held_out(vocabulary(), 5):
        asked = [OrganismRequest(one.tokens, one.tiles, 24) for one in group.asked]
        wanted = [tokens[:24] for tokens in evaluate.generate(organism, group.asked)]
        assert [list(one.tokens) for one in engine.run(asked)] == wanted


def test_the_steps_of_decoding_are_the_pass_of_training() -> None:
    """The mistake: a cache or a position that is one off, which only costs quality."""
    organism = small().eval()
    tokens = torch.randint(7, 300, (2, 9))
    seen = torch.zeros(2, 9, organism.shape.seen)
    is_seen = torch.zeros(2, 9, dtype=torch.bool)
    with torch.no_grad():
        embedded = organism.embedded(tokens, seen, is_seen)
        wanted = organism.logits(organism(embedded))
        past = organism.empty_past(2)
        for at in range(9):
            position = torch.full((2, 1), at)
            mask = torch.ones(2, 1, 1, at + 1, dtype=torch.bool)
            logits, past = organism.step(embedded[:, at : at + 1], position, mask, past)
            assert torch.allclose(logits, wanted[:, at], atol=1e-4)


def test_padding_is_nothing() -> None:
    """The mistake: the first word of a short request is read beside the padding before it."""
    organism = small().eval()
    with torch.no_grad():
        organism.embed.weight[0] = 3.0
    asked = evaluate.held_out(vocabulary(), 6)[0].asked
    alone = [evaluate.generate(organism, [one])[0] for one in asked]
    assert evaluate.generate(organism, asked) == alone


def test_low_rank_updates_start_at_nothing_and_are_merged(tmp_path: Path) -> None:
    organism = small()
    before = {name: value.clone() for name, value in organism.state_dict().items()}
    low_rank.add(organism, 2)
    trained = [name for name, value in organism.named_parameters() if value.requires_grad]
    assert trained
    assert all(name.endswith((".left", ".right")) for name in trained)
    save(low_rank.merged(organism), tmp_path / "merged.pt")
    after = load(tmp_path / "merged.pt").state_dict()
    assert after.keys() == before.keys()
    assert all(np.allclose(after[name], before[name]) for name in before)


def test_what_was_merged_can_be_trained_further(tmp_path: Path) -> None:
    """The mistake: the first weights that a low-rank run keeps are its last, since merging a copy
    takes the updates from the original."""
    organism = small()
    low_rank.add(organism, 2)
    low_rank.merged(organism)
    tokens = torch.randint(7, 300, (1, 4))
    seen = torch.zeros(1, 4, organism.shape.seen)
    embedded = organism.embedded(tokens, seen, torch.zeros(1, 4, dtype=torch.bool))
    organism(embedded).sum().backward()
    left = next(one for name, one in organism.named_parameters() if name.endswith(".left"))
    assert left.grad is not None
    with torch.no_grad():
        left += 1
    again = low_rank.merged(organism)
    matrices = (again.blocks[0].to_qkv.weight, organism.blocks[0].to_qkv.weight)
    assert torch.equal(*matrices)
