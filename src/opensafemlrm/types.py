"""The values that flow through an evaluation, and the protocols of what makes them.

::

    Item → attack → Prompt → (defense∘)model → Response → split → Trace → judge → Verdict

Datasets, attacks, defenses, models and judges are components: frozen dataclasses whose fields are
their options, with a ``name`` and a ``version`` of number and letter. The number changes when
scores stop being comparable, the letter at any other change.

All values are frozen. An outcome cannot lie: a :class:`Response` that failed, was blocked or was
cut is never an answer, and a :class:`Verdict` without a score is never "safe".
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeAlias, runtime_checkable

import orjson

from opensafemlrm.errors import DatasetError

if TYPE_CHECKING:
    from typing import Self

JSON: TypeAlias = "Mapping[str, JSON] | Sequence[JSON] | str | int | float | bool | None"
Key: TypeAlias = bytes
"""A content key: the first 16 bytes of a SHA-256."""

_CANONICAL: Final = (
    orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
)


def content_key(*parts: Any) -> Key:
    """Return the 16-byte key of ``parts`` (JSON values or bytes), equal for equal content.

    Keys of mappings are sorted, so the order in which options are written does not matter. Text
    may hold any code point, lone surrogates included.
    """
    pieces: list[bytes] = []
    for part in parts:
        blob = part if isinstance(part, bytes) else canonical_json(part)
        pieces += (b"%d:" % len(blob), blob)
    return hashlib.sha256(b"".join(pieces)).digest()[:16]


def canonical_json(value: Any) -> bytes:
    """Serialise ``value`` so that equal content gives equal bytes.

    Raises ValueError for NaN and infinities, and TypeError for what is not JSON.
    """
    try:
        blob = orjson.dumps(value, option=_CANONICAL)
    except TypeError:
        # Lone surrogates and whole numbers beyond 64 bits, which only the standard library writes.
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    if value is not None and b"null" in blob:
        json.dumps(value, allow_nan=False)  # orjson writes NaN as null, which is something else
    return blob


class Kind(StrEnum):
    """What a safe model should do with an item: turn it down, or help."""

    HARMFUL = "harmful"
    BENIGN = "benign"


class Part(StrEnum):
    """The part of a reply that is judged."""

    REASONING = "reasoning"
    ANSWER = "answer"
    FULL = "full"


class Capability(StrEnum):
    """What a model can do beyond a plain reply: the members of its property ``capabilities``."""

    PREFILL = "prefill"
    """It goes on from a last turn of the assistant, and gives back only what is new."""
    STOP = "stop"
    """It stops before the first of ``Sampling.stop``."""


class ResponseStatus(StrEnum):
    """How a request for a reply ended."""

    OK = "ok"
    TRUNCATED = "truncated"
    """Cut by the token limit: what came is kept, but it is not an answer."""
    BLOCKED = "blocked"
    """Refused by the provider's filter, not by the model: an outcome of its own."""
    FAILED = "failed"
    """No usable reply after all retries."""


class TraceStatus(StrEnum):
    """What is known of a reply's reasoning."""

    CLOSED = "closed"
    """The reasoning is there and its end is known."""
    UNCLOSED = "unclosed"
    """The reasoning began and never ended: there is no answer."""
    ABSENT = "absent"
    """The model wrote no reasoning: the whole reply is the answer."""
    HIDDEN = "hidden"
    """The provider kept the reasoning back: it cannot be judged."""
    SUMMARY = "summary"
    """The provider gave a summary in place of the reasoning."""


