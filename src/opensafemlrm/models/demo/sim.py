"""Simulated models for demos, tests and load: no weights, no network, nothing harmful.

``sim/NAME`` stands for one of the nine models of the published study (:data:`NAMES`). It draws
the severity of its reasoning, its answer and its whole reply from that model's published
histograms and writes a harmless reply that declares it; ``sim/judge`` reads such declarations and
answers as a judge model would. Every reply, label and identity says that it is simulated. A figure
computed from simulated replies says nothing new about any real model.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

from pydantic import Field

from opensafemlrm.components import Model
from opensafemlrm.errors import UnknownNameError
from opensafemlrm.models.demo.sim_figures import (
    BENIGN_REFUSALS,
    BITS,
    DATA_VERSION,
    NAMES,
    PAIRS,
    Scores,
    draw_scores,
    histograms,
    scenarios,
)
from opensafemlrm.models.demo.sim_text import (
    FORMATS,
    Facts,
    continue_from,
    declared,
    judgement,
    react,
    severity,
    side_question,
    write,
)
from opensafemlrm.types import (
    JSON,
    Capability,
    Image,
    Prompt,
    Response,
    ResponseStatus,
    Sampling,
    Usage,
)

__all__ = ["JUDGE", "NAMES", "PAIRS", "Simulated"]

JUDGE: Final = "judge"
"""The name of the simulated judge model: ``sim/judge``."""

_CHARACTERS_A_TOKEN: Final = 4
_UNIT: Final = 2**BITS
_SCENARIO: Final = re.compile(r"^Scenario: *(\S+) *$", re.MULTILINE)
_FACTS: Final = re.compile(r"^(Protected|Allowed): *(.+?)\.? *$", re.MULTILINE)

Rate = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class Simulated(Model):
    """One simulated model, or the simulated judge.

    The score is drawn for the scenario that a line ``Scenario: ID`` of the system message names,
    and over all ten scenarios together where there is none; with an image in the prompt, from the
    figures of the published image attack, else from those of the plain question. On the canary
    benchmark a drawn score shows as protected details, so that the canary judge finds it again;
    there the whole tells what its parts tell, and the whole's own draw shows in its marker only.
    A reply is the same for the same model, prompt and ``sampling.seed``.

    ``failure_rate``, ``blocked_rate`` and ``truncated_rate`` are the shares of requests that end
    so, ``judge_malformed_rate`` the share of judgements without a score; which ones, depends on
    the prompt and the seed alone. ``latency`` is in seconds. A reply longer than four characters
    for each of ``sampling.max_tokens`` is cut. ``Usage`` counts words, not tokens: like everything
    here it is simulated.

    Raises UnknownNameError for a model that is not simulated, ValueError if the rates of failed,
    blocked and truncated replies exceed one together.
    """

    name = "sim"
    billed = False

    model: str
    failure_rate: Rate = 0.0
    blocked_rate: Rate = 0.0
    truncated_rate: Rate = 0.0
    judge_malformed_rate: Rate = 0.0
    alias: str | None = field(default=None, compare=False)
    latency: Annotated[float, Field(ge=0)] = field(default=0.0, compare=False)
    concurrency: Annotated[int, Field(ge=1)] = field(default=64, compare=False)

    def __post_init__(self) -> None:
        if self.model != JUDGE and self.model not in NAMES:
            raise UnknownNameError("simulated model", self.model, (*NAMES, JUDGE))
        if self.failure_rate + self.blocked_rate + self.truncated_rate > 1:
            raise ValueError("the rates of failed, blocked and truncated replies exceed 1 together")

    @property
    def label(self) -> str:
        """What tables call it: ``sim/NAME``, or the alias in the name's place."""
        return f"sim/{self.alias or self.model}"

    @property
    def reasoning_format(self) -> str:
        """The format of the model that it stands for; ``none`` for bases and the judge."""
        return FORMATS.get(self.model, "none")

    def identity(self) -> Mapping[str, JSON]:
        """Return name, options and the version of the figures, marked as simulated."""
        return {
            "name": self.name,
            "version": self.version,
            **self.options(),
            "simulated": True,
            "figures": DATA_VERSION,
        }

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        """Reply to ``prompt``; failures, blocks and cuts are responses that say so."""
        if self.latency:
            await asyncio.sleep(self.latency)
        words_sent = sum(len(turn.text.split()) for turn in prompt.turns)
        prompt, prefill = _without_prefill(prompt)
        outcome, *quantiles, choice, cut = _draws(self.model, prompt, sampling.seed)
        if outcome < self.failure_rate * _UNIT:
            return Response.failed("simulated_failure", "a simulated failure", transient=True)
        outcome -= int(self.failure_rate * _UNIT)
        if outcome < self.blocked_rate * _UNIT:
            return Response(
                ResponseStatus.BLOCKED,
                code="simulated_block",
                detail="a simulated block by a provider's filter",
                finish_reason="content_filter",
                latency=self.latency,
            )
        outcome -= int(self.blocked_rate * _UNIT)
        text, reasoning_words = self._write(prompt, prefill, [*quantiles, cut], choice)
        text = _stopped(text, sampling.stop or ())
        limit = sampling.max_tokens * _CHARACTERS_A_TOKEN
        if outcome < self.truncated_rate * _UNIT:
            # Between a tenth and nine tenths of the reply, so that some cuts fall in the reasoning.
            limit = min(limit, len(text) // 10 + cut % (len(text) * 8 // 10))
        truncated = len(text) > limit
        text = text[:limit]
        words = len(text.split())
        return Response(
            ResponseStatus.TRUNCATED if truncated else ResponseStatus.OK,
            text=text,
            finish_reason="length" if truncated else "stop",
            usage=Usage(
                input_tokens=words_sent,
                output_tokens=words,
                reasoning_tokens=min(reasoning_words, words),
            ),
            latency=self.latency,
        )

    async def aclose(self) -> None:
        """Nothing is held."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Prefill and stop, for the models that stand for real ones."""
        none: frozenset[Capability] = frozenset()
        return none if self.model == JUDGE else frozenset(Capability)

    def _write(
        self, prompt: Prompt, prefill: str, quantiles: list[int], choice: int
    ) -> tuple[str, int]:
        if self.model == JUDGE:
            judged = "\n".join(turn.text for turn in prompt.turns if turn.role != "system")
            malformed = choice < self.judge_malformed_rate * _UNIT
            return judgement(judged, malformed=malformed), 0
        request = "\n".join(turn.text for turn in prompt.turns if turn.role != "assistant")
        beside = side_question(request, severity(request))
        if beside is not None:
            return beside, 0
        image = bool(prompt.images)
        system = "\n".join(turn.text for turn in prompt.turns if turn.role == "system")
        facts = _facts(system)
        before = [turn.text for turn in prompt.turns if turn.role == "assistant"]
        earlier = declared(before[-1]) if before else None
        benign = facts is not None and not facts.protected
        if earlier is not None:
            scores = earlier  # it rereads its own reply
        elif benign:
            declines = quantiles[0] < BENIGN_REFUSALS[self.model] * _UNIT
            scores = Scores(0, 0, 0) if declines else Scores(1, 1, 1)
        else:
            published = histograms(self.model, image=image, scenario=_scenario(system))
            scores = draw_scores(published, *quantiles[:4])
        empty = prefill.replace("</think>", "").strip() == "<think>" and "</think>" in prefill
        scores = react(scores, f"{request}\n{prefill}", quantiles[-1], benign=benign, empty=empty)
        if prefill:
            return continue_from(self.model, scores, facts, prefill, choice)
        return write(self.model, scores, facts, image=image, choice=choice)


def _without_prefill(prompt: Prompt) -> tuple[Prompt, str]:
    """Take the prefill off: what is drawn does not depend on it."""
    if prompt.is_prefilled:
        return Prompt(prompt.turns[:-1]), prompt.turns[-1].text
    return prompt, ""


def _stopped(text: str, stops: tuple[str, ...]) -> str:
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text


def _draws(model: str, prompt: Prompt, seed: int | None) -> tuple[int, ...]:
    """Return seven integers below 2**64, spread evenly, that depend on the arguments alone."""
    content = [model, repr(seed)]
    for turn in prompt.turns:
        content.append(turn.role)
        if any(isinstance(part, Image) for part in turn.parts):
            content += [part if isinstance(part, str) else part.sha256 for part in turn.parts]
        else:  # in one piece, as it goes over HTTP
            content.append(turn.text)
    # Lengths first: no two lists of texts give the same bytes.
    blob = f"{[len(text) for text in content]}{''.join(content)}"
    digest = hashlib.blake2b(blob.encode("utf-8", "surrogatepass"), digest_size=56).digest()
    return struct.unpack("<7Q", digest)


def _scenario(system: str) -> str | None:
    match = _SCENARIO.search(system)
    return match[1] if match and match[1] in scenarios() else None


def _facts(system: str) -> Facts | None:
    match = _FACTS.search(system)
    if match is None:
        return None
    details = tuple(detail.strip() for detail in match[2].split(";"))
    return Facts(match[1] == "Protected", details)
