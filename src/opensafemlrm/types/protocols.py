"""What makes the values: the protocols of the five kinds of component."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from opensafemlrm.errors import DatasetError
from opensafemlrm.types.content import JSON
from opensafemlrm.types.values import (
    Item,
    JudgeRequest,
    Prompt,
    Response,
    Sampling,
    SearchResult,
    Verdict,
)


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

    async def search(
        self, item: Item, target: Model, judge: Judge, sampling: Sampling
    ) -> SearchResult:
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

    async def judge(self, item: Item, asks: Sequence[JudgeRequest]) -> list[Verdict]:
        """Return one verdict an ask, in order. A verdict that failed is data, not an exception."""
        ...

    async def aclose(self) -> None:
        """Release what it holds. May be called twice."""
        ...
