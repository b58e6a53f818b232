"""The models this project knows: what they come from, how they reason, which prompts they need.

The rows stand in ``catalog.toml``. A model is found by its hub id, by a name of the published
study, or by another name of the same weights (:mod:`.names`). A model that is not there works as
well: its reasoning format is detected from each reply, and the store records ``detected`` in place
of ``given``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from opensafemlrm.components import Model
from opensafemlrm.errors import OptionError, UnknownNameError, reason_of
from opensafemlrm.files import read_as
from opensafemlrm.models.names import (
    architecture_in_config,
    keys,
    name_in_config,
    name_of_folder,
    spellings,
)
from opensafemlrm.reasoning import format_of_model, resolve
from opensafemlrm.strict_yaml import explain
from opensafemlrm.types import JSON, Prompt, Turn

__all__ = [
    "NO_ROW",
    "Pair",
    "Row",
    "Setup",
    "Switch",
    "find",
    "pairs",
    "pairs_among",
    "reversed_among",
    "rows",
]

_FILE: Final = ".toml"
NO_ROW: Final = "none"
"""As the option ``catalog``: look for no row, whatever the model is called."""

_Price = Annotated[float, Field(ge=0, le=1e9)]
_M = TypeVar("_M", bound=Model)


class Switch(BaseModel):
    """What turns a model's reasoning on or off."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    template: Mapping[str, Any] = {}
    """Arguments of the chat template."""
    system_prompt: str | None = None
    suffix: str | None = None
    """Put after the last user turn."""


class Row(BaseModel):
    """One model. What is not known for sure is ``None``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str
    """Its hub id; its name in its paper, where that is not known."""
    aliases: tuple[str, ...] = ()
    revision: str | None = None
    base: str | None = None
    """The hub id of the model it was trained from: the other half of its pair."""
    base_note: str | None = None
    """Why model and base are no pair of reasoning and none; such a pair is not found by itself."""
    family: str
    format: str | Mapping[str, Any]
    """How it writes its reasoning: a name, or a description as a study may give it."""
    system_prompt: str | None = None
    """The prompt that makes it write in that format, in this project's words."""
    prefix: str | None = None
    """Put before the words of the last user turn."""
    suffix: str | None = None
    """Put after the last user turn."""
    stages: tuple[str, ...] = ()
    """Questions asked one after the other, for a model that reasons over turns."""
    thinking: Literal["on", "off"] | None = None
    """Whether it reasons by default, for a model with a switch."""
    on: Switch | None = None
    off: Switch | None = None
    sampling: Mapping[str, float] | None = None
    """What its card recommends."""
    context: int | None = None
    """Tokens that prompt and reply may have together."""
    licence: str | None = None
    paper: str | None = None
    source: str | None = None
    """Where format and prompts were seen, beside card and paper; or ``unverified``."""
    input_price: _Price | None = None
    """US dollars for a million tokens."""
    output_price: _Price | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Its hub id and its aliases."""
        return (self.id, *self.aliases)

    def reasons(self, thinking: bool | None = None) -> bool:
        """Whether it reasons with its switch so, or if nothing is said."""
        if thinking is not None or self.thinking is not None:
            return self.thinking == "on" if thinking is None else thinking
        return self.base is not None or self.format not in ("auto", "none")


@dataclass(frozen=True, slots=True)
class Setup:
    """What is added to a model's prompts, and how its replies are parsed."""

    format: str | Mapping[str, Any] = "auto"
    system_prompt: str | None = None
    prefix: str | None = None
    suffix: str | None = None
    template: Mapping[str, Any] | None = None
    stages: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: str, row_name: str | None = None, *, thinking: bool | None = None) -> Setup:
        """Return the setup of ``model``, which may be in the catalogue.

        ``row_name`` names the row to use where the model goes by another name (a folder, a served
        name), :data:`NO_ROW`, or a catalogue file of the user's, which has the built-in one behind
        it. Raises UnknownNameError for a row that is not there, OptionError if the file cannot be
        read or if ``thinking`` is asked of a model that is not known to have that switch.
        """
        row = look_up(model, row_name)
        if row is None or (thinking is not None and row.thinking is None):
            if thinking is not None:
                raise OptionError(
                    f"{model} is not known to have a switch for thinking; set what it takes in "
                    "`extra_body` or `system_prompt`, or name a row of `safemlrm models list` that "
                    "has one in `catalog`"
                )
            if row is None:
                # Of an unlisted model's format, its name or what its folder says may tell enough.
                names = f"{model} {name_in_config(model) or ''} {architecture_in_config(model)}"
                return cls(format_of_model(names))
        reasons = row.thinking != "off" if thinking is None else thinking
        # A switch that is not set is left as it is.
        switch = None if thinking is None else (row.on if thinking else row.off)
        switch = switch or Switch()
        form = resolve(row.format)
        # A model that is told not to reason may do so all the same, or leave an empty thought,
        # whose marks have to be kept.
        needed = reasons or (form.special and not form.prefilled)
        return cls(
            format=row.format if needed else "auto",
            system_prompt=switch.system_prompt or (row.system_prompt if reasons else None),
            prefix=row.prefix if reasons else None,
            suffix=switch.suffix or (row.suffix if reasons else None),
            template=switch.template or None,
            stages=row.stages if reasons else (),
        )

    def identity(self) -> dict[str, JSON]:
        """Return what of it changes replies, where anything does."""
        setup = {
            "system_prompt": self.system_prompt,
            "prefix": self.prefix,
            "suffix": self.suffix,
            "template": self.template,
            "stages": list(self.stages),
        }
        given = {name: value for name, value in setup.items() if value}
        return {"setup": given} if given else {}

    def turns(self, prompt: Prompt, system_prompt: str | None = None) -> tuple[Turn, ...]:
        """Return the turns of ``prompt`` with the setup's system prompt and suffix.

        ``system_prompt`` replaces the catalogue's; the empty string leaves it out.
        """
        turns = prompt.turns
        system = self.system_prompt if system_prompt is None else system_prompt
        if self.prefix or self.suffix:
            turns = _wrapped(turns, self.prefix, self.suffix)
        return Prompt(turns).with_system(system, first=True).turns if system else turns


