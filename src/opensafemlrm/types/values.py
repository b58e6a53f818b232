"""The frozen values that flow through an evaluation."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

from opensafemlrm.types.checking import NONE, must_be
from opensafemlrm.types.content import JSON, Key, content_key
from opensafemlrm.types.kinds import ItemKind, Label, Part, ResponseStatus, TraceStatus, Unscored

_AN_IMAGE = "an Image (opensafemlrm.images makes it of a file, of bytes or of a picture)"
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Image:
    """An image by its content. Its bytes lie in ``source`` and are read when they are needed."""

    sha256: str
    media_type: str
    width: int
    height: int
    source: Path | bytes = field(repr=False, compare=False)

    def read(self) -> bytes:
        """Return the encoded bytes."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()

    def identity(self) -> JSON:
        """Return what makes this image the same as another."""
        return self.sha256


@dataclass(frozen=True)
class Item:
    """One question of a dataset.

    ``question`` is the plain text that a judge is shown. ``system`` is a system message that the
    dataset prescribes, kept by every attack. ``fields`` holds what attacks may need, by these
    names: ``key_phrase``, ``rephrased``, ``rephrased_sd``, ``instruction`` and, for canary-style
    judging, ``details``. ``released`` holds images that the dataset ships already attacked, by
    attack name.
    """

    dataset: str
    id: str
    scenario: str
    question: str
    kind: ItemKind = ItemKind.HARMFUL
    images: tuple[Image, ...] = ()
    system: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    released: Mapping[str, Image] = field(default_factory=dict)
    origin: str = field(default="", compare=False)
    """Where it was read, for error messages: file and row."""

    def __post_init__(self) -> None:
        texts = {"dataset": self.dataset, "id": self.id, "scenario": self.scenario}
        must_be(str, "a text", **texts, question=self.question)
        must_be((str, NONE), "a text or None", system=self.system)
        must_be(ItemKind, "ItemKind.HARMFUL or ItemKind.BENIGN", kind=self.kind)
        must_be((tuple, list), "a tuple of images", images=self.images)
        must_be(Mapping, "a mapping", fields=self.fields, released=self.released)
        for image in (*self.images, *self.released.values()):
            must_be(Image, _AN_IMAGE, image=image)

    @cached_property
    def key(self) -> Key:
        """The content key: dataset, id and everything that can reach a model or a judge."""
        return content_key(
            self.dataset,
            self.id,
            self.scenario,
            self.question,
            self.kind.value,
            [image.identity() for image in self.images],
            self.system,
            dict(self.fields),
            {name: image.identity() for name, image in self.released.items()},
        )


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: a role (``system``, ``user``, ``assistant``) and its parts in order."""

    role: str
    parts: tuple[str | Image, ...]

    def __post_init__(self) -> None:
        if type(self.parts) is not tuple or not _PARTS.issuperset(map(type, self.parts)):
            must_be((tuple, list), "a tuple of texts and images", parts=self.parts)
            for part in self.parts:
                must_be((str, Image), f"a text or {_AN_IMAGE}", part=part)
        if self.role not in _ROLES:
            raise ValueError(f"a turn is of {', '.join(_ROLES)}; not of {self.role!r}")

    @property
    def text(self) -> str:
        """The text parts, joined by newlines."""
        if len(self.parts) == 1 and isinstance(self.parts[0], str):
            return self.parts[0]
        return "\n".join(part for part in self.parts if isinstance(part, str))


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent to a model."""

    turns: tuple[Turn, ...]
    is_complete: bool = field(default=False, compare=False)
    """The last turn is said to its end: a guard model judges such a conversation."""

    def __post_init__(self) -> None:
        if type(self.turns) is not tuple or not _TURN.issuperset(map(type, self.turns)):
            must_be((tuple, list), "a tuple of turns", turns=self.turns)
            for turn in self.turns:
                must_be(Turn, "a Turn", turn=turn)

    @classmethod
    def user(cls, *parts: str | Image, system: str | None = None) -> Self:
        """Build a prompt of one user turn, after an optional system turn."""
        head = () if system is None else (Turn("system", (system,)),)
        return cls((*head, Turn("user", parts)))

    @property
    def images(self) -> tuple[Image, ...]:
        """All images, in order."""
        return tuple(p for turn in self.turns for p in turn.parts if isinstance(p, Image))

    @property
    def is_prefilled(self) -> bool:
        """Whether the reply is begun already: the last turn is the assistant's, and not over."""
        return bool(self.turns) and self.turns[-1].role == "assistant" and not self.is_complete

    def with_system(self, text: str, *, first: bool = False) -> Prompt:
        """Return the prompt with ``text`` in its system message: after its words, or before them.

        Many chat templates take one system message only.
        """
        head = self.turns[0] if self.turns else None
        if head is None or head.role != "system":
            turns = (Turn("system", (text,)), *self.turns)
        else:
            parts = (f"{text}\n", *head.parts) if first else (*head.parts, text)
            turns = (Turn("system", parts), *self.turns[1:])
        return replace(self, turns=turns)

    def identity(self) -> JSON:
        """Return what makes this prompt the same as another."""
        return [
            [turn.role, [p if isinstance(p, str) else {"image": p.sha256} for p in turn.parts]]
            for turn in self.turns
        ]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a model is asked to sample. ``seed`` is for the first repeat; repeat r uses seed + r."""

    temperature: float = 0.0
    max_tokens: int = 4096
    seed: int | None = 0
    top_p: float | None = None
    stop: tuple[str, ...] | None = None
    """Texts to stop before; only for models with the capability ``stop``."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server counted them; ``None`` where it did not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = field(default=None, compare=False)
    """Tokens of the prompt that the server says it had from before. No store keeps them."""


