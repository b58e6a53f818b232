"""What models share that the catalogue may know: options, label, identity, setup and stages."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from opensafemlrm.components import Model
from opensafemlrm.models.catalog import Setup, system_in_user
from opensafemlrm.models.stages import in_stages
from opensafemlrm.reasoning import Format, resolve
from opensafemlrm.types import JSON, Prompt, Response, Sampling, Turn, content_key


@dataclass(frozen=True, slots=True)
class CatalogModel(Model):
    """A model with a setup of its own: from the catalogue, or none where that does not know it.

    ``model`` is its name: of the vendor's, a hub id, or a folder.
    """

    model: str
    revision: str | None = None
    """Which build of the model this is: a commit, a tag, a date; part of identity and label."""
    system_prompt: str | None = None
    """Put before the prompt's own system message; replaces what the catalogue would put there."""
    system: Literal["system", "user"] = "system"
    """Whose turn a system message goes into, for chat templates that have no system role."""
    thinking: bool | None = None
    """Turns the reasoning of a model on or off whose switch the catalogue knows."""
    alias: str | None = field(default=None, compare=False)
    """What tables and ``pairs`` call it in place of its label."""
    prefix: str | None = None
    """Put before the words of the last user turn: with ``suffix``, a wrap around the question."""
    suffix: str | None = None
    """Put after the last user turn; replaces what the catalogue would put there."""
    stages: tuple[str, ...] = ()
    """Questions asked one after the other; the last reply is the answer, those before reasoning."""
    format: str | Mapping[str, Any] = field(default="auto", compare=False)
    """How the model writes its reasoning: a name, or your own as :func:`reasoning.resolve` says."""
    catalog: str | None = field(default=None, compare=False)
    """The row of the catalogue that it is, if its own name does not say; ``none`` for no row; or a
    catalogue of your own, a file that ends in ``.toml``."""
    _format: Format = field(init=False, repr=False, compare=False)
    _setup: Setup = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        setup = Setup.of(self.catalog_name, self.catalog, thinking=self.thinking)
        setup = dataclasses.replace(
            setup,
            prefix=setup.prefix if self.prefix is None else self.prefix,
            suffix=setup.suffix if self.suffix is None else self.suffix,
            stages=self.stages or setup.stages,
        )
        form = setup.format if self.format == "auto" else self.format
        object.__setattr__(self, "_setup", setup)
        object.__setattr__(self, "_format", resolve(form))

    @property
    def catalog_name(self) -> str:
        """The name that the catalogue may know it by."""
        return self.model

    @property
    def label(self) -> str:
        """``PROVIDER/NAME``, with what distinguishes it from the same model at its defaults.

        ``@revision`` where there is one; ``thinking=off``; ``system=user``; other options that
        change replies by their names, with four digits of their content:
        ``openai/NAME[extra_body:3f9a]``. An ``alias`` replaces all of it.
        """
        if self.alias is not None:
            return self.alias
        options = self._changed_options()
        revision, thinking = options.pop("revision", None), options.pop("thinking", None)
        system = [f"system={options.pop('system')}"] if "system" in options else []
        marks = [f"{name}:{content_key(value).hex()[:4]}" for name, value in options.items()]
        if thinking is not None:
            marks.insert(0, f"thinking={'on' if thinking else 'off'}")
        marks += system
        at = "" if revision is None else f"@{revision}"
        return f"{self.name}/{self.model}{at}" + (f"[{','.join(marks)}]" if marks else "")

    def at(self, time: str) -> Self:
        """Return the model as it is at a time: what it replies then has keys of its own."""
        revision = time if self.revision is None else f"{self.revision}@{time}"
        alias = None if self.alias is None else f"{self.alias}@{time}"
        return dataclasses.replace(self, revision=revision, alias=alias)

    @property
    def reasoning_format(self) -> Format:
        """The format given; else the one its name is known by; else ``auto``, detected."""
        return self._format

    def identity(self) -> Mapping[str, JSON]:
        """Return name, version, model, and those options that change replies and are set.

        Options at their defaults are left out, so that an option added later changes no key.
        """
        return {
            "name": self.name,
            "version": self.version,
            "model": self.model,
            **self._changed_options(),
            **self._setup.identity(),
        }

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        """Reply to ``prompt``, in stages where the model reasons over several turns.

        Raises MissingExtraError without the extra it needs, ModelError where no request can
        succeed, and EndpointDownError where a server has stopped answering.
        """
        if self.asked_stages:
            return await in_stages(self._ask, prompt, sampling, self.asked_stages)
        return await self._ask(prompt, sampling)

    @property
    def asked_stages(self) -> tuple[str, ...]:
        """The option ``stages``, or what the catalogue says of the model."""
        return self._setup.stages

    async def generate_stage(self, prompt: Prompt, sampling: Sampling) -> Response:
        """Send ``prompt`` in one request. Raises what :meth:`generate` does."""
        return await self._ask(prompt, sampling)

    @abstractmethod
    async def _ask(self, prompt: Prompt, sampling: Sampling) -> Response:
        """Send one prompt."""

    def _turns(self, prompt: Prompt) -> tuple[Turn, ...]:
        """Return the turns of ``prompt`` with the model's own system prompt and suffix."""
        turns = self._setup.turns(prompt, self.system_prompt)
        return system_in_user(turns) if self.system == "user" else turns

    def _changed_options(self) -> dict[str, JSON]:
        """Return the options that change replies and are not at their defaults, but ``model``."""
        defaults = {
            option.name: option.default
            if option.default_factory is dataclasses.MISSING
            else option.default_factory()
            for option in dataclasses.fields(self)
        }
        return {
            name: value
            for name, value in self.options().items()
            if name != "model" and value != _plain(defaults[name])
        }


def _plain(default: object) -> object:
    return list(default) if isinstance(default, tuple) else default
