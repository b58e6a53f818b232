"""The texts that a component adds, as its commands show them: the project's own, or a file's."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.errors import OptionError

_INDENT: Final = " " * 4


def texts(component: type[Any], files: Mapping[str, Any]) -> Iterator[str]:
    """Yield what each of the texts says, with its places; ``files`` has those of the user's.

    Raises OptionError for a file that cannot be used.
    """
    fields, key = dataclasses.fields(component), lazy.text_file.WORDS
    options = {field.name: field.metadata[key] for field in fields if key in field.metadata}
    for unknown in files.keys() - options.keys():
        known = ", ".join(options) or "none"
        raise OptionError(f"{unknown!r} is no text of {component.name!r}; its texts: {known}")
    for option, words in options.items():
        if not words.own and option not in files:
            yield f"text {option}: this project's words, in src/opensafemlrm/judges/prompts/"
            continue
        try:
            given = lazy.text_file.TextFile.read(files[option]) if option in files else None
            parsed = lazy.text_file.template(words, given)
        except ValueError as error:
            raise OptionError(f"{option}: {error}") from error
        places = ", ".join(f"{{{name}}}" for name in words.names) or "none"
        of = "this project's words" if given is None else f"{given}, sha256 {given.identity()}"
        yield f"text {option} ({of}; places: {places})"
        for line in parsed.text.strip("\n").split("\n"):
            yield from textwrap.wrap(line, 92, initial_indent=_INDENT, subsequent_indent=_INDENT)
