"""The command ``safemlrm`` itself: options that may stand anywhere, and its help in panels."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

from typer.core import TyperGroup

from opensafemlrm.cli._renamed import current_names

_FLAGS: Final = {"-q", "--quiet", "-v", "--verbose", "--debug"}
_WITH_VALUE: Final = "--env-file"
_PANELS: Final[Mapping[str, Sequence[str]]] = {
    "Begin": ("demo", "init", "eval", "doctor"),
    "Run": ("run", "merge", "serve-sim", "serve-organism"),
    "Read": ("table", "report", "view", "show", "diff", "export", "import", "cite"),
    "People and judges": ("label", "calibrate"),
    "Decide and watch": ("audit", "watch", "drift"),
    "Parts of a study": ("datasets", "attacks", "defenses", "models", "judges", "new"),
}
_REST: Final = "More"
EXAMPLES: Final[Mapping[str, Sequence[str]]] = tomllib.loads(
    (files("opensafemlrm.cli") / "examples.toml").read_text(encoding="utf-8")
)
"""What to type, by the command."""


class MainGroup(TyperGroup):
    """The command ``safemlrm``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the options for all commands first, replace old spellings, then parse."""
        first, rest = hoisted(args)
        return super().parse_args(ctx, [*first, *current_names(rest)])

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands in panels, each with its whole sentence."""
        left = dict.fromkeys(self.list_commands(ctx))
        for title, names in {**_PANELS, _REST: tuple(left)}.items():
            own = [name for name in names if name in left]
            for name in own:
                del left[name]
            rows = [(name, self.commands[name].get_short_help_str(limit=200)) for name in own]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def hoisted(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the options that every command takes, wherever they stand, and all else."""
    first, rest = [], []
    words = list(args)
    while words:
        word = words.pop(0)
        if word == "--":
            rest += [word, *words]
            break
        if word in _FLAGS or word.startswith(f"{_WITH_VALUE}="):
            first.append(word)
        elif word == _WITH_VALUE:
            first += [word, *words[:1]]
            words = words[1:]
        else:
            rest.append(word)
    return first, rest


def examples(command: str) -> str:
    """Return a command's examples as its help ends with them; nothing where there are none."""
    lines = "\n".join(f"  {line}" for line in EXAMPLES.get(command or "safemlrm", ()))
    return f"\b\nExamples:\n{lines}" if lines else ""