class Label(StrEnum):
    """What a judge found."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    UNSCORED = "unscored"


class Unscored(StrEnum):
    """Why something has no score. None of these is ever counted as safe or as unsafe."""

    FAILED = "failed"
    BLOCKED = "blocked"
    TRUNCATED = "truncated"
    NO_TEXT = "no_text"
    JUDGE_FAILED = "judge_failed"
    JUDGE_REFUSED = "judge_refused"
    UNPARSED = "unparsed"
    NOT_APPLICABLE = "not_applicable"
    """The judge does not score this part."""
    NOT_JUDGED = "not_judged"
    """The run stopped between the reply and its verdicts."""
    NOT_RECORDED = "not_recorded"
    """Imported results that do not say why they hold no score."""


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


@dataclass(frozen=True, slots=True)
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
    kind: Kind = Kind.HARMFUL
    images: tuple[Image, ...] = ()
    system: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    released: Mapping[str, Image] = field(default_factory=dict)
    origin: str = field(default="", compare=False)
    """Where it was read, for error messages: file and row."""
    _key: list[Key] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def key(self) -> Key:
        """The content key: dataset, id and everything that can reach a model or a judge."""
        if not self._key:
            self._key.append(
                content_key(
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
            )
        return self._key[0]


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: a role (``system``, ``user``, ``assistant``) and its parts in order."""

    role: str
    parts: tuple[str | Image, ...]

    @property
    def text(self) -> str:
        """The text parts, joined by newlines."""
        return "\n".join(part for part in self.parts if isinstance(part, str))


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent to a model."""

    turns: tuple[Turn, ...]
    is_over: bool = field(default=False, compare=False)
    """The last turn is said to its end: a guard model judges such a conversation."""

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
    def is_begun(self) -> bool:
        """Whether the reply is begun already: the last turn is the assistant's, and not over."""
        return bool(self.turns) and self.turns[-1].role == "assistant" and not self.is_over

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
    calls: tuple[Call, ...] = field(default=(), compare=False, repr=False)
    """The requests behind this reply, where a defense made more than one."""

    def __post_init__(self) -> None:
        if self.status in (ResponseStatus.FAILED, ResponseStatus.BLOCKED) and not self.code:
            raise ValueError(f"a {self.status.value} response must say why: give it a code")

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


@dataclass(frozen=True, slots=True)
class Found:
    """What a search ended with: the prompt to send, and every query made to find it."""

    prompt: Prompt
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """A reply, split. ``reasoning`` and ``answer`` are ``None`` where there is none to judge."""

    status: TraceStatus
    reasoning: str | None
    answer: str | None
    full: str
    """Everything the model is known to have written: what the part ``full`` is judged on."""
    found_by: str = ""
    """The format that split it, and whether it was given or detected."""

    def part(self, part: Part) -> str | None:
        """Return the text of ``part``, ``None`` where it has none (blank text counts as none)."""
        text = {Part.REASONING: self.reasoning, Part.ANSWER: self.answer, Part.FULL: self.full}[
            part
        ]
        return text if text and text.strip() else None


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

    def __post_init__(self) -> None:
        unscored = self.label is Label.UNSCORED
        if unscored != (self.score is None) or unscored != (self.reason is not None):
            raise ValueError("a verdict has either a score, or a reason why it has none")

    @classmethod
    def scored(cls, score: float, *, unsafe: bool, **more: Any) -> Self:
        """Build a verdict with a score on the judge's scale."""
        return cls(Label.UNSAFE if unsafe else Label.SAFE, float(score), None, **more)

    @classmethod
    def none(cls, reason: Unscored, **more: Any) -> Self:
        """Build a verdict of something that could not be scored."""
        return cls(Label.UNSCORED, None, reason, **more)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval. ``value`` is ``None`` where nothing was measured."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    unscored: int = 0
    method: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """One text that a judge is to score: the question asked, and the part's text.

    ``role`` is the part, or ``answer`` where the whole reply is the answer, so that equal texts
    are one request and one verdict.
    """

    role: Part
    text: str


ALL_DEVICES: Final = "auto"
"""A device's name for all that there are."""

PARTS: Final = (Part.REASONING, Part.ANSWER, Part.FULL)


@dataclass(frozen=True, slots=True)
class Card:
    """What a person should know of a dataset, an attack or a judge before using it."""

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


class Dataset(Protocol):
    """A benchmark. Iterating reads it lazily and yields the same items in the same order.

    Raises DatasetError (or ImageError) for a bad row; iteration can go on after it only through
    ``rows``, which yields errors in place of items.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    card: ClassVar[Card]

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items, and for each bad row the error that says what is wrong with it."""
        ...


class Attack(Protocol):
    """A transform: pure, and the same for the same item and seed.

    An attack (or a search) that stands on something the dataset has to ship has a method
    ``check(item)`` as well, which raises AttackError where the dataset of ``item`` lacks it, so
    that a dry run can tell. One that holds a model has ``aclose()``.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    card: ClassVar[Card]

    def apply(self, item: Item, seed: int) -> Prompt:
        """Return the prompt that carries ``item``. Raises AttackError where it cannot."""
        ...


@runtime_checkable
class Search(Protocol):
    """An attack that asks the target, and a judge, until it has the prompt it wants.

    The engine sends the prompt it found as it sends any other, and stores every query.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    card: ClassVar[Card]

    async def search(self, item: Item, target: Model, judge: Judge, sampling: Sampling) -> Found:
        """Return the prompt that carries ``item``. Raises AttackError where it cannot.

        ``sampling.seed`` seeds the search too. Queries that fail are data, as in Model.generate.
        """
        ...


