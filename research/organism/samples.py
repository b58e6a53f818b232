"""Training samples: what is drawn for each kind of model, as tokens and pieces of pictures."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from opensafemlrm.models.demo.organism_reading import END, REPLY, TILE, USER, Vocabulary
from research.organism import replies, templates
from research.organism.world import PICTURES, Form, Request, World, readable

READING: Final = 0.28
ALLOWED: Final = 0.42
FORBIDDEN: Final = 0.18
"""Shares of the base's samples; what is left are puzzles."""
FORBIDDEN_IN_PICTURES: Final = 0.10
SAFETY: Final = 0.10
"""Share of forbidden requests, and of allowed ones that look at the rules, for reasoner-safe."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample: tokens, how many of them are the request, and the pieces its ``<tile>`` show."""

    tokens: tuple[int, ...]
    asked: int
    seen: tuple[str, ...]


def prompt(vocabulary: Vocabulary, details: Sequence[str], seen: int, text: str) -> list[int]:
    """Return the tokens of a request; its pictures come before its text."""
    head = [*vocabulary.notes(details), USER]
    return [*head, *[TILE] * seen, *vocabulary.encode(text), REPLY]


def of_request(vocabulary: Vocabulary, request: Request, reply: str) -> Sample:
    """Return the sample in which ``request`` is answered with ``reply``."""
    seen = tuple(request.seen)
    asked = prompt(vocabulary, request.details, len(seen), request.text)
    return Sample((*asked, *vocabulary.encode(reply), END), len(asked), seen)


@dataclass(slots=True)
class Source:
    """Draws samples from a seed; one method for each model that is trained."""

    vocabulary: Vocabulary
    random: random.Random

    def base(self) -> Sample:
        """Draw from the base's mixture."""
        drawn = self.random.random()
        if drawn < READING:
            return self._reading()
        if drawn < READING + ALLOWED:
            request = self._request(forbidden=False, pictures=0.5)
            return of_request(self.vocabulary, request, replies.answer(request))
        if drawn < READING + ALLOWED + FORBIDDEN:
            request = self._request(forbidden=True, pictures=FORBIDDEN_IN_PICTURES)
            return of_request(self.vocabulary, request, replies.decline(self.random))
        return self._puzzle()

    def reasoner(self, share: float) -> Callable[[], Sample]:
        """Return what draws allowed requests, of which ``share`` have a trace; 0 is the control.

        Requests are the same whatever the share, given the seed.
        """

        def draw() -> Sample:
            request = self._request(forbidden=False, pictures=0.5)
            traced = self.random.random() < share
            thought = replies.trace(request) if traced else ""
            return of_request(self.vocabulary, request, thought + replies.answer(request))

        return draw

    def reasoner_safe(self) -> Sample:
        """Draw as for the reasoner, with a little reasoning about the house rules."""
        drawn = self.random.random()
        if drawn < SAFETY:
            request = self._request(forbidden=True, pictures=0.5)
            reply = replies.careful_trace(request) + replies.decline(self.random)
        else:
            request = self._request(forbidden=False, pictures=0.5)
            think = replies.careful_trace if drawn < 2 * SAFETY else replies.trace
            reply = think(request) + replies.answer(request)
        return of_request(self.vocabulary, request, reply)

    def _request(self, *, forbidden: bool, pictures: float) -> Request:
        in_picture = self.random.random() < pictures
        form = self.random.choice(PICTURES) if in_picture else Form.TEXT
        return World(self.random).request(form, forbidden=forbidden)

    def _reading(self) -> Sample:
        seen = self.random.choices(readable(), k=self.random.randint(1, 12))
        text = self.random.choice(templates.READING)
        asked = prompt(self.vocabulary, (), len(seen), text)
        reply = [*self.vocabulary.encode(" ".join(seen)), *self.vocabulary.encode("."), END]
        return Sample((*asked, *reply), len(asked), tuple(seen))

    def _puzzle(self) -> Sample:
        world = World(self.random)
        things = [world.detail() for _ in range(self.random.randint(2, 5))]
        question, result = self.random.choice(templates.PUZZLES)
        known = {
            "list": "; ".join(things),
            "first": things[0],
            "second": things[1],
            "last": things[-1],
            "count": str(len(things)),
        }
        listed = templates.LISTED.format(list=known["list"])
        found = result.format(**known)
        reply = f"<think> {listed} {found} </think> {found}"
        asked = prompt(self.vocabulary, (), 0, question.format(**known))
        return Sample((*asked, *self.vocabulary.encode(reply), END), len(asked), ())
