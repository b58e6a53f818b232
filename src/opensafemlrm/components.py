"""What an evaluation is made of: the base classes of its components, and the walk through them.

A dataset, an attack, a defense, a model or a judge is a frozen dataclass on one of these bases. Its
fields are its options: a study sets them by name, and results are keyed by them, but for fields
with ``compare=False``, such as paths, which change no result. It has a ``name``, a ``card`` and a
docstring; all else has a default. An option may be a component itself, or a tuple of them:
:func:`children` and :func:`map_models` are the only walk through them.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar, cast

from opensafemlrm.built_in import ShippedCard
from opensafemlrm.errors import AttackError, DatasetError, ModelError
from opensafemlrm.reasoning import Format
from opensafemlrm.text_file import OMITTED, WORDS, Template, template
from opensafemlrm.types import (
    JSON,
    Capability,
    Card,
    Expected,
    Item,
    JudgeRequest,
    Prompt,
    Response,
    Sampling,
    SearchResult,
    Verdict,
)

ALL_DEVICES: Final = "auto"
"""The device of a model that takes all there are."""


class Component(ABC):
    """What the five kinds share."""

    name: ClassVar[str]
    version: ClassVar[str] = "1-A"
    """Number and letter: the number changes when scores stop being comparable, the letter at any
    other change."""
    card: ClassVar[Card] = cast("Card", ShippedCard())
    """What a person should know before using it; models need none."""

    @property
    def label(self) -> str:
        """What tables call it: its name, and the options that are not at their defaults."""
        changed = [
            f"{f.name}={_option_text(getattr(self, f.name))}"
            for f in _options(self)
            if f.compare and as_json(getattr(self, f.name)) != as_json(f.default)
        ]
        return f"{self.name}[{','.join(changed)}]" if changed else self.name

    def options(self) -> Mapping[str, JSON]:
        """Return the options that can change its results, by name; components by identity."""
        return {
            f.name: as_json(value)
            for f in _options(self)
            if f.compare
            and not ((value := getattr(self, f.name)) == f.default and f.metadata.get(OMITTED))
        }

    def text_of(self, option: str) -> Template:
        """Return the text of an option that is :func:`~opensafemlrm.text_file.own_words`.

        Raises ValueError, with file and line, where the user's text has the wrong places.
        """
        words = type(self).__dataclass_fields__[option].metadata[WORDS]  # type: ignore[attr-defined]
        return template(words, getattr(self, option))

    def identity(self) -> Mapping[str, JSON]:
        """Return what makes its results comparable: its content is part of their keys."""
        return {"name": self.name, "version": self.version, **self.options()}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it as its options: a copy in another process is made anew, so that no connection
        travels, and no key that was read here.
        """
        return partial(type(self), **{f.name: getattr(self, f.name) for f in _options(self)}), ()

    async def aclose(self) -> None:
        """Release connections and memory, its own and its children's. May be called twice."""
        for child in children(self):
            await child.aclose()