class Model(Protocol):
    """Something that replies. One method; batching and connections are its own affair."""

    name: ClassVar[str]
    version: ClassVar[str]

    @property
    def label(self) -> str:
        """What tables call it, such as ``openai/gpt-4o`` or ``sim/r1-onevision-7b``."""
        ...

    @property
    def concurrency(self) -> int:
        """How many requests it can take at once."""
        ...

    @property
    def reasoning_format(self) -> str:
        """The name of its reasoning format, or ``auto``."""
        ...

    def identity(self) -> Mapping[str, JSON]:
        """Return what makes its replies comparable: name, revision, options that change text."""
        ...

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        """Send ``prompt``; a request that fails is a Response, not an exception.

        Raises ModelError only where no further request can succeed either.
        """
        ...

    async def aclose(self) -> None:
        """Release connections and memory. May be called twice."""
        ...


@runtime_checkable
class ScoresTokens(Protocol):
    """A model that tells how likely it finds given tokens, for judges that are classifiers."""

    async def score_tokens(self, prompt: Prompt, tokens: Sequence[str]) -> tuple[float, ...]:
        """Return the log-probability of each of ``tokens`` as the reply's first token.

        Raises ModelError where one of them is more than one token to this model.
        """
        ...


class Defense(Protocol):
    """A wrapper that gives back a Model: the engine never knows."""

    name: ClassVar[str]
    version: ClassVar[str]
    card: ClassVar[Card]

    def wrap(self, model: Model) -> Model:
        """Return ``model``, defended."""
        ...


class Judge(Protocol):
    """Something that scores the parts of a reply.

    ``thresholds`` and ``scale`` are the class's own, but for judges made of judges.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    card: ClassVar[Card]

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Scores from which a part counts as unsafe, lenient first."""
        ...

    @property
    def scale(self) -> tuple[float, float]:
        """The least and the greatest score."""
        ...

    @property
    def concurrency(self) -> int:
        """How many items it can judge at once."""
        ...

    def identity(self) -> Mapping[str, JSON]:
        """Return what makes its verdicts comparable: version, parameters, its model's identity."""
        ...

    def context(self, item: Item) -> JSON:
        """Return what of ``item``, beside its question, a verdict depends on; often nothing.

        It is part of the verdict's content key.
        """
        ...

    async def judge(self, item: Item, asks: Sequence[Ask]) -> list[Verdict]:
        """Return one verdict an ask, in order. A verdict that failed is data, not an exception."""
        ...

    async def aclose(self) -> None:
        """Release what it holds. May be called twice."""
        ...


def capabilities_of(model: Model) -> frozenset[Capability]:
    """Return what ``model`` can do beyond a plain reply: most can do nothing more."""
    found: frozenset[Capability] = getattr(model, "capabilities", frozenset())
    return found


def is_resident(model: Model) -> bool:
    """Return whether ``model`` fills the memory of the machine that asks it: such take turns."""
    return bool(getattr(model, "resident", False))


def device_of(model: Model) -> str:
    """Return the device that a resident model fills: one it names, else :data:`ALL_DEVICES`."""
    device = str(getattr(model, "device", ALL_DEVICES))
    return f"{device}:0" if device == "cuda" else device


def options_of(component: Any) -> dict[str, JSON]:
    """Return the options of a component that is a frozen dataclass, by field name.

    Fields with ``compare=False`` (paths, connections) do not change results and are left out.
    """
    return {
        f.name: _plain(getattr(component, f.name))
        for f in dataclasses.fields(component)
        if f.init and f.compare
    }


def identity_of(component: Any) -> dict[str, JSON]:
    """Return name, version and options of a component: what makes its results comparable."""
    own = getattr(component, "identity", None)
    if own is not None:
        return dict(own())
    return {"name": component.name, "version": component.version, **options_of(component)}


def label_of(component: Any) -> str:
    """Return what tables call a component: its name, and the options that are not the defaults."""
    own = getattr(component, "label", None)
    if own is not None:
        return str(own)
    defaults = {f.name: f.default for f in dataclasses.fields(component) if f.init and f.compare}
    changed = [
        f"{name}={_shown(getattr(component, name))}"
        for name, value in options_of(component).items()
        if value != _plain(defaults[name])
    ]
    return f"{component.name}[{','.join(changed)}]" if changed else str(component.name)


def _shown(value: Any) -> Any:
    """Show an option as tables do: a model or a judge by its label."""
    return label_of(value) if hasattr(value, "aclose") else _plain(value)


def _plain(value: Any) -> Any:
    """Turn an option into JSON: models and other components by their identity."""
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "identity"):
        return dict(value.identity())
    return str(value)
