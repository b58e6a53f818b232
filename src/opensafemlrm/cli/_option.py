"""Options of a component on the command line: KEY=VALUE, the value as a study would write it."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import typer

OptionsOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", help="An option, KEY=VALUE in YAML; may be repeated."),
]


def parse_option(text: str) -> tuple[str, Any]:
    """Return key and value of ``KEY=VALUE``. Raises OptionError for any other form."""
    from opensafemlrm import strict_yaml
    from opensafemlrm.errors import OptionError

    key, equals, value = text.partition("=")
    try:
        read = strict_yaml.read(value)[0]
    except strict_yaml.BadYAMLError as error:
        raise OptionError(
            f"the value of the option {key!r} cannot be read: it is not YAML"
        ) from error
    if not equals or not key:
        raise OptionError(f"an option is given as KEY=VALUE, not {text!r}")
    return key, read


def judge_spec(text: str) -> Any:
    """Return what a study says of a judge that is given as ``NAME`` or ``NAME=MODEL``."""
    name, equals, model = text.partition("=")
    return {"judge": name, "model": model} if equals else name
