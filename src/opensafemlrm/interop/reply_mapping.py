"""What each column of a file of replies holds: a small YAML file, or a recipe that ships.

A text is the name of a column (``a.b`` is the part ``b`` of ``a``), unless it says otherwise:
``{value: TEXT}`` is the same for every row, ``{column: NAME, default: TEXT}`` stands in for empty
cells. A mapping that begins with ``recipe: NAME`` changes that recipe, key by key.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from opensafemlrm.datasets.mapping import KindColumn, Value, validated, values_in
from opensafemlrm.errors import DatasetError, ImportDataError, UnknownNameError
from opensafemlrm.types import Part

_FROZEN: Final = ConfigDict(extra="forbid", frozen=True)
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


_ONE_COLUMN: Final = (
    *("model", "bases", "dataset", "attack", "defense", "simulated"),
    *("question", "system", "prompt"),
    *("scenario", "repeat", "reasoning", "format", "status", "input_tokens", "output_tokens"),
    *("reasoning_tokens", "latency_ms", "error_code", "error_detail"),
)
"""The keys of a mapping that name a column each."""


class Column(BaseModel):
    """A column, and what an empty cell of it stands for."""

    model_config = _FROZEN
    column: str
    default: str


Text = str | Value | Column


class KindCells(KindColumn):
    """A column whose cells say whether an item is harmful, and what an empty cell stands for."""

    default: Literal["harmful", "benign"] | None = None


class PartColumn(BaseModel):
    """A column that names the part: ``{column: NAME}``; its cells say reasoning, answer or full."""

    model_config = _FROZEN
    column: str


class _Words(BaseModel):
    """What a verdict and a label have in common: words for safe and unsafe, ``*`` for any ending.

    Without words of the mapping's own they are ``safe`` and ``unsafe``, true and false, 1 and 0.
    """

    model_config = _FROZEN
    part: Part | PartColumn = Part.ANSWER
    each: str | None = None
    """A column that holds a list; the other columns are then of each entry."""
    label: str | None = None
    unsafe: tuple[str, ...] = ("unsafe", "true", "1", "1.0", "yes", "harmful")
    safe: tuple[str, ...] = ("safe", "false", "0", "0.0", "no", "harmless")


class VerdictColumns(_Words):
    """What a judge said of a part: a score, a label, or both."""

    judge: Text
    score: str | None = None
    unsafe_from: float | tuple[float, float] | str = 0.5
    """The score from which a text is unsafe: a number, a lenient and a strict one, or a column."""
    lower_is_unsafe: bool = False
    """Whether a text is unsafe up to ``unsafe_from``; such scores are kept with a minus."""
    scale: tuple[float, float] | str = (0.0, 1.0)
    unscored: tuple[str, ...] = ("unscored",)
    """Words of a label, or scores, that say there is no verdict; empty cells say so too."""
    reason: str | None = None
    rationale: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> VerdictColumns:
        if self.score is None and self.label is None:
            raise ValueError("a verdict needs the column of its `score` or of its `label`")
        return self


class LabelColumns(_Words):
    """What a person said of a part. A row without a labeller has no such label."""

    labeller: Text
    label: str
    unsure: tuple[str, ...] = ("can't tell",)
    response_class: bool | str = False
    """Whether labels begin with a class of MSTS, such as ``1.3``, or the column of the class."""
    not_understood: tuple[str, ...] | str = ()
    """Labels that say the model did not understand, others then say that it did; or a column."""
    note: str | None = None


class ReplyMapping(BaseModel):
    """The keys of a mapping of replies."""

    model_config = _FROZEN
    source: str = Field(pattern=_NAME)
    """Whose results they are: what tables, reports and pages say of where they came from."""
    model: Text | None = None
    dataset: Text | None = None
    attack: Text = Value(value="direct")
    defense: Text = Value(value="none")
    simulated: str | Column | None = None
    """A column that says whether the model is a simulation."""
    bases: str | Column | None = None
    """A column of the models that the model is compared with: one, or a list of them."""
    item: str | tuple[str, ...] | None = None
    """The columns of the item's id, joined by a slash; left out, it is made of its content."""
    question: Text = Value(value="")
    system: Text | None = None
    prompt: Text | None = None
    """What was sent, where it is not the question."""
    images: tuple[str, ...] = ()
    scenario: Text = Value(value="all")
    kind: Literal["harmful", "benign"] | KindCells = "harmful"
    fields: dict[str, str] = {}
    """What judges may need of an item, by its name in our data sets."""
    repeat: str | Column | None = None
    """The column that counts the replies to an item, from 0."""
    reply: str | tuple[str, ...] | None = None
    """The reply as the model wrote it: of several columns, the first that a row has."""
    reasoning: str | Column | None = None
    answer: str | tuple[str, ...] | None = None
    format: Value | Column | str = Value(value="auto")
    """The reasoning format of the reply, ``{value: think}`` for instance, or its column."""
    status: str | Column | None = None
    """A column of ours: ok, truncated, blocked or failed."""
    input_tokens: str | Column | None = None
    output_tokens: str | Column | None = None
    reasoning_tokens: str | Column | None = None
    latency_ms: str | Column | None = None
    error_code: str | Column | None = None
    error_detail: str | Column | None = None
    failures: tuple[str, ...] = ()
    """What a tool writes in place of a reply that it did not get; ``*`` for any ending."""
    verdicts: tuple[VerdictColumns, ...] = ()
    labels: tuple[LabelColumns, ...] = ()
    pairs: dict[str, str] = {}
    """Which base each reasoning model was trained from: ``{REASONER: BASE}``."""

    @model_validator(mode="after")
    def _is_one_way(self) -> ReplyMapping:
        if self.reply is not None and (self.reasoning is not None or self.answer is not None):
            raise ValueError("map either `reply`, or `reasoning` and `answer`")
        if self.reply is None and self.answer is None and not (self.verdicts or self.labels):
            raise ValueError("map `reply`, or `reasoning` and `answer`, or what was said of them")
        return self

    def columns(self) -> list[str | tuple[str, ...]]:
        """Return the columns that a file must have: those without a default; of a tuple, one."""
        columns: list[Any] = [getattr(self, name) for name in _ONE_COLUMN]
        columns += [*self.images, *self.fields.values()]
        columns += [self.item] if isinstance(self.item, str) else [*(self.item or ())]
        columns += [self.reply, self.answer]
        if isinstance(self.kind, KindCells) and self.kind.default is None:
            columns.append(self.kind.column)
        for verdict in self.verdicts:
            if not isinstance(verdict.judge, Column):
                part = verdict.part.column if isinstance(verdict.part, PartColumn) else None
                cells = (verdict.judge, verdict.score, verdict.label, part, verdict.reason)
                more = [verdict.rationale, verdict.unsafe_from, verdict.scale]
                more = [name for name in more if isinstance(name, str)]
                columns += [verdict.each] if verdict.each else [*cells, *more]
        for label in self.labels:
            if not isinstance(label.labeller, Column):
                columns += [label.each] if label.each else [label.labeller, label.label, label.note]
        named = (names for names in columns if isinstance(names, str | tuple) and names)
        return list(dict.fromkeys(named))


def recipes() -> list[str]:
    """Return the names of the mappings that ship."""
    folder = files("opensafemlrm.interop") / "recipes"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir())


def read_mapping(name: str, constants: Mapping[str, str] | None = None) -> ReplyMapping:
    """Read a mapping: a file, or a recipe by its name; ``constants`` are the same for every row.

    Raises ImportDataError naming the file and the key, and UnknownNameError.
    """
    path = Path(name)
    is_file = path.suffix in (".yaml", ".yml")
    try:
        values = values_in(path) if is_file else _recipe(name)
        if isinstance(values, dict) and "recipe" in values:
            values = _recipe(values["recipe"]) | {k: v for k, v in values.items() if k != "recipe"}
        if isinstance(values, dict):
            values = values | {key: {"value": text} for key, text in (constants or {}).items()}
        return validated(values, ReplyMapping, path)
    except DatasetError as error:
        raise ImportDataError(str(error)) from error


def _recipe(name: Any) -> dict[str, Any]:
    if name not in recipes():
        raise UnknownNameError("recipe", str(name), recipes())
    values: dict[str, Any] = values_in(
        Path(str(files("opensafemlrm.interop") / "recipes" / f"{name}.yaml"))
    )
    return values