class Dataset(Component):
    """A benchmark, read lazily: the same items in the same order each time."""

    whole: ClassVar[Expected] = Expected()
    """What a whole release holds, whatever the options."""

    @abstractmethod
    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield the items, and in place of each bad row the error that says what is wrong."""

    def expected(self) -> Expected:
        """Return what a whole release holds by these options, for ``safemlrm datasets check``."""
        return self.whole

    def left_out(self) -> Iterable[str]:
        """Yield the files that no item is made of, for ``safemlrm datasets check``."""
        return ()


def places(component: Component) -> list[Path]:
    """Return the files and folders that a component reads, which are no part of its identity."""
    values = [getattr(component, f.name) for f in _options(component) if not f.compare]
    return [value for value in values if isinstance(value, Path)]


class _Applicable(Component):
    """What transforms and searches share."""

    def check(self, item: Item) -> None:
        """Raise AttackError if the dataset of ``item`` lacks what the attack stands on.

        A dry run asks this of one item of a dataset: it must be quick, and send nothing.
        """


class Attack(_Applicable):
    """A transform: pure, and the same for the same item and seed."""

    @abstractmethod
    def apply(self, item: Item, seed: int) -> Prompt:
        """Return the prompt that carries ``item``. Raises AttackError where it cannot.

        The bare question is never sent in its place, and ``item.system`` is kept.
        """

    def preview(self, item: Item, seed: int) -> Prompt:
        """Return a prompt to show to a person: what is sent."""
        return self.apply(item, seed)


class Search(_Applicable):
    """An attack that asks the target, and a judge, until it has the prompt it wants.

    The engine sends the prompt as it sends any other, and stores every query.
    """

    @abstractmethod
    async def search(
        self, item: Item, target: Model, judge: Judge, sampling: Sampling
    ) -> SearchResult:
        """Return the prompt that carries ``item``. Raises AttackError where it cannot.

        ``sampling.seed`` seeds the search too. Queries that fail are data, as in Model.generate.
        """

    def preview(self, item: Item, seed: int) -> Prompt:
        """Return a prompt to show to a person: the first query, where no model makes it."""
        del item, seed
        raise AttackError(f"{self.name!r} finds its prompt by asking: there is none to draw")


class Model(Component):
    """Something that replies. Batching and connections are its own affair."""

    model: str
    """The option that a study writes behind the slash: ``PROVIDER/MODEL``."""
    wraps: ClassVar[bool] = False
    """Whether it is another model, asked in another way."""

    @property
    def label(self) -> str:
        """What tables call it, such as ``openai/gpt-4o``."""
        return f"{self.name}/{self.model}"

    @property
    def concurrency(self) -> int:
        """How many requests it can take at once."""
        return 8

    @property
    def reasoning_format(self) -> str | Format:
        """Its reasoning format, or the name of one; see :mod:`opensafemlrm.reasoning`."""
        return "auto"

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do beyond a plain reply."""
        return frozenset()

    @property
    def in_process(self) -> bool:
        """Whether it fills the memory of the machine that asks it: such models take turns."""
        return False

    @property
    def device(self) -> str:
        """The device that it fills where it is in process, such as ``cuda:1``."""
        return ALL_DEVICES

    @property
    def billed(self) -> bool:
        """Whether somebody bills its requests by the token, where no ``price`` says how much."""
        return True

    @property
    def price(self) -> tuple[float, float] | None:
        """US dollars for a million tokens, in and out; ``None`` for what the catalogue says."""
        return None

    @property
    def catalog(self) -> str | None:
        """Which row of the catalogue describes it, where its name does not say."""
        return None

    @property
    def thinking(self) -> bool | None:
        """Whether its reasoning is switched on or off, where that can be chosen."""
        return None

    @abstractmethod
    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        """Send ``prompt``; a request that fails is a Response.

        Raises ModelError only where no further request can succeed either.
        """

    @property
    def asked_stages(self) -> tuple[str, ...]:
        """What each reply asks one after the other, where it is several requests."""
        return ()

    async def generate_stage(self, prompt: Prompt, sampling: Sampling) -> Response:
        """Send ``prompt`` as it is: one request of a reply in stages."""
        return await self.generate(prompt, sampling)

    async def score_tokens(self, prompt: Prompt, tokens: Sequence[str]) -> tuple[float, ...]:
        """Return the log-probability of each of ``tokens`` as the reply's first token.

        Needs ``Capability.TOKEN_SCORES``. Raises ModelError where one of them is several tokens.
        """
        del prompt, tokens
        raise ModelError(f"{self.label} does not tell the weights of tokens")

    def with_json_schema(self, response_format: Mapping[str, JSON]) -> Model:
        """Return the model, made to reply by a JSON schema: a ``response_format`` of OpenAI's API.

        Needs ``Capability.JSON_SCHEMA``. Raises ValueError where it cannot.
        """
        del response_format
        raise ValueError(f"{self.label} cannot be held to a JSON schema")

    def unbatched(self) -> Model:
        """Return the model without the batches of requests that a provider takes hours over."""
        return self

    def servers(self) -> Mapping[str, Model]:
        """Return the model asked at each of its servers alone, by address, where it has several."""
        return {}

    def outages(self) -> Sequence[str]:
        """Return a sentence for each of several servers that was out while others answered."""
        return ()

    def check_ready(self) -> None:
        """Raise MissingExtraError or ModelError for an extra or a key that it lacks."""

    def set_image_limit(self, max_images: int | None) -> None:
        """Note how many images a prompt has at most (``None``: unknown), before the first."""


