"""Old spellings of options, understood for one version with a note."""

from __future__ import annotations

from typing import Final

from opensafemlrm.cli._console import say

_OPTIONS: Final = {
    "run": {"--sink": "--parquet-out", "--skip-bad": "--skip-invalid"},
    "label": {"--as": "--annotator"},
}
_EXPORTS: Final = ("parquet", "csv", "jsonl")
"""What was exported as, when only the tidy table was."""


def current_names(args: list[str]) -> list[str]:
    """Return ``args`` with the new spellings, and say which."""
    if args[:1] == ["export"] and args[1:2] and args[1] in _EXPORTS:
        say(f"note: write `export frame STORE FILE.{args[1]}`; the format is the file's ending now")
        args = ["export", "frame", "--format", *args[1:]]
    renamed = _OPTIONS.get(args[0], {}) if args else {}
    current = []
    for arg in args:
        option, equals, value = arg.partition("=")
        if option in renamed:
            say(f"note: {option} is now {renamed[option]}; the old name goes in the next version")
            option = renamed[option]
        current.append(option + equals + value)
    return current
