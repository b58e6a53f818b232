"""The command ``safemlrm`` itself: options that may stand anywhere, and its help in panels."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

from typer.core import TyperCommand, TyperGroup

from opensafemlrm.cli._renamed import current_names
from opensafemlrm.cli._usage import usage_errors

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
_TYPES: Final = {r"int|float": "number", r"(?i)path|file|dir": "path", r"str": "text"}
"""What options take, by how the library writes their types."""
_RANGES: Final = {
    r"\[x>=([^\]]*)\]": r"[\1 or more]",
    r"\[([^\]<]*)<=x<=([^\]]*)\]": r"[\1 to \2]",
}
EXAMPLES: Final[Mapping[str, Sequence[str]]] = tomllib.loads(
    (files("opensafemlrm.cli") / "examples.toml").read_text(encoding="utf-8")
)
"""What to type, by the command."""


class Command(TyperCommand):
    """A command whose help has no word of Python."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        for parameter in self.params:
            _with_plain_type(parameter)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the pieces of its usage line: what may be left out is in brackets."""
        del ctx
        arguments = [p for p in self.params if p.param_type_name == "argument"]
        names = [str(p.name).upper() + "..." * (p.nargs != 1) for p in arguments]
        pairs = zip(arguments, names, strict=True)
        return ["[OPTIONS]", *(name if p.required else f"[{name}]" for p, name in pairs)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write what it takes: arguments by their names, then options."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        parameters: list[Any] = self.get_params(ctx)
        for parameter in parameters:
            if (record := parameter.get_help_record(ctx)) is None:
                continue
            name, text = record
            title = "Options"
            if parameter.param_type_name == "argument":
                title, kind = "Arguments", parameter.type_descriptor
                choices = f" {parameter.display_type(ctx)}" if kind.is_choice else ""
                name = f"{str(parameter.name).upper()}{choices}"
            for pattern, words in _RANGES.items():
                text = re.sub(pattern, words, text)
            sections[title].append((name, text))
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _with_plain_type(parameter: Any) -> None:
    """Say what a parameter takes as people do, where the library would name a type of Python."""
    is_option = parameter.param_type_name == "option" and not parameter.is_flag
    if not is_option or parameter.metavar is not None or parameter.type_descriptor.is_choice:
        return
    written = str(parameter.display_type(None))
    for pattern, word in _TYPES.items():
        if re.search(pattern, written):
            parameter.metavar = f"<{word}>"
            return


class Group(TyperGroup):
    """A group of commands; its help has each command's whole sentence."""

    panels: Mapping[str, Sequence[str]] = MappingProxyType({})

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands in panels."""
        left = dict.fromkeys(self.list_commands(ctx))
        rest = _REST if self.panels else "Commands"
        for title, names in {**self.panels, rest: tuple(left)}.items():
            own = [name for name in names if name in left]
            for name in own:
                del left[name]
            rows = [(name, self.commands[name].get_short_help_str(limit=200)) for name in own]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class MainGroup(Group):
    """The command ``safemlrm``."""

    panels = _PANELS

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the options for all commands first, replace old spellings, then parse."""
        first, rest = hoisted(args)
        return super().parse_args(ctx, [*first, *current_names(rest)])

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Parse what stands before the command; a mistake is an error like every other."""
        with usage_errors():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; so are mistakes behind it."""
        with usage_errors():
            return super().invoke(ctx)


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
