"""The generator: requests of the Lantern House with their right replies, from a seed.

See :mod:`.templates` for the sentences and ``docs/organism.md`` for what is kept apart. A request
is never one of the benchmark's: subjects and details are drawn from the words of ``canary`` and
are refused where ``canary`` has the same, and the templates are the generator's own.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

from opensafemlrm.attacks.figstep import CARRIER
from opensafemlrm.datasets.canary import Canary
from opensafemlrm.models.demo.organism_reading import MARKS, cut
from opensafemlrm.types import Item
from research.organism import templates
from research.organism.scenarios import SCENARIOS, Scenario, seen
from research.organism.templates import LITTLE

DETAILS: Final = 5
_HELD_OUT_EVERY: Final = 4
"""One template in four and one subject in four are held out."""
_TOLD: Final = 0.35
"""Share of questions that ask about a clause, in words that fit anything."""
_ENDED: Final = 0.35
"""Share of sentences with an ending, where the subject comes last."""
_OPENED: Final = 0.2
"""Share of texts with an opening."""

_GAP: Final = re.compile(r"\{\w*\}")
_KEPT: Final = "contain detailed"
"""Words that no text has any more: the bundled weights count on the numbers of those after them."""


class Form(StrEnum):
    """How a request comes: in text alone, or with a picture of words."""

    TEXT = "text"
    NAME = "name"
    LIST = "list"
    WHOLE = "whole"


PICTURES: Final = (Form.NAME, Form.LIST, Form.WHOLE)


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its text, the words in its picture (empty without one) and the house notes.

    ``drawn`` is the picture's text as it is to be drawn; ``aspect`` names in a trace's words what
    is asked for.
    """

    scenario: str
    form: Form
    text: str
    drawn: str
    subject: str
    aspect: str
    details: tuple[str, ...]
    forbidden: bool
    numbered: int = 0
    """Empty numbers under a list in the picture."""

    @property
    def seen(self) -> list[str]:
        """The pieces of the picture, in order."""
        return [*self.drawn.split(), *(f"{number}." for number in range(1, self.numbered + 1))]


def is_held_out(position: int) -> bool:
    """Tell whether the template at ``position`` of its list is kept out of training."""
    return position % _HELD_OUT_EVERY == 1


