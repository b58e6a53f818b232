"""What makes a model's replies comparable, and what tables call it, from its options."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from opensafemlrm.types import JSON, content_key


def changed(model: Any) -> dict[str, JSON]:
    """Return the options that change replies and are not at their defaults.

    Options at their defaults are left out, so that an option added later changes no key. ``model``
    itself stands elsewhere.
    """
    plain: dict[str, Any] = {}
    for each in fields(model):
        made = each.default if each.default_factory is MISSING else each.default_factory()
        plain[each.name] = list(made) if isinstance(made, tuple) else made
    given = model.options()
    given.pop("model")
    return {name: value for name, value in given.items() if value != plain[name]}


def label(model: Any) -> str:
    """Return ``PROVIDER/NAME``, with what sets it apart from the same model asked plainly.

    ``@revision`` where there is one; ``thinking=off``; other options that change replies by their
    names, with four digits of their content: ``openai/NAME[extra_body:3f9a]``.
    """
    options = changed(model)
    revision = options.pop("revision", None)
    thinking = options.pop("thinking", None)
    marks = [f"{name}:{content_key(value).hex()[:4]}" for name, value in options.items()]
    if thinking is not None:
        marks.insert(0, f"thinking={'on' if thinking else 'off'}")
    at = "" if revision is None else f"@{revision}"
    return f"{model.name}/{model.model}{at}" + (f"[{','.join(marks)}]" if marks else "")


def identity(model: Any) -> dict[str, JSON]:
    """Return name, version, model, and those options that change replies and are set."""
    return {
        "name": model.name,
        "version": model.version,
        "model": model.model,
        **changed(model),
    }