class Judge(Component):
    """Something that scores the parts of a reply."""

    reads: ClassVar[tuple[str, ...]] = ("question", "reasoning", "answer")
    """What it looks at; ``image``, ``scenario`` and ``reference`` (a field) are others."""
    measured: ClassVar[Mapping[str, int] | None] = None
    """Its published confusion at the lenient threshold: ``true_positives`` and so on."""

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Scores from which a part counts as unsafe, lenient first."""
        return (0.5,)

    @property
    def scale(self) -> tuple[float, float]:
        """The least and the greatest score."""
        return (0.0, 1.0)

    @property
    def concurrency(self) -> int:
        """How many items it can judge at once: as many as the slowest of what it asks takes."""
        members = [child for child in children(self) if isinstance(child, Model | Judge)]
        return max((child.concurrency for child in members), default=1)

    def context(self, item: Item) -> JSON:
        """Return what of ``item``, beside its question, a verdict depends on; often nothing.

        It is part of the verdict's content key.
        """
        del item
        return None

    @abstractmethod
    async def judge(self, item: Item, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        """Return one verdict a request, in order. One that failed is data, not an exception."""


class Defense(Component):
    """Another way to ask a model. A defended model is a model: the engine sees no difference."""

    @property
    def layers(self) -> tuple[Defense, ...]:
        """What stands around the model, innermost first: the defense itself."""
        return (self,)

    @property
    def supports_prefill(self) -> bool:
        """Whether the defended model can continue a reply that was begun for it.

        Not where the defense begins replies itself or asks in several turns.
        """
        return True

    def check_model(self, model: Model) -> None:
        """Raise DefenseError where ``model`` cannot be defended: it lacks a capability, say."""

    async def generate(self, model: Model, prompt: Prompt, sampling: Sampling) -> Response:
        """Ask ``model`` in the defense's way. Raises DefenseError where that cannot be.

        The undefended prompt is never sent in its place.
        """
        raise NotImplementedError


C = TypeVar("C")


def children(component: Component) -> Iterator[Component]:
    """Yield the components among its options, in tuples, lists and mappings too."""
    for option in _options(component):
        yield from _components_in(getattr(component, option.name))


def models_in(component: Component) -> Iterator[Model]:
    """Yield every model that is asked: ``component`` itself, or those that it is made of."""
    if isinstance(component, Model) and component.wraps:
        yield component
        return
    inside = [model for child in children(component) for model in models_in(child)]
    if not inside and isinstance(component, Model):
        inside = [component]
    yield from inside


def map_models(value: C, change: Callable[[Model], Model]) -> C:
    """Return a component with ``change`` made to every model that :func:`models_in` yields."""
    mapped: Any = value
    if isinstance(value, Model) and next(models_in(value)) is value:
        mapped = change(value)
    elif isinstance(value, Mapping) and any(_components_in(value)):
        mapped = {key: map_models(part, change) for key, part in value.items()}
    elif isinstance(value, tuple | list) and any(_components_in(value)):
        mapped = tuple(map_models(part, change) for part in value)
    elif isinstance(value, Component) and next(models_in(value), None) is not None:
        options = {f.name: getattr(value, f.name) for f in _options(value)}
        changed = {name: map_models(option, change) for name, option in options.items()}
        mapped = dataclasses.replace(mapped, **changed)
    return cast("C", mapped)


def _components_in(value: Any) -> Iterator[Component]:
    if isinstance(value, Component):
        yield value
    elif isinstance(value, tuple | list | Mapping):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _components_in(part)


def _options(component: Any) -> list[dataclasses.Field[Any]]:
    return [option for option in dataclasses.fields(component) if option.init]


def as_json(value: Any) -> JSON:
    """Return an option as JSON: components and such by identity, paths and all else as text."""
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [as_json(inner) for inner in value]
    if isinstance(value, Component):
        return dict(value.identity())
    return value.identity() if hasattr(value, "identity") else str(value)


def _option_text(value: Any) -> Any:
    return value.label if hasattr(value, "label") else as_json(value)
