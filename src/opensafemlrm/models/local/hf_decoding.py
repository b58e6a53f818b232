"""How a batch decodes so that each of its rows decodes as if it were alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Final

import torch
from transformers import LogitsProcessor, StoppingCriteria

from opensafemlrm.types import Sampling

_TAIL: Final = 8
"""Tokens that are looked at, beyond those that a stop text may take, for where it ends."""


class Sampler(LogitsProcessor):  # type: ignore[misc] # the checks skip transformers
    """Draws each row by its own temperature and seed; the largest score is then the draw.

    Adding Gumbel noise to logits and taking the largest draws from their softmax (the Gumbel-max
    trick; Maddison et al., arXiv 1411.0030). Rows at temperature 0 stay as they are.
    """

    def __init__(self, samplings: Sequence[Sampling]) -> None:
        self._samplings = samplings
        self._generators = [_generator(sampling.seed) for sampling in samplings]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> Any:
        """Return the scores of the next token, drawn."""
        del input_ids
        if all(sampling.temperature == 0 for sampling in self._samplings):
            return scores
        rows = [
            scores[row].float()
            if sampling.temperature == 0
            else _draw(scores[row].float(), sampling, generator)
            for row, (sampling, generator) in enumerate(
                zip(self._samplings, self._generators, strict=True)
            )
        ]
        return torch.stack(rows)


def _generator(seed: int | None) -> torch.Generator:
    generator = torch.Generator()  # on the CPU: a seed means the same wherever the model is
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def _draw(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> torch.Tensor:
    logits = logits / sampling.temperature
    if sampling.top_p is not None and sampling.top_p < 1:
        ordered, order = torch.sort(logits, descending=True)
        before = torch.softmax(ordered, dim=-1).cumsum(dim=-1) - torch.softmax(ordered, dim=-1)
        logits = logits.masked_fill(
            torch.zeros_like(logits, dtype=torch.bool).scatter(0, order, before >= sampling.top_p),
            float("-inf"),
        )
    uniform = torch.rand(logits.shape, generator=generator).clamp_(1e-20, 1 - 1e-7)
    return logits - torch.log(-torch.log(uniform)).to(logits.device)


class Ends(StoppingCriteria):  # type: ignore[misc] # as above
    """Ends each row at its own limit or stop text, and all of them when the run is stopped."""

    def __init__(
        self,
        width: int,
        limits: Sequence[int],
        stops: Sequence[Sequence[str]],
        tokenizer: Any,
        stopped: threading.Event,
    ) -> None:
        self._width, self._stops = width, stops
        self._tokenizer, self._stopped = tokenizer, stopped
        self._longest = [max(map(len, row), default=0) for row in stops]
        self.limits = limits
        self.stopped_at: dict[int, int] = {}
        """For each row that met one of its stop texts, how many tokens it had then."""

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **_: Any) -> Any:
        """Return which rows are done."""
        del scores
        count = input_ids.shape[1] - self._width
        done = [self._stopped.is_set() or count >= limit for limit in self.limits]
        for row, stops in enumerate(self._stops):
            if stops and row not in self.stopped_at and not done[row]:
                # A token is at least a character, but for the bytes of one, which _TAIL covers.
                tail = input_ids[row, self._width :][-(self._longest[row] + _TAIL) :]
                text = self.decode(tail.tolist())
                if any(stop in text for stop in stops):
                    self.stopped_at[row] = count
            done[row] = done[row] or row in self.stopped_at
        return torch.tensor(done, device=input_ids.device)

    def text(self, row: int, tokens: list[int]) -> str:
        """Return the text of a row, up to the first of its stop texts."""
        text = self.decode(tokens)
        places = [at for stop in self._stops[row] if (at := text.find(stop)) >= 0]
        return text[: min(places)] if places else text

    def decode(self, tokens: list[int]) -> str:
        """Return the text of ``tokens``, special ones as well: some of them mark the reasoning."""
        text = self._tokenizer.decode(
            tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return str(text)