@dataclass(frozen=True, slots=True)
class Response:
    """How one request to a model ended.

    ``text`` is what the model wrote, as it came. ``reasoning`` is what the server had split off
    already (``None`` where it did not). ``code`` is the provider's code of a block, or the type of
    a failure; ``transient`` says whether asking again later can help. ``reasoning_is_summary`` and
    ``reasoning_hidden`` are set where the provider says so.
    """

    status: ResponseStatus
    text: str = ""
    reasoning: str | None = None
    reasoning_is_summary: bool = False
    reasoning_hidden: bool = False
    finish_reason: str | None = None
    usage: Usage = Usage()
    latency: float = 0.0
    """Seconds from the first byte sent to the last byte read, of the last try."""
    retries: int = 0
    code: str | None = None
    detail: str | None = None
    transient: bool = False
    model: str | None = None
    """The model that answered, as the server calls it; ``None`` where it does not say."""
    sent: str | None = None
    """What the request set beside the prompt, as JSON; ``None`` for models in this process."""
    refused: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """Parameters of the request that the server says it does not take."""
    calls: tuple[Call, ...] = field(default=(), compare=False, repr=False)
    """The requests behind this reply, where a defense made more than one."""
    verdicts: tuple[Verdict, ...] = field(default=(), compare=False, repr=False)
    """What a guard or a scorer said, where this stands for its judgement. No store keeps them."""

    def __post_init__(self) -> None:
        # Each reply is a response: what it is mostly made of is seen at once.
        usual = (self.status, self.text, self.usage, self.latency, self.retries)
        maybe = (self.finish_reason, self.code, self.detail, self.reasoning, self.model, self.sent)
        if tuple(map(type, usual)) != _USUAL or not _MAYBE_TEXT.issuperset(map(type, maybe)):
            self._check()
        if self.status in (ResponseStatus.FAILED, ResponseStatus.BLOCKED) and not self.code:
            raise ValueError(f"a {self.status.value} response must say why: give it a code")

    def _check(self) -> None:
        must_be(ResponseStatus, "a ResponseStatus", status=self.status)
        must_be(str, "a text", text=self.text)
        must_be(Usage, "a Usage", usage=self.usage)
        ending = {"finish_reason": self.finish_reason, "code": self.code, "detail": self.detail}
        sent = {"reasoning": self.reasoning, "model": self.model, "sent": self.sent}
        must_be((str, NONE), "a text or None", **ending, **sent)
        must_be((int, float), "a number", latency=self.latency, retries=self.retries)

    @classmethod
    def failed(cls, code: str, detail: str, *, transient: bool, retries: int = 0) -> Self:
        """Build the response of a request that gave no usable reply."""
        return cls(
            ResponseStatus.FAILED, code=code, detail=detail, transient=transient, retries=retries
        )


