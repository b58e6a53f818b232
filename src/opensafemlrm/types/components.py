"""What can be asked of any component: what it is, what tables call it, what it can do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from opensafemlrm.types.content import JSON
from opensafemlrm.types.kinds import Capability
from opensafemlrm.types.protocols import Model

ALL_DEVICES: Final = "auto"
"""A device's name for all that there are."""


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


def reduce_to_options(component: Any) -> tuple[Any, ...]:
    """Pickle a component as its options, for ``__reduce__`` of one that holds more.

    A copy elsewhere is made anew: no connection travels, and no key that was read from here.
    """
    options = {f.name: getattr(component, f.name) for f in dataclasses.fields(component) if f.init}
    return _make, (type(component), options)


def _make(cls: type[Any], options: Mapping[str, Any]) -> Any:
    return cls(**options)


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
