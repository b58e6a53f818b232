"""Mapping files: which column of a table, or which part of a folder, is what of an item.

A mapping is a small YAML file. ``safemlrm datasets init`` writes one (:mod:`._guess`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from opensafemlrm import strict_yaml
from opensafemlrm.errors import DatasetError, UnknownNameError, reason_of
from opensafemlrm.strict_yaml import BadYAMLError, explain
from opensafemlrm.types import ItemKind

M = TypeVar("M", bound=BaseModel)

_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


_ALTERNATIVE: Final = re.compile(r"str|[A-Z]\w*|literal\[.*")
"""Steps of pydantic's that stand in no file: which of several forms a value was tried as."""


class Value(BaseModel):
    """A text that is the same for every item: ``{value: TEXT}``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    value: str


class KindColumn(BaseModel):
    """A column whose cells say whether an item is harmful."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    column: str
    harmful: tuple[str, ...] = ()
    benign: tuple[str, ...] = ()


class _Common(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=_NAME)
    """What tables call the data set: letters, digits, dots, dashes."""
    paper: str = ""
    licence: str = ""


class TableMapping(_Common):
    """The keys of a table's mapping: each of them names a column, unless it says otherwise."""

    question: str
    id: str | None = None
    """Left out: an id is made from the row's content, so that it stays when rows are added."""
    scenario: str | Value = Value(value="all")
    kind: Literal["harmful", "benign"] | KindColumn = "harmful"
    images: tuple[str, ...] = ()
    system: str | Value | None = None
    fields: dict[str, str] = {}
    """What attacks need, by its name: key_phrase, rephrased, instruction, prompt and so on."""
    released: dict[Annotated[str, Field(pattern=_NAME)], str | tuple[str, ...]] = {}
    """Pictures of attacks that were made elsewhere, by the attack: ``{shipped: COLUMN}``."""

    def columns(self) -> list[str]:
        """Return the columns that a table must have."""
        named = [self.question, self.id, self.scenario, self.system, *self.images]
        columns = [name for name in named if isinstance(name, str)]
        columns += [self.kind.column] if isinstance(self.kind, KindColumn) else []
        pictures = [name for names in self.released_columns().values() for name in names]
        return list(dict.fromkeys([*columns, *self.fields.values(), *pictures]))

    def released_columns(self) -> dict[str, tuple[str, ...]]:
        """Return the columns of each attack's pictures."""
        return {
            attack: (names,) if isinstance(names, str) else names
            for attack, names in self.released.items()
        }


class Beside(BaseModel):
    """The text is in a file beside the picture, with this ending: ``{beside: .txt}``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    beside: str = Field(pattern=r"^\.[A-Za-z0-9]{1,8}$")


class FolderMapping(_Common):
    """The keys of an image folder's mapping."""

    question: Value | Beside
    scenario: Literal["folder"] | Value = "folder"
    """``folder``: the folder that a picture lies in names its scenario."""
    kind: Literal["harmful", "benign"] = "harmful"


def read(path: Path, form: type[M]) -> M:
    """Read a mapping file. Raises DatasetError naming the file and the key that is wrong."""
    return validated(values_in(path), form, path)


def values_in(path: Path) -> Any:
    """Return what a mapping file says, before it is checked. Raises DatasetError naming the file.

    YAML tags and anchors are refused: no mapping needs them, and they can build what is not there.
    """
    try:
        if path.stat().st_size > strict_yaml.MAX_BYTES:
            raise DatasetError(f"a mapping has at most {strict_yaml.MAX_BYTES:,} bytes", path=path)
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"the mapping cannot be read: {reason_of(error)}; `safemlrm datasets init` writes one",
            path=path,
        ) from error
    try:
        return strict_yaml.read(text)[0]
    except BadYAMLError as error:
        raise DatasetError(error.reason, path=path, row=error.line) from error


def validated(values: Any, form: type[M], path: Path) -> M:
    """Return a mapping of what a file says. Raises DatasetError naming the key that is wrong."""
    try:
        return form.model_validate(values)
    except ValidationError as error:
        raise DatasetError(_mistakes(error, form), path=path) from error


def kind_in(column: KindColumn, cell: str) -> ItemKind:
    """Return the kind that a cell says. Raises DatasetError if the mapping does not list it."""
    if cell in column.harmful:
        return ItemKind.HARMFUL
    if cell in column.benign:
        return ItemKind.BENIGN
    raise DatasetError(
        f"what {column.column!r} holds is listed neither under 'harmful' nor under 'benign' in "
        "the mapping"
    )


def _mistakes(error: ValidationError, form: type[BaseModel]) -> str:
    """Return what is wrong with each key; where it may be one of several, what came furthest."""
    furthest: dict[Any, Any] = {}
    for each in error.errors():
        key = each["loc"][:1]
        if key not in furthest or len(each["loc"]) > len(furthest[key]["loc"]):
            furthest[key] = each
    said = []
    for each in furthest.values():
        steps = (str(step) for step in each["loc"])
        place = ".".join(step for step in steps if not _ALTERNATIVE.fullmatch(step))
        said.append(f"{place or 'the file'}: {_explain(each, form)}")
    return "; ".join(said)


def _explain(error: Any, form: type[BaseModel]) -> str:
    message, given = explain(error), error["input"]
    match error["type"]:
        case "extra_forbidden" if len(error["loc"]) == 1:
            message = str(UnknownNameError("key", error["loc"][0], form.model_fields))
        case "extra_forbidden":
            message = "there is no such key here"
        case "string_pattern_mismatch" if error["loc"] == ("name",):
            message = (
                "use letters from a to z, digits, dots, dashes and underscores: at most 64, and a "
                f"letter or a digit first, not {given!r}"
            )
        case "string_type" if isinstance(given, bool):
            message = (
                "YAML reads yes, no, on, off, true and false as truth values; put the word in "
                "quotes, such as 'yes'"
            )
        case "string_type" if isinstance(given, int | float):
            message = f"this is a text; put {given!r} in quotes"
    return message
