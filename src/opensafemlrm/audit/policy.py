"""The policy of an audit: the rules, read strictly.

What is left out never makes a rule easier to keep: a rule speaks of every audited model, data set,
attack and defense, unless it names some.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from opensafemlrm import strict_yaml
from opensafemlrm.audit import hazards
from opensafemlrm.errors import MistakesError, PolicyError, UnknownNameError, reason_of
from opensafemlrm.redaction import without_keys_in_comments, without_secrets
from opensafemlrm.strict_yaml import Document, explain, place_of
from opensafemlrm.types import Part

ALL: Final = "all"
SEPARATELY: Final = "each"
SHARE: Final = "a limit is a share from 0 to 1, such as 0.1 for 10 %"


class Figure(StrEnum):
    """What a rule limits. The name says whether it is the most or the least that is allowed."""

    MAX_ASR = "max_asr"
    MAX_TAX = "max_tax"
    MIN_SELF_CORRECTION = "min_self_correction"
    MAX_OVER_REFUSAL = "max_over_refusal"
    MIN_COVERAGE = "min_coverage"
    MIN_UNDERSTOOD = "min_understood"
    MAX_UTILITY_LOSS = "max_utility_loss"

    @property
    def is_max(self) -> bool:
        """Whether the limit is the most that is allowed."""
        return self.value.startswith("max_")

    @property
    def words(self) -> str:
        """What people call it: ``answer ASR`` without the part."""
        return {"max_asr": "ASR"}.get(self.value, self.value[4:].replace("_", " "))


_PARTS: Final = {
    Figure.MAX_OVER_REFUSAL: (Part.ANSWER.value, Part.FULL.value),
    Figure.MIN_SELF_CORRECTION: (),
    Figure.MAX_UTILITY_LOSS: (),
}
"""The parts of which a figure can be, the first if none is named; of others, any, and the whole."""
_OF_ALL_PARTS: Final = (Part.FULL.value, Part.ANSWER.value, Part.REASONING.value)
_AGAINST: Final = {
    Figure.MAX_ASR: ("base", "undefended"),
    Figure.MAX_TAX: ("base",),
    Figure.MAX_OVER_REFUSAL: ("base", "undefended"),
    Figure.MAX_UTILITY_LOSS: ("base", "undefended"),
}
"""What a figure can be compared with; others are absolute."""
_ALWAYS: Final = (Figure.MAX_TAX, Figure.MAX_UTILITY_LOSS)
"""Figures that are differences: compared with the first of these, if nothing is said."""
_WITH_THRESHOLD: Final = (Figure.MAX_ASR, Figure.MAX_TAX, Figure.MIN_SELF_CORRECTION)

_Limit = Annotated[float, Field(ge=-1, le=1, strict=True, allow_inf_nan=False)]


def _names(given: Any) -> Any:
    """Return a list of one for one name; what names all of a kind stays as it is."""
    return [given] if isinstance(given, str) else given


_Names = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_names)]


class Rule(BaseModel):
    """One rule: a figure with its limit, and what it is of."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = ""
    max_asr: _Limit | None = None
    max_tax: _Limit | None = None
    min_self_correction: _Limit | None = None
    max_over_refusal: _Limit | None = None
    min_coverage: _Limit | None = None
    min_understood: _Limit | None = None
    max_utility_loss: _Limit | None = None
    part: Literal["reasoning", "answer", "full"] | None = None
    threshold: Literal["lenient", "strict"] = "lenient"
    against: Literal["base", "undefended"] | None = None
    scenario: _Names = (ALL,)
    """``all`` together, ``each`` for itself, or those named, each for itself."""
    models: _Names | None = None
    datasets: _Names | None = None
    attacks: _Names | None = None
    defenses: _Names | None = None
    advisory: bool = Field(False, strict=True)
    """An advisory rule is shown, and decides nothing."""

    @property
    def figure(self) -> Figure:
        """What it limits."""
        return next(figure for figure in Figure if getattr(self, figure) is not None)

    @property
    def limit(self) -> float:
        """The most, or the least, that is allowed."""
        return float(getattr(self, self.figure))

    @property
    def of_part(self) -> str | None:
        """The part that it is of; ``None`` for a figure that is of no part."""
        return self.part or next(iter(_PARTS.get(self.figure, _OF_ALL_PARTS)), None)

    @property
    def compared_with(self) -> str | None:
        """What it is compared with; ``None`` where the limit is absolute."""
        return self.against or (_AGAINST[self.figure][0] if self.figure in _ALWAYS else None)

    @property
    def by_scenario(self) -> bool:
        """Whether each scenario is checked for itself."""
        return self.scenario != (ALL,)

    @property
    def named_scenarios(self) -> tuple[str, ...]:
        """The scenarios that it names; none where it is of all of them."""
        return () if self.scenario in ((ALL,), (SEPARATELY,)) else self.scenario

    @property
    def scope(self) -> tuple[Any, ...]:
        """All that tells two rules apart but their limits and their names."""
        selects = (self.scenario, self.models, self.datasets, self.attacks, self.defenses)
        names = tuple(None if names is None else tuple(sorted(set(names))) for names in selects)
        threshold = self.threshold if self.figure in _WITH_THRESHOLD else ""
        return (self.figure, self.of_part, threshold, self.compared_with, names, self.advisory)

    @property
    def says(self) -> str:
        """What the rule says, in words."""
        figure = self.figure
        words = [f"{figure.value[:3]}.", *([self.part] if self.part else []), figure.words]
        if self.against is not None:
            words.append("over the base" if self.against == "base" else "over no defense")
        unit = "points" if self.compared_with else "%"
        words.append(f"{100 * self.limit:g} {unit}")
        if self.threshold == "strict":
            words.append("(strict)")
        if self.by_scenario:
            named = ", ".join(self.named_scenarios)
            words.append(f"in {named}" if named else "in each scenario")
        return " ".join(words)

    @model_validator(mode="after")
    def _fits(self) -> Rule:
        named = [figure.value for figure in Figure if getattr(self, figure) is not None]
        if len(named) != 1:
            which = f"this one has {' and '.join(named)}" if named else "this one has none"
            raise ValueError(f"a rule limits one of {', '.join(Figure)}; {which}")
        for message in self._misfits():
            raise ValueError(message)
        return self

    def _misfits(self) -> Iterator[str]:
        figure = self.figure
        allowed = _PARTS.get(figure, _OF_ALL_PARTS)
        if self.by_scenario and {ALL, SEPARATELY} & set(self.named_scenarios):
            yield "name scenarios, or say `all` or `each`, not both"
        if self.part is not None and self.part not in allowed:
            parts = f"it is of {' or '.join(allowed)}" if allowed else "leave the part out"
            yield f"{figure} is not of the part {self.part!r}; {parts}"
        known = _AGAINST.get(figure, ())
        if self.against is not None and self.against not in known:
            yield f"{figure} is not compared with {self.against!r}; " + (
                f"only against {' or '.join(known)}" if known else "leave `against` out"
            )
        if self.compared_with is None and self.limit < 0:
            yield f"{figure}: {SHARE}, not {self.limit:g}"
        if self.threshold == "strict" and figure not in _WITH_THRESHOLD:
            yield f"{figure} has no threshold; leave it out"


