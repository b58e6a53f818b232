"""The wording that judges recognise by rule: the patterns of ``wording.toml``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

_FRAGMENT: Final = re.compile(r"<([a-z_]+)>")
_LINE_BREAK: Final = re.compile(r"(?:\A|\n) *")


def pattern(table: str, name: str) -> re.Pattern[str]:
    """Compile a pattern; a list is a choice of its entries."""
    return re.compile(_text(table, name))


def patterns(table: str, name: str) -> tuple[re.Pattern[str], ...]:
    """Compile each entry of a list."""
    return tuple(re.compile(_filled(table, entry)) for entry in _wording()[table][name])


def _text(table: str, name: str) -> str:
    value = _wording()[table][name]
    if isinstance(value, str):
        return _filled(table, value)
    return f"(?:{'|'.join(_filled(table, entry) for entry in value)})"


def _filled(table: str, text: str) -> str:
    plain = _LINE_BREAK.sub("", text)
    return _FRAGMENT.sub(lambda fragment: _text(table, fragment[1]), plain)


@cache
def _wording() -> Mapping[str, Mapping[str, str | list[str]]]:
    text = files("opensafemlrm.judges").joinpath("wording.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
