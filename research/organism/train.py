"""Train organisms from a seed: ``python -m research.organism.train --help``.

Every run writes to a folder of its own: ``log.jsonl`` (loss and seconds by step), ``loss.svg``,
``state.pt`` to resume from, and the weights it keeps. A run that is started again goes on after its
last chunk of steps; one that is done returns at once. Data and noise of a chunk are drawn from the
seed, the run's name and the chunk's number, so that a run that was stopped is the run that was not.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 # its usual name

from opensafemlrm.models.demo.organism_reading import vocabulary
from research.organism import batches, curve, low_rank, pictures
from research.organism.model import Organism, Shape, load, save
from research.organism.samples import Sample, Source
from research.organism.world import readable

CHUNK: Final = 100
"""Steps between two states that a run can resume from."""
ENCODER_STEPS: Final = 1500
ENCODER_BATCH: Final = 256
ENCODER_RATE: Final = 2e-3
BASE_STEPS: Final = 5000
BASE_RATE: Final = 2e-3
BATCH: Final = 32
TUNE_STEPS: Final = 600
TUNE_RATE: Final = 3e-4
KEPT: Final = (25, 50, 75, 100, 150, 200, 300, 400, 600)
"""Steps after which a fine-tuning's weights are kept: the points of its dose series."""

PRECISIONS: Final = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True, slots=True)
class Tuning:
    """A fine-tuning of a base: how its samples are drawn, and how hard it learns."""

    name: str
    share: float = 1.0
    safe: bool = False
    rate: float = TUNE_RATE
    rank: int = 0
    """Rank of the update of the decoder's matrices; 0 trains all weights."""

    def source(self, source: Source) -> Callable[[], Sample]:
        """Return what draws its samples."""
        return source.reasoner_safe if self.safe else source.reasoner(self.share)


TUNINGS: Final = {
    tuning.name: tuning
    for tuning in (
        Tuning("control", share=0.0),
        Tuning("share-25", share=0.25),
        Tuning("share-50", share=0.5),
        Tuning("reasoner"),
        Tuning("reasoner-safe", safe=True),
        Tuning("rate-1e-4", rate=1e-4),
        Tuning("rate-1e-4-control", share=0.0, rate=1e-4),
        Tuning("rate-1e-3", rate=1e-3),
        Tuning("rate-1e-3-control", share=0.0, rate=1e-3),
        Tuning("rank-8", rate=1e-3, rank=8),
        Tuning("rank-8-control", share=0.0, rate=1e-3, rank=8),
    )
}