class _Spec(BaseModel):
    """The keys of a policy."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    title: str = "Safety audit"
    confidence: float = Field(0.95, ge=0.5, lt=1, strict=True, allow_inf_nan=False)
    judge: str | None = None
    valid_days: int = Field(90, ge=1, le=3650, strict=True)
    hazards: dict[str, str] = {}
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Policy:
    """The rules of an audit, as they were read: frozen, and known by their hash."""

    title: str
    confidence: float
    """That of all verdicts on rules together."""
    judge: str | None
    """The judge whose verdicts count, as tables call it; ``None`` where there is one."""
    valid_days: int
    """How many days after the oldest reply the audit holds."""
    hazards: dict[str, str]
    """Hazards of AILuminate by scenario, for scenarios of the reader's own."""
    rules: tuple[Rule, ...]
    text: str = field(repr=False)
    name: str = "policy"
    """What stands for the file in errors."""

    @cached_property
    def sha256(self) -> str:
        """The hash of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def error(self, number: int, key: str, message: str) -> MistakesError:
        """Return what is wrong with a key of the rule ``number``, from 0, with file and line."""
        document = _document(self.text, self.name)
        return document.error([(("rules", number, key), message)])


def default_text(name: str) -> str:
    """Return what ships with the project: ``policy.yaml`` or ``study.yaml``."""
    return (files("opensafemlrm.audit") / "data" / name).read_text("utf-8")


def load(path: Path | str) -> Policy:
    """Read a policy. Raises PolicyError with file, line and key of all that is wrong."""
    try:
        text = strict_yaml.text_of(path)
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path}: the policy cannot be read: {reason_of(error)}") from error
    return parse(text, str(path))


def parse(text: str, name: str = "policy") -> Policy:
    """Read the text of a policy; ``name`` stands for it in errors. Raises PolicyError."""
    text = without_keys_in_comments(text)  # it is published with the audit
    document = _document(text, name)
    try:
        spec = _Spec.model_validate(document.data)
    except ValidationError as error:
        faults = reversed(error.errors())
        mistakes = {place_of(fault["loc"], document.data): _explain(fault) for fault in faults}
        sentences = [(path, without_secrets(text)) for path, text in mistakes.items()]
        raise document.error(sentences) from error
    mistakes = {
        **{
            ("rules", number): f"this rule says the same as rule {same + 1}; keep one of them"
            for number, rule in enumerate(spec.rules)
            for same in [[other.scope for other in spec.rules].index(rule.scope)]
            if same < number
        },
        **{
            ("hazards", scenario): str(UnknownNameError("hazard", hazard, hazards.titles()))
            for scenario, hazard in spec.hazards.items()
            if hazard not in hazards.titles()
        },
    }
    if mistakes:
        raise document.error(mistakes.items())
    return Policy(**{key: getattr(spec, key) for key in _Spec.model_fields}, text=text, name=name)


def _document(text: str, name: str) -> Document:
    return Document.read(text, name, "a policy is a list of keys such as `rules:`", PolicyError)


def _explain(error: Any) -> str:
    kind, given = error["type"], error["input"]
    if kind == "extra_forbidden":
        known = Rule if error["loc"][:1] == ("rules",) else _Spec
        return str(UnknownNameError("key", str(error["loc"][-1]), known.model_fields))
    if kind != "value_error" and any(step in set(Figure) for step in error["loc"]):
        return f"{SHARE}, not {given!r}"
    return explain(error)
