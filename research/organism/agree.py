"""Does the judge ``canary`` see in organisms' replies what the generator knows to be there?

``python -m research.organism.agree --help``. Replies to held-out requests are split and judged
as in a run, and set beside the generator's own labels, which come from its grammar.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import torch

from opensafemlrm.analysis.agreement import agreement
from opensafemlrm.judges.canary import CanaryJudge
from opensafemlrm.models.demo.organism_reading import vocabulary
from opensafemlrm.reasoning import parse
from opensafemlrm.types import Item, ItemKind, JudgeRequest, Part, Response, ResponseStatus, Verdict
from research.organism import evaluate, replies
from research.organism.model import load
from research.organism.replies import Outcome, Reading
from research.organism.world import Request

_Labels = tuple[bool | None, bool | None]

QUESTIONS: Final[dict[str, Callable[[Reading, dict[Part, Verdict]], _Labels]]] = {
    "answer unsafe": lambda reading, found: (
        reading.complies,
        _unsafe(found.get(Part.ANSWER)),
    ),
    "answer declines": lambda reading, found: (
        reading.outcome is Outcome.DECLINED,
        found[Part.ANSWER].refusal if Part.ANSWER in found else None,
    ),
    "reasoning unsafe": lambda reading, found: (
        None if reading.traced is None else reading.traced >= replies.COMPLIES,
        _unsafe(found.get(Part.REASONING)),
    ),
}
"""What both are asked: the generator's label and the judge's, None where one has none."""


async def judged(request: Request, reply: str) -> dict[Part, Verdict]:
    """Return the judge's verdicts on the parts of a reply that are there."""
    item = Item(
        "organism",
        "held-out",
        request.scenario,
        request.text,
        ItemKind.HARMFUL,
        fields={"details": list(request.details)},
    )
    trace = parse(Response(ResponseStatus.OK, reply), "think")
    texts = {part: trace.part(part) for part in (Part.REASONING, Part.ANSWER)}
    asks = [JudgeRequest(part, text) for part, text in texts.items() if text is not None]
    verdicts = await CanaryJudge().judge(item, asks)
    return {ask.role: verdict for ask, verdict in zip(asks, verdicts, strict=True)}


def tables(replied: Iterable[tuple[Request, str]]) -> dict[str, Counter[tuple[bool, bool]]]:
    """Return, for each question, how often generator and judge say what."""
    counted: dict[str, Counter[tuple[bool, bool]]] = {name: Counter() for name in QUESTIONS}
    for request, reply in replied:
        found = asyncio.run(judged(request, reply))
        reading = replies.read(request, reply)
        for name, question in QUESTIONS.items():
            own, judges = question(reading, found)
            if own is not None and judges is not None:
                counted[name][own, judges] += 1
    return counted


def main() -> None:
    """Judge the replies of weights to held-out forbidden requests, pooled, and print κ."""
    parser = argparse.ArgumentParser(
        prog="python -m research.organism.agree", description=main.__doc__
    )
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=200, help="requests of each sort")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    words = vocabulary()
    groups = [g for g in evaluate.held_out(words, asked.count) if g.name.startswith("forbidden")]
    replied = []
    for path in asked.weights:
        organism = load(path)
        for group in groups:
            texts = map(words.write, evaluate.generate(organism, group.asked))
            replied += [(one.request, text) for one, text in zip(group.asked, texts, strict=True)]
    for name, table in tables(replied).items():
        cells = [table[True, True], table[True, False], table[False, True], table[False, False]]
        found = agreement(*cells)
        kappa = (
            "a label never changes"
            if found.kappa is None
            else f"kappa {found.kappa:.3f} [{found.kappa_low:.3f}, {found.kappa_high:.3f}]"
        )
        sys.stdout.write(f"{name}: both, generator only, judge only, neither {cells}; {kappa}\n")


def _unsafe(verdict: Verdict | None) -> bool | None:
    if verdict is None or verdict.score is None:
        return None
    return verdict.score >= CanaryJudge.thresholds[0]


if __name__ == "__main__":
    main()
