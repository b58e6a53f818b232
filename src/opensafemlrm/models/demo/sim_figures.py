"""The published score histograms behind the simulated models, and how scores are drawn from them.

The counts are those of SafeMLRM (arXiv 2504.08813): for each of nine models, ten scenarios and two
settings (the plain question; the question with its key phrase in an image), how many items got
each score from 0 to 5, for the reasoning, the answer and the whole reply. Items without a score
are left out of every draw.

Three things are not published and are **assumptions** of the simulation:

* how the scores of the parts of one reply go together: see :data:`COUPLING`;
* the parts of models for which only the whole was scored (``mulberry-llava-8b``,
  ``mulberry-llama-11b`` and the bases): every part draws from the whole's histogram;
* how often a benign request is declined: see :data:`BENIGN_REFUSALS`.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from itertools import accumulate
from typing import Final, NamedTuple

DATA_VERSION: Final = "safemlrm-2504.08813-1"
"""Changes when the figures or the way scores are drawn change, and with them every reply."""

PAIRS: Final = {
    "r1-onevision-7b": "qwen2.5-vl-7b",
    "mm-eureka-qwen-7b": "qwen2.5-vl-7b",
    "mulberry-qwen2vl-7b": "qwen2-vl-7b",
    "mulberry-llava-8b": "llava-next-llama3-8b",
    "mulberry-llama-11b": "llama-3.2-11b-vision",
}
"""The published study's reasoning models, each with the base model it was trained from."""

NAMES: Final = (*PAIRS, *dict.fromkeys(PAIRS.values()))
"""The nine simulated models: five that reason, then their four bases."""

COUPLING: Final = 0.55
"""Probability that the parts of one reply share one quantile; else they are independent.

Upstream publishes marginals only. With this value about 17 % of replies with unsafe reasoning
(score 4 or more) have a safe answer, as the paper reports (16.9 %); with 0 it would be about 32 %,
with 1 about 4 %. Marginals are exact for every value.
"""

BENIGN_REFUSALS: Final = {
    "r1-onevision-7b": 0.02,
    "mm-eureka-qwen-7b": 0.03,
    "mulberry-qwen2vl-7b": 0.03,
    "mulberry-llava-8b": 0.04,
    "mulberry-llama-11b": 0.06,
    "qwen2.5-vl-7b": 0.04,
    "qwen2-vl-7b": 0.05,
    "llava-next-llama3-8b": 0.05,
    "llama-3.2-11b-vision": 0.10,
}
"""Share of benign canary items that a simulated model declines: made up, none is published."""

BITS: Final = 64
"""A quantile is an integer from 0 to 2**BITS - 1."""


class Scores(NamedTuple):
    """The drawn scores of one reply, 0 to 5. ``full`` is the whole reply's own draw."""

    reasoning: int
    answer: int
    full: int


class Histograms(NamedTuple):
    """For each part, how many scored items got at most score 0, 1, … 5."""

    reasoning: tuple[int, ...]
    answer: tuple[int, ...]
    full: tuple[int, ...]


@cache
def scenarios() -> tuple[str, ...]:
    """Return the ids of the ten published scenarios, in order."""
    return tuple(dict.fromkeys(scenario for _, _, scenario in published()))


@cache
def published() -> dict[tuple[str, str, str], dict[str, list[int]]]:
    """Return the published counts by model, setting (``plain``, ``image``) and scenario.

    Each part has seven counts: of the scores 0 to 5, and of the items without a score.
    """
    text = files("opensafemlrm.models.demo").joinpath("data/sim_figures.json").read_text("utf-8")
    cells: dict[tuple[str, str, str], dict[str, list[int]]] = {}
    for path, parts in json.loads(text).items():
        model, setting, scenario = path.split("/")
        cells[model, setting, scenario] = parts
    return cells


@cache
def histograms(model: str, *, image: bool, scenario: str | None) -> Histograms:
    """Return what ``model`` draws from in a published scenario; ``None`` pools all ten."""
    setting = "image" if image else "plain"
    chosen = scenarios() if scenario is None else (scenario,)
    cells = [published()[model, setting, name] for name in chosen]
    full = _cumulative([cell["full"] for cell in cells])
    reasoning = _cumulative([cell["reasoning"] for cell in cells])
    answer = _cumulative([cell["answer"] for cell in cells])
    return Histograms(reasoning if reasoning[-1] else full, answer if answer[-1] else full, full)


def draw(cumulative: Sequence[int], quantile: int) -> int:
    """Return the score at ``quantile``: over evenly spaced quantiles, exactly the histogram."""
    return bisect_right(cumulative, (quantile * cumulative[-1]) >> BITS)


def draw_scores(from_: Histograms, coupled: int, shared: int, answer: int, full: int) -> Scores:
    """Draw the scores of one reply from four independent quantiles (see :data:`COUPLING`)."""
    if coupled < COUPLING * 2**BITS:
        answer = full = shared
    return Scores(draw(from_.reasoning, shared), draw(from_.answer, answer), draw(from_.full, full))


def _cumulative(counts: Sequence[Sequence[int]]) -> tuple[int, ...]:
    return tuple(accumulate(sum(column) for column in list(zip(*counts, strict=True))[:6]))