@dataclass(frozen=True, slots=True)
class Pair:
    """A reasoning model and its base: two models, or one with its reasoning on and off."""

    reasoner: Row
    base: Row

    @property
    def is_switch(self) -> bool:
        """Whether both are one model."""
        return self.reasoner is self.base


@cache
def rows() -> tuple[Row, ...]:
    """Return all rows, in the file's order."""
    text = files("opensafemlrm.models").joinpath("catalog.toml").read_text(encoding="utf-8")
    return tuple(Row.model_validate(row) for row in tomllib.loads(text)["model"])


def listed_price(name: str) -> tuple[float, float] | None:
    """Return US dollars for a million tokens in and out, ``None`` where the catalogue has none."""
    row = find(name)
    if row is None or row.input_price is None or row.output_price is None:
        return None
    return row.input_price, row.output_price


def find(name: str) -> Row | None:
    """Return the row of a model by a name of it or by its folder; ``None`` where there is none."""
    return _match(name, _by_name())


def pairs() -> list[Pair]:
    """Return every pair there is among the rows; none whose base reasons as well."""
    known = []
    for row in rows():
        base = row if row.thinking else find(row.base) if row.base and not row.base_note else None
        if base is row or (base is not None and not base.reasons()):
            known.append(Pair(row, base))
    return known


def pairs_among(models: Sequence[_M]) -> list[tuple[_M, _M]]:
    """Return the pairs among the models of a study: a reasoning model, and its base.

    Models reached differently (another provider, another thinking switch) pair as well: what
    counts is which row of the catalogue each is. A reasoning model with several bases in the study
    pairs with each.
    """
    return [(model, other) for model in models for other in models if _are_pair(model, other)]


def reversed_among(pairs: Sequence[tuple[_M, _M]]) -> list[tuple[_M, _M]]:
    """Return the pairs that name the base first: the wrong way round, as far as is known here."""
    return [(model, other) for model, other in pairs if _are_pair(other, model)]


