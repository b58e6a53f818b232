"""Errors of the command line itself: each is one sentence, like every other error."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any, Final

import typer

from opensafemlrm.cli._console import fail
from opensafemlrm.cli._exit_codes import ExitCode
from opensafemlrm.errors import nearest

UsageError: Final[type[Any]] = typer.BadParameter.__mro__[1]
_CHOICE: Final = re.compile(r"(?:Value error, )?'(.*)' is not one of (.*?)\.?", re.DOTALL)
_COMMAND: Final = re.compile(r"No such command '(.*?)'\..*", re.DOTALL)
_WORDS: Final = (
    (r"Input should be a valid integer.*", "this is a whole number"),
    (r"Input should be a valid number.*", "this is a number"),
    (r"Input should be greater than or equal to (.*)", r"this is \1 at least"),
    (r"Input should be less than or equal to (.*)", r"this is \1 at most"),
    (r"Input should be greater than (.*)", r"this is more than \1"),
    (r"Input should be less than (.*)", r"this is less than \1"),
    (r"Value error, (.*)", r"\1"),
    (r"Option '?(--?[\w-]+)'? requires an argument\.?", r"\1 needs a value"),
    (r"Got unexpected extra argument\(?s?\)? \((.*)\)", r"there is no argument for: \1"),
)
"""What the libraries say, and what a person would."""


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """Say an error of the command line as every other one is said, and end with UNUSABLE."""
    try:
        yield
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        fail(sentence(error))
        raise typer.Exit(ExitCode.UNUSABLE) from error


def sentence(error: Any) -> str:
    """Return what is wrong, with the nearest names, and where to read what there is."""
    parameter = getattr(error, "param", None)
    message, is_ours = _what(error, parameter), parameter is None and type(error).__name__ in _OURS
    if is_ours or error.ctx is None:
        return message
    see = f"see `{error.ctx.command_path} -h`"
    return f"{message} ({see})" if message.endswith(("?", ".")) else f"{message}; {see}"


_OURS: Final = ("BadParameter",)
"""What commands raise themselves, without a parameter."""


def _what(error: Any, parameter: Any) -> str:
    message = str(error.message)
    if type(error).__name__ == "NoSuchOption":
        options = [o for p in error.ctx.command.params if not p.hidden for o in p.opts]
        return f"there is no option {error.option_name}{_near(error.option_name, options)}"
    if type(error).__name__ == "MissingParameter":
        return f"{_name(parameter)} is missing{f': {parameter.help}' if parameter.help else ''}"
    if command := _COMMAND.fullmatch(message):
        return f"there is no command {command[1]!r}{_near(command[1], error.ctx.command.commands)}"
    if choice := _CHOICE.fullmatch(message):
        names = re.findall(r"'(.*?)'", choice[2])
        known = _near(choice[1], names) or f"; it is one of {', '.join(names)}"
        return f"{_name(parameter)}: there is no {choice[1]!r}{known}"
    for pattern, words in _WORDS:
        if re.fullmatch(pattern, message):
            message = re.sub(pattern, words, message)
            break
    return message if parameter is None else f"{_name(parameter)}: {message}"


def _name(parameter: Any) -> str:
    """Return what people type for a parameter."""
    if parameter is None:
        return "this"
    options = [option for option in parameter.opts if option.startswith("-")]
    return max(options, key=len) if options else str(parameter.name).upper()


def _near(name: str, known: Any) -> str:
    near = nearest(name, known)
    return f"; did you mean {' or '.join(near)}?" if near else ""