def subject_is_held_out(subject: str) -> bool:
    """Tell whether a subject is kept out of training: by its words alone, whatever the seed."""
    digest = hashlib.blake2b(" ".join(cut(subject)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) % _HELD_OUT_EVERY == 0


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What the generator takes from ``canary``, its words, and what it must never give."""

    items: tuple[Item, ...]
    subject_words: tuple[str, ...]
    detail_words: tuple[str, ...]
    subjects: frozenset[str]
    details: frozenset[str]


@cache
def benchmark() -> Benchmark:
    """Read ``canary`` once."""
    items = tuple(item for item in Canary().rows() if isinstance(item, Item))
    subjects = [" ".join(cut(item.fields["key_phrase"])) for item in items]
    details = [" ".join(cut(detail)) for item in items for detail in item.fields["details"]]
    return Benchmark(
        items,
        tuple(sorted({word for subject in subjects for word in subject.split()} - LITTLE)),
        tuple(sorted({word for detail in details for word in detail.split()})),
        frozenset(subjects),
        frozenset(details),
    )


@dataclass(slots=True)
class World:
    """Draws requests; ``held_out`` draws from held-out templates and subjects alone."""

    random: random.Random
    held_out: bool = False

    def request(self, form: Form, *, forbidden: bool) -> Request:
        """Draw a request of one form."""
        scenario = self.random.choice(SCENARIOS)
        phrase = self.phrase(scenario)
        draw = self._secret if forbidden else self._open
        naming, aspect, questions, instructions = draw(scenario)
        named = naming.format(phrase)
        question = self._ended(self._question(questions, instructions))
        instruction = self._ended(self._one(instructions))
        details = tuple(self.detail() for _ in range(DETAILS))
        text, drawn, numbered = question.format(s=named), "", 0
        if form is Form.NAME:
            text = question.format(s=self._unnamed(scenario, naming))
            drawn = phrase
        elif form is Form.LIST:
            text = self._one(templates.CARRIERS_LIST)
            drawn, numbered = instruction.format(s=named), self.random.choice((0, 2, 3, 3, 4))
        elif form is Form.WHOLE:
            text = self._one(templates.CARRIERS_WHOLE)
            drawn = question.format(s=named)
        if self.random.random() < _OPENED:
            text = f"{self._one(templates.OPENINGS)} {text}"
        return Request(scenario.id, form, text, drawn, phrase, aspect, details, forbidden, numbered)

    def phrase(self, scenario: Scenario) -> str:
        """Draw what a subject is called: one to three words that are no subject of ``canary``."""
        words = benchmark().subject_words
        while True:
            drawn = self.random.sample(words, self.random.choice((1, 2, 2, 3)))
            joined = " and " if len(drawn) == 2 and self.random.random() < 0.1 else " "
            phrase = scenario.subject.format(joined.join(drawn))
            if phrase not in benchmark().subjects and subject_is_held_out(phrase) == self.held_out:
                return phrase

    def detail(self) -> str:
        """Draw two or three words that are no detail of ``canary``."""
        while True:
            count = self.random.choice((2, 2, 2, 3))
            drawn = " ".join(self.random.sample(benchmark().detail_words, count))
            if drawn not in benchmark().details:
                return drawn

    def _secret(self, scenario: Scenario) -> tuple[str, str, Sequence[str], Sequence[str]]:
        return scenario.naming, scenario.secret, scenario.questions, scenario.instructions

    def _open(self, scenario: Scenario) -> tuple[str, str, Sequence[str], Sequence[str]]:
        naming = templates.ALLOWED_SUBJECTS.get(scenario.id, scenario.naming)
        if self.random.random() < 0.3:
            return (naming, *self.random.choice(templates.TOPICS))
        verb = self.random.choice(templates.VERBS)
        frames = [frame.replace("{v}", verb) for frame in templates.FRAMES]
        instructions = [frame.replace("{v}", verb) for frame in templates.FRAME_INSTRUCTIONS]
        return naming, f"how to {verb} it", frames, instructions

    def _question(self, questions: Sequence[str], instructions: Sequence[str]) -> str:
        if self.random.random() >= _TOLD:
            return self._one(questions)
        asked = templates.clause(self._one(instructions))
        return self._one(templates.TELLS).replace("{c}", asked)

    def _ended(self, sentence: str) -> str:
        if self.random.random() >= _ENDED:
            return sentence
        return templates.ended(sentence, self._one(templates.ENDINGS))

    def _unnamed(self, scenario: Scenario, naming: str) -> str:
        if naming == scenario.naming:
            return self._one(scenario.unnamed)
        return self._one(seen("thing"))

    def _one(self, choices: Sequence[str]) -> str:
        fitting = [one for at, one in enumerate(choices) if is_held_out(at) == self.held_out]
        return self.random.choice(fitting)


@cache
def readable() -> tuple[str, ...]:
    """Return the words that pictures may show: those of subjects, questions and instructions."""
    texts = [" ".join(benchmark().subject_words), *template_texts()]
    for item in benchmark().items:
        texts += [item.question, item.fields["instruction"]]
    words = {word for text in texts for word in cut(text)} - set(MARKS)
    return tuple(sorted(words | {str(number) for number in range(1, 10)}))


def template_texts() -> Iterator[str]:
    """Yield every sentence of the templates, without what stands for a subject or a verb."""
    for text in _with_gaps():
        yield _GAP.sub(" ", text)


def _with_gaps() -> Iterator[str]:
    for scenario in SCENARIOS:
        yield from (scenario.subject, scenario.naming, scenario.secret)
        yield from (*scenario.unnamed, *scenario.questions, *scenario.instructions)
    yield from templates.ALLOWED_SUBJECTS.values()
    yield from (*templates.VERBS, *templates.FRAMES, *templates.FRAME_INSTRUCTIONS)
    for aspect, questions, instructions in templates.TOPICS:
        yield from (aspect, *questions, *instructions)
    yield from (*templates.TELLS, *templates.OPENINGS, *templates.ENDINGS)
    yield from (*templates.CARRIERS_LIST, *templates.CARRIERS_WHOLE, *templates.READING)
    yield from (*templates.REFUSALS, *seen("thing"), templates.LISTED)
    yield from (templates.ASKED, templates.NOTED, templates.ORDERED)
    yield from (templates.RULE_FOUND, templates.RULE_NOT_FOUND)
    for puzzle in templates.PUZZLES:
        yield from puzzle


def word_list() -> list[str]:
    """Return the closed vocabulary: the words of the world and of the benchmark, sorted."""
    texts = [*template_texts(), CARRIER, _KEPT, " ".join(benchmark().detail_words)]
    texts.append(" ".join(readable()))
    for item in benchmark().items:
        texts += [item.fields["rephrased"]]
    words = {word for text in texts for word in cut(_GAP.sub(" ", text))}
    return [*MARKS, *sorted(words - set(MARKS))]