def system_in_user(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """Return the turns with the system message before the words of the first user turn."""
    system = [part for turn in turns if turn.role == "system" for part in turn.parts]
    if not system:
        return turns
    others = [turn for turn in turns if turn.role != "system"]
    at = next((i for i, turn in enumerate(others) if turn.role == "user"), None)
    if at is None:
        return (Turn("user", tuple(system)), *others)
    if isinstance(system[-1], str):
        system[-1] += "\n"
    merged = Turn("user", (*system, *others[at].parts))
    return (*others[:at], merged, *others[at + 1 :])


def _wrapped(turns: tuple[Turn, ...], prefix: str | None, suffix: str | None) -> tuple[Turn, ...]:
    last = max((i for i, turn in enumerate(turns) if turn.role == "user"), default=None)
    if last is None:
        return turns
    turn = turns[last]
    before, after = (() if text is None else (text,) for text in (prefix, suffix))
    words = next((i for i, part in enumerate(turn.parts) if isinstance(part, str)), 0)
    parts = (*turn.parts[:words], *before, *turn.parts[words:], *after)
    extended = Turn(turn.role, parts)
    return (*turns[:last], extended, *turns[last + 1 :])


def _are_pair(model: Model, other: Model) -> bool:
    """Tell whether ``other`` is the base of ``model``, or ``model`` with its reasoning off."""
    row, base = _row_of(model), _row_of(other)
    if row is None or base is None:
        return False
    if not row.reasons(model.thinking) or base.reasons(other.thinking):
        return False
    if row is base:
        return bool(row.thinking)
    return row.base == base.id and row.base_note is None


def _row_of(model: Model) -> Row | None:
    return look_up(model.model, model.catalog)


def look_up(model: str, row_name: str | None) -> Row | None:
    """Return the row of a model, by its name or by what the option ``catalog`` says.

    Raises UnknownNameError, OptionError as :meth:`Setup.of` does.
    """
    if row_name == NO_ROW:
        return None
    if row_name is None:
        return find(model)
    if row_name.endswith(_FILE):
        return _match(model, _index(own_rows(Path(row_name)))) or find(model)
    row = find(row_name)
    if row is None:
        known = [name for row in rows() for name in row.names]
        raise UnknownNameError("model in the catalogue", row_name, (*known, NO_ROW))
    return row


@cache
def own_rows(path: Path) -> tuple[Row, ...]:
    """Return the rows of a user's catalogue: a TOML file with the columns of ``catalog.toml``.

    Raises OptionError that names the file and the row that is wrong.
    """
    try:
        found = read_as(path, tomllib.loads).get("model", [])
    except (OSError, ValueError) as error:
        raise OptionError(f"the catalogue {path} cannot be read: {reason_of(error)}") from error
    made = []
    for number, row in enumerate(found if isinstance(found, list) else (), 1):
        try:
            made.append(Row.model_validate(row))
            resolve(made[-1].format)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(step) for step in first["loc"]) or "the row"
            raise OptionError(f"{path}, model {number}, {key}: {explain(first)}") from error
        except (OptionError, UnknownNameError) as error:
            raise OptionError(f"{path}, model {number}, format: {error}") from error
    if not made:
        raise OptionError(f"the catalogue {path} has no table [[model]]")
    return tuple(made)


@cache
def _by_name() -> dict[str, Row]:
    return _index(rows())


def _index(rows: Sequence[Row]) -> dict[str, Row]:
    return {key: row for row in rows for name in row.names for key in keys(name)}


def _match(name: str, index: Mapping[str, Row]) -> Row | None:
    folder = name_of_folder(name)
    for spelling in spellings(folder or name):
        if spelling in index:
            return index[spelling]
    config = name_in_config(name) if folder else None
    if config is None:
        return None
    row = next((index[key] for key in spellings(config) if key in index), None)
    # A model trained further names what it was trained from: a base's row would make it that base.
    return row if row is not None and (row.reasons() or row.thinking) else None
