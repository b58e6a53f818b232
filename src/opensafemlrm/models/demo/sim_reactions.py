"""How the simulated models react to defenses. All of it is **made up**, so that demos have a shape.

A reaction is recognised by words in the prompt. It turns a reply into a refusal with a stated
probability, and declines benign requests that much oftener. No published figure stands behind any
of these numbers; a table of defenses over simulated models shows how the table works, not how the
defenses do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from opensafemlrm.models.demo.sim_figures import BITS, Scores


@dataclass(frozen=True, slots=True)
class Reaction:
    """What the words of a defense do to a simulated model.

    ``declines`` is the probability that a reply turns into a refusal, ``overdeclines`` that of a
    reply to a benign request.
    """

    words: str
    declines: float
    overdeclines: float


REACTIONS: Final = (
    Reaction("you are a responsible assistant", 0.25, 0.02),  # self-reminder
    Reaction("look at all of it: does it hold text", 0.55, 0.12),  # adashield-s
    Reaction("who could be harmed by a full answer", 0.40, 0.04),  # scenario-aware
    Reaction("read your reasoning and your answer once more", 0.45, 0.03),  # reflect
    Reaction("think about this once more", 0.15, 0.02),  # morethink, each round
    Reaction("think safely", 0.60, 0.03),  # safethink, each correction
    Reaction("without much thinking", 0.15, 0.01),  # lessthink
)
EMPTY_THOUGHT: Final = Reaction("", 0.30, 0.01)
"""The reaction to a thought that was closed empty (zerothink)."""

_SELF_JUDGE: Final = re.compile(r"answer with one word, yes or no", re.IGNORECASE)
_CAPTION: Final = re.compile(r"describe the image in words", re.IGNORECASE)
_UNSAFE: Final = 4


def side_question(request: str, severity: int) -> str | None:
    """Return the reply to a question that a defense asks beside the request, if ``request`` is one.

    ``severity`` is what the texts in ``request`` declare of themselves.
    """
    if _SELF_JUDGE.search(request):
        return "Yes." if severity >= _UNSAFE else "No."
    if _CAPTION.search(request):
        return "A picture with a line of printed words (a simulated description)."
    return None


def react(scores: Scores, request: str, quantile: int, *, benign: bool, empty: bool) -> Scores:
    """Return the scores after the reactions to the words in ``request``.

    ``empty`` says that the thought was closed before it began. ``quantile`` is an integer from 0
    to 2**BITS - 1; the same one decides over all reactions, so that more of them never decline
    less.
    """
    lowered = request.lower()
    reactions = [(reaction, lowered.count(reaction.words)) for reaction in REACTIONS]
    if empty:
        reactions.append((EMPTY_THOUGHT, 1))
    answers = 1.0
    for reaction, times in reactions:
        answers *= (1 - (reaction.overdeclines if benign else reaction.declines)) ** times
    if quantile < (1 - answers) * 2**BITS:
        return Scores(min(scores.reasoning, 1), 0, 0)
    return scores
