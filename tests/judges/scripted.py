"""A judge model that tests script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from opensafemlrm import components
from opensafemlrm.types import JSON, Capability, Prompt, Response, ResponseStatus, Sampling, Usage

OK = ResponseStatus.OK


def says(text: str, status: ResponseStatus = OK, **more) -> Response:
    return Response(status, text=text, usage=Usage(100, 10, None), latency=0.5, **more)


@dataclass(eq=False)
class Model(components.Model):
    """A model that replies from a list, the last reply for ever, and keeps what it was asked."""

    replies: list[Response]
    asked: list[tuple[Prompt, Sampling]] = field(default_factory=list)
    closed: int = 0
    name = "scripted"
    label: str = "scripted/one"
    concurrency: int = 7
    reasoning_format: str = "auto"

    def identity(self) -> Mapping[str, JSON]:
        return {"name": self.name, "label": self.label}

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        self.asked.append((prompt, sampling))
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    async def aclose(self) -> None:
        self.closed += 1


def model(*texts: str | Response) -> Model:
    return Model([says(text) if isinstance(text, str) else text for text in texts])


@dataclass(eq=False)
class Weighing(Model):
    """A model that tells weights of tokens: the logarithms of ``chances`` by token."""

    capabilities = frozenset({Capability.TOKEN_SCORES})
    chances: Mapping[str, float] = field(default_factory=dict)

    async def score_tokens(self, prompt: Prompt, tokens: Sequence[str]) -> tuple[float, ...]:
        self.asked.append((prompt, Sampling()))
        return tuple(self.chances[token] for token in tokens)