@dataclass(slots=True)
class Run:
    """The loop that every run is: steps in chunks, a log, a state to resume from."""

    folder: Path
    seed: int
    name: str
    steps: int
    rate: float
    warm: int
    kept: tuple[int, ...] = ()
    orthogonal: bool = False
    """Whether the decoder's matrices are trained with Muon (Keller Jordan, 2024), all else with
    AdamW, as everything is otherwise."""
    precision: torch.dtype = torch.float32
    """What matrices are multiplied in; weights and optimisers stay in single precision."""

    def go(
        self,
        trained: nn.Module,
        chunk: Callable[[random.Random], Iterator[Callable[[], torch.Tensor]]],
        keep: Callable[[int], None] | None = None,
    ) -> None:
        """Train what of ``trained`` needs a gradient; ``chunk`` yields the losses to take."""
        self.folder.mkdir(parents=True, exist_ok=True)
        weights = [weight for weight in trained.parameters() if weight.requires_grad]
        optimisers = self._optimisers(trained)
        step, seconds = self._resume(trained, optimisers)
        while step < self.steps:
            began = time.monotonic()
            rng = random.Random(f"{self.seed} {self.name} {step}")  # noqa: S311 # training data
            torch.manual_seed(rng.getrandbits(48))
            losses = chunk(rng)
            total = 0.0
            for _ in range(CHUNK):
                with torch.autocast(
                    "cpu", self.precision, enabled=self.precision is not torch.float32
                ):
                    value = next(losses)()
                trained.zero_grad()
                torch.autograd.backward(value)
                torch.nn.utils.clip_grad_norm_(weights, 1.0)
                for optimiser in optimisers:
                    for group in optimiser.param_groups:
                        group["lr"] = self._rate(step)
                    optimiser.step()
                total += value.item()
                step += 1
                if keep is not None and step in self.kept:
                    keep(step)
            seconds += time.monotonic() - began
            self._note(trained, optimisers, step, seconds, total / CHUNK)

    def _optimisers(self, trained: nn.Module) -> list[torch.optim.Optimizer]:
        named = [(name, one) for name, one in trained.named_parameters() if one.requires_grad]
        matrices = [
            one for name, one in named if self.orthogonal and "blocks" in name and one.ndim == 2
        ]
        taken = {id(one) for one in matrices}
        rest = [one for _, one in named if id(one) not in taken]
        adam = torch.optim.AdamW(rest, lr=self.rate, betas=(0.9, 0.98), weight_decay=0.01)
        if not matrices:
            return [adam]
        # With this scale of its steps, Muon takes AdamW's learning rate (arXiv 2502.16982).
        muon = torch.optim.Muon(
            matrices, lr=self.rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        )
        return [muon, adam]

    def _rate(self, step: int) -> float:
        """Warm up, then fall as a cosine to a twentieth."""
        left = 0.5 + 0.5 * math.cos(math.pi * step / self.steps)
        return self.rate * min(1.0, (step + 1) / self.warm) * (0.05 + 0.95 * left)

    def _resume(
        self, trained: nn.Module, optimisers: Sequence[torch.optim.Optimizer]
    ) -> tuple[int, float]:
        path = self.folder / "state.pt"
        if not path.exists():
            return 0, 0.0
        held = torch.load(path, weights_only=True)
        trained.load_state_dict(held["weights"])
        for optimiser, state in zip(optimisers, held["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        return int(held["step"]), float(held["seconds"])

    def _note(
        self,
        trained: nn.Module,
        optimisers: Sequence[torch.optim.Optimizer],
        step: int,
        seconds: float,
        loss: float,
    ) -> None:
        state = {
            "weights": trained.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in optimisers],
            "step": step,
            "seconds": seconds,
        }
        part = self.folder / "state.part"
        torch.save(state, part)
        row = {"run": self.name, "step": step, "loss": round(loss, 4), "seconds": round(seconds, 1)}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        part.replace(self.folder / "state.pt")
        curve.draw(self.folder / "log.jsonl", self.folder / "loss.svg")
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()


def fast_precision() -> torch.dtype:
    """Return bfloat16 where the processor multiplies it natively, else float32."""
    has = torch.cpu.get_capabilities()
    native = has.get("avx512_bf16") or has.get("amx_bf16")
    return torch.bfloat16 if native else torch.float32


def train_base(
    out: Path, seed: int, *, encoder_steps: int, steps: int, precision: torch.dtype
) -> Organism:
    """Train a base, or return the one that ``out`` holds."""
    done = out / "base.pt"
    if done.exists():
        return load(done)
    torch.manual_seed(seed)
    organism = Organism(Shape(len(vocabulary().words)))
    bank = _bank(out)
    _train_encoder(out, seed, organism, bank, encoder_steps, precision)
    numbers = vocabulary().numbers

    def chunk(rng: random.Random) -> Iterator[Callable[[], torch.Tensor]]:
        source = Source(vocabulary(), rng)
        for batch in batches.batches(source.base, BATCH, bank, numbers, rng):
            yield partial(batches.loss, organism, batch, learn_to_see=True)

    run = Run(
        out / "base", seed, "base", steps, BASE_RATE, 100, orthogonal=True, precision=precision
    )
    run.go(organism, chunk)
    save(organism, done)
    return organism


def tune(out: Path, seed: int, tuning: Tuning, *, steps: int, precision: torch.dtype) -> None:
    """Train a base further, and keep its weights on the way as ``NAME/STEP.pt``.

    The encoder stays as it is, as is usual where a model is taught to reason.
    """
    folder = out / tuning.name
    if (folder / f"{steps:04}.pt").exists():
        return
    organism = load(out / "base.pt")
    for part in (organism.encoder, organism.named):
        part.requires_grad_(False)
    if tuning.rank:
        torch.manual_seed(seed)
        low_rank.add(organism, tuning.rank)
    bank = _bank(out)
    numbers = vocabulary().numbers

    def chunk(rng: random.Random) -> Iterator[Callable[[], torch.Tensor]]:
        draw = tuning.source(Source(vocabulary(), rng))
        for batch in batches.batches(draw, BATCH, bank, numbers, rng):
            yield partial(batches.loss, organism, batch, learn_to_see=False)

    def keep(step: int) -> None:
        whole = low_rank.merged(organism) if tuning.rank else organism
        save(whole, folder / f"{step:04}.pt")

    # One name for all: every tuning of a seed is asked the same requests in the same order.
    kept = tuple(sorted({step for step in KEPT if step < steps} | {steps}))
    run = Run(folder, seed, "tuning", steps, tuning.rate, 10, kept, precision=precision)
    run.go(organism, chunk, keep)


def _train_encoder(
    out: Path,
    seed: int,
    organism: Organism,
    bank: pictures.Bank,
    steps: int,
    precision: torch.dtype,
) -> None:
    words = readable()
    names = torch.tensor([vocabulary().numbers[word] for word in words])
    pixels = torch.from_numpy(bank.pixels)

    def chunk(_: random.Random) -> Iterator[Callable[[], torch.Tensor]]:
        while True:
            row = torch.randint(len(words), (ENCODER_BATCH,))
            variant = torch.randint(pixels.shape[1], (ENCODER_BATCH,))
            tiles = batches.shaken(pixels[row, variant])
            yield partial(_naming, organism, tiles, names[row])

    looking = nn.ModuleList((organism.encoder, organism.named))
    run = Run(out / "encoder", seed, "encoder", steps, ENCODER_RATE, 20, precision=precision)
    run.go(looking, chunk)


def _naming(organism: Organism, tiles: torch.Tensor, names: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(organism.named(organism.encoder(tiles)).float(), names)


def _bank(out: Path) -> pictures.Bank:
    out.mkdir(parents=True, exist_ok=True)
    return pictures.bank(out / "tiles.npz")


def main() -> None:
    """Train what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m research.organism.train", description=__doc__)
    parser.add_argument("what", choices=["base", *TUNINGS], nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder of the seed's runs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--encoder-steps", type=int, default=ENCODER_STEPS)
    parser.add_argument("--base-steps", type=int, default=BASE_STEPS)
    parser.add_argument("--tune-steps", type=int, default=TUNE_STEPS)
    parser.add_argument("--precision", choices=PRECISIONS, help="default: what is fast here")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    precision = PRECISIONS[asked.precision] if asked.precision else fast_precision()
    train_base(
        asked.out,
        asked.seed,
        encoder_steps=asked.encoder_steps,
        steps=asked.base_steps,
        precision=precision,
    )
    for name in asked.what:
        if name != "base":
            tune(asked.out, asked.seed, TUNINGS[name], steps=asked.tune_steps, precision=precision)


if __name__ == "__main__":
    main()
