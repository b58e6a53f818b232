"""Names of components and where they live.

A new dataset, attack, defense, judge or model is one file and one row here. Other packages add
theirs through entry points in the groups ``opensafemlrm.datasets``, ``opensafemlrm.attacks``,
``opensafemlrm.defenses``, ``opensafemlrm.models`` and ``opensafemlrm.judges``.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import typing
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from opensafemlrm.errors import OptionError, UnknownNameError


class Kind(StrEnum):
    """The five kinds of component."""

    DATASET = "dataset"
    ATTACK = "attack"
    DEFENSE = "defense"
    MODEL = "model"
    JUDGE = "judge"


BUILTIN: Final[dict[Kind, dict[str, str]]] = {
    Kind.DATASET: {
        "canary": "opensafemlrm.datasets.canary:Canary",
        "figstep": "opensafemlrm.datasets.figstep:FigStep",
        "mm-safetybench": "opensafemlrm.datasets.mm_safetybench:MMSafetyBench",
    },
    Kind.ATTACK: {
        "direct": "opensafemlrm.attacks.direct:Direct",
        "figstep": "opensafemlrm.attacks.figstep:FigStepAttack",
        "typo": "opensafemlrm.attacks.typo:Typo",
    },
    Kind.DEFENSE: {
        "none": "opensafemlrm.defenses.none:NoDefense",
    },
    Kind.MODEL: {
        "openai": "opensafemlrm.models.openai_compatible:OpenAICompatible",
        "sim": "opensafemlrm.models.sim:Simulated",
        "vllm": "opensafemlrm.models.openai_compatible:VLLM",
    },
    Kind.JUDGE: {
        "canary": "opensafemlrm.judges.canary:CanaryJudge",
        "policy-rubric": "opensafemlrm.judges.policy_rubric:PolicyRubric",
        "refusal": "opensafemlrm.judges.refusal:RefusalJudge",
    },
}


@cache
def _plugins(kind: Kind) -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=f"opensafemlrm.{kind}s")}


def names(kind: Kind) -> list[str]:
    """Return the known names of a kind, sorted; a plugin cannot replace a built-in."""
    return sorted({**_plugins(kind), **BUILTIN[kind]})


def find(kind: Kind, name: str) -> type[Any]:
    """Return the class behind ``name``. Raises UnknownNameError with the nearest known names."""
    target = BUILTIN[kind].get(name) or _plugins(kind).get(name)
    if target is None:
        raise UnknownNameError(kind, name, names(kind))
    module, _, attribute = target.partition(":")
    found: type[Any] = getattr(importlib.import_module(module), attribute)
    return found


def build(kind: Kind, name: str, options: Mapping[str, Any] | None = None) -> Any:
    """Build the component ``name`` with ``options``.

    A model's name is ``PROVIDER/NAME``; the part after the slash is its option ``model``. Options
    are checked against the fields of the component: OptionError names the option and what it
    takes, UnknownNameError the nearest names.
    """
    options = dict(options or {})
    if kind is Kind.MODEL:
        provider, slash, rest = name.partition("/")
        if not slash or not rest:
            raise UnknownNameError(kind, name, [f"{known}/NAME" for known in names(kind)])
        options["model"] = rest
        name = provider
    return _construct(find(kind, name), kind, name, options)


def _construct(cls: type[Any], kind: Kind, name: str, options: Mapping[str, Any]) -> Any:
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    hints = typing.get_type_hints(cls, include_extras=True)
    values: dict[str, Any] = {}
    for key, value in options.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = (
                f"did you mean {near[0]}?" if near else f"it takes: {', '.join(fields) or 'none'}"
            )
            raise OptionError(f"the {kind} {name!r} has no option {key!r}; {hint}")
        values[key] = _checked(hints[key], value, f"the {kind} {name!r}, option {key!r}")
    missing = [
        f.name
        for f in fields.values()
        if f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
        and f.name not in values
    ]
    if missing:
        raise OptionError(f"the {kind} {name!r} needs the option {missing[0]!r}")
    try:
        return cls(**values)
    except ValueError as error:
        raise OptionError(f"the {kind} {name!r}: {error}") from error


def _checked(hint: Any, value: Any, where: str) -> Any:
    if hasattr(value, "generate"):  # a Model, resolved before by the study
        return value
    try:
        return _adapter(hint).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise OptionError(f"{where}: {first['msg']}, not {value!r}") from error


def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
