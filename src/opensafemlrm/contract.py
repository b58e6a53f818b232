"""What a component says of itself, checked before anything is asked of it."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator
from typing import Any, Final, cast

from opensafemlrm.components import Component, Judge, Model, children
from opensafemlrm.errors import OptionError

_VERSION: Final = re.compile(r"\d+-[A-Z]")
_READS: Final = {
    "question", "image", "scenario", "reference", "reasoning", "answer", "what its judges read"
}  # fmt: skip


class BrokenPromiseError(Exception):
    """A component gave back what its kind does not give; :mod:`opensafemlrm.faults` adds the item.

    ``where`` is the file and the line of the method.
    """

    def __init__(self, component: Component, method: str, what: str) -> None:
        super().__init__(f"`{method}` {what}")
        self.component = component
        self.where = place_of(getattr(type(component), method))


def check(component: Component) -> None:
    """Raise OptionError where a component, or one within it, says something wrong of itself."""
    for mistake in mistakes(component):
        raise OptionError(f"{mistake} ({place_of(type(component))})")
    for child in children(component):
        check(child)


def mistakes(component: Component) -> Iterator[str]:
    """Yield what is wrong with what a component says of itself, a sentence each."""
    cls = type(component)
    name: object = getattr(component, "name", None)
    version: object = component.version
    if not (isinstance(name, str) and name.strip() and name.isprintable()):
        wrong = "has no name" if name is None else f"has the name {name!r}"
        yield f'the class {cls.__name__} {wrong}: write `name = "moon-lantern"` in it'
    # Options of a subclass that is not decorated would be no part of what its results are keyed by.
    options = [str(kind) for kind in vars(cls).get("__annotations__", {}).values()]
    has_options = any("ClassVar" not in kind for kind in options)
    is_made = "__dataclass_fields__" in vars(cls)
    if not is_made and (has_options or not hasattr(cls, "__dataclass_fields__")):
        yield f"the class {cls.__name__} is no dataclass: write `@dataclass(frozen=True)` above it"
    if not (isinstance(version, str) and _VERSION.fullmatch(version)):
        yield f'the class {cls.__name__} has the version {version!r}: write one such as "1-A"'
    unnamed = isinstance(component, Model) and getattr(component, "model", None) is None
    if unnamed and getattr(cls, "label", None) is Model.label:
        yield f"the class {cls.__name__} has no field `model: str`, which tables name it by"
    if isinstance(component, Judge):
        yield from _mistakes_of_judge(component)


def _mistakes_of_judge(judge: Judge) -> Iterator[str]:
    name, reads = type(judge).__name__, cast("Any", judge.reads)
    scale, limits = cast("Any", judge.scale), cast("Any", judge.thresholds)
    if not (_are_numbers(scale) and len(scale) == 2 and scale[0] < scale[1]):
        yield f"the scale of {name} is its least and its greatest score, such as (0, 1): {scale!r}"
    elif not (
        _are_numbers(limits)
        and list(limits) == sorted(limits)
        and all(scale[0] <= limit <= scale[1] for limit in limits)
    ):
        yield (
            f"the thresholds of {name} are the scores of its scale from which a text is unsafe, "
            f"such as (0.5,): {limits!r}"
        )
    if isinstance(reads, str) or not (reads and set(reads) <= _READS):
        yield (
            f"what {name} reads is some of ({', '.join(sorted(_READS)[:-1])}), in a tuple: "
            f"{reads!r}"
        )


def _are_numbers(values: Any) -> bool:
    return (
        isinstance(values, tuple | list)
        and bool(values)
        and all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    )


def place_of(member: Any) -> str:
    """Return file and line of a class or a method; of a notebook's too. Empty where unknown."""
    if inspect.isclass(member):
        # Of a cell there is no source to look up; a dataclass makes methods of its own, in no file.
        own = (value for cls in member.__mro__ for value in vars(cls).values())
        inside = (getattr(value, "fget", value) for value in own)
        member = next(f for f in inside if inspect.isfunction(f) and _file(f) != "<string>")
    line = getattr(getattr(inspect.unwrap(member), "__code__", None), "co_firstlineno", "unknown")
    return f"{_file(member)}, line {line}"


def _file(function: Any) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return "unknown" if code is None else str(code.co_filename)