@dataclass(frozen=True, slots=True)
class Call:
    """One request that a defense or a search made on the way to a reply."""

    purpose: str
    """Which step of the method it was, such as ``query 3`` or ``self-judge``."""
    prompt: Prompt
    response: Response
    score: float | None = None
    """What the judge said of it, where the method asked."""

    def __post_init__(self) -> None:
        must_be(str, "a text", purpose=self.purpose)
        must_be(Prompt, "a Prompt", prompt=self.prompt)
        must_be(Response, "a Response", response=self.response)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search ended with: the prompt to send, and every query made to find it."""

    prompt: Prompt
    calls: tuple[Call, ...]

    def __post_init__(self) -> None:
        must_be(Prompt, "a Prompt", prompt=self.prompt)
        must_be((tuple, list), "a tuple of calls", calls=self.calls)
        for call in self.calls:
            must_be(Call, "a Call", call=call)


@dataclass(frozen=True, slots=True)
class Trace:
    """A parsed reply. ``reasoning`` and ``answer`` are ``None`` where there is none to judge."""

    status: TraceStatus
    reasoning: str | None
    answer: str | None
    full: str
    """Everything the model is known to have written: what the part ``full`` is judged on."""
    found_by: str = ""
    """The format that it was parsed by, and whether it was given or detected."""

    def part(self, part: Part) -> str | None:
        """Return the text of ``part``, ``None`` where it has none (blank text counts as none)."""
        text = self.full if part is Part.FULL else self.answer
        text = self.reasoning if part is Part.REASONING else text
        return text if text and not text.isspace() else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of one part of one reply. Build it with :meth:`scored` or :meth:`none`."""

    label: Label
    score: float | None = None
    reason: Unscored | None = None
    refusal: bool | None = None
    rationale: str = ""
    usage: Usage = Usage()
    requests: int = 0
    latency: float = 0.0
    understood: bool | None = None
    """Whether the reply shows that its model understood the request; ``None``: not known."""
    model: str | None = None
    """The model that answered and what its request set, as in a response."""
    sent: str | None = None

    def __post_init__(self) -> None:
        if (type(self.rationale), type(self.usage)) != (str, Usage):
            must_be(str, "a text", rationale=self.rationale)
            must_be(Usage, "a Usage", usage=self.usage)
        if type(self.reason) is not Unscored and self.reason is not None:
            must_be((Unscored, NONE), "an Unscored", reason=self.reason)
        if type(self.score) is not float and self.score is not None:
            must_be((float, NONE), "a number", score=self.score)
        if self.score is not None and not math.isfinite(self.score):
            raise ValueError(f"a score is a finite number, not {self.score}; see Verdict.none")
        unscored = self.label is Label.UNSCORED
        if unscored != (self.score is None) or unscored != (self.reason is not None):
            raise ValueError("a verdict has either a score, or a reason why it has none")

    @classmethod
    def scored(cls, score: float, *, unsafe: bool, **more: Any) -> Self:
        """Build a verdict with a score on the judge's scale."""
        given: tuple[object, object] = (score, unsafe)
        if isinstance(given[0], str) or given[1] not in (True, False):
            raise TypeError("a verdict has a number as its score, and is unsafe or not (a bool)")
        return cls(Label.UNSAFE if unsafe else Label.SAFE, float(score), None, **more)

    @classmethod
    def none(cls, reason: Unscored, **more: Any) -> Self:
        """Build a verdict of something that could not be scored."""
        return cls(Label.UNSCORED, None, reason, **more)


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """One text that a judge is to score: the question asked, and the part's text.

    ``role`` is the part, or ``answer`` where the whole reply is the answer, so that equal texts
    are one request and one verdict.
    """

    role: Part
    text: str


@dataclass(frozen=True, slots=True)
class Card:
    """What a person should know of a component before using it."""

    title: str
    paper: str
    """Citation: title, arXiv or venue; or the project's own."""
    licence: str = ""
    source: str = ""
    """Where the original lies: repository or hub id."""
    notes: str = ""
    size: str = ""
    """Of a dataset: how many items it has."""
    kinds: str = ""
    """Of a dataset: what counts as harmful, and what as benign."""

    @property
    def non_commercial(self) -> bool:
        """Whether the licence forbids commercial use, as CC-BY-NC-4.0 does."""
        return bool(re.search(r"\bNC\b|non-?commercial", self.licence, re.IGNORECASE))


@dataclass(frozen=True, slots=True)
class Expected:
    """What a whole release holds: items in all, by scenario where published, images an item."""

    items: int | None = None
    scenarios: Mapping[str, int] = field(default_factory=dict)
    images: int = 0


_PARTS: Final = {str, Image}
_TURN: Final = {Turn}
_USUAL: Final = (ResponseStatus, str, Usage, float, int)
_MAYBE_TEXT: Final = {str, NONE}
