"""The command ``safemlrm`` itself: options that may stand anywhere, help in panels, its errors."""

from __future__ import annotations

import contextlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import ExitCode, fail, say
from opensafemlrm.errors import OptionError, nearest, reason_of

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


_OPTIONS: Final = {
    "run": {"--sink": "--parquet-out", "--skip-bad": "--skip-invalid"},
    "label": {"--as": "--annotator"},
}
_EXPORTS: Final = ("parquet", "csv", "jsonl")
"""What was exported as, when only the tidy table was."""


def current_names(args: list[str]) -> list[str]:
    """Return ``args`` with new spellings for old ones, which one version takes, and say which."""
    if args[:1] == ["export"] and args[1:2] and args[1] in _EXPORTS:
        say(f"note: write `export frame STORE FILE.{args[1]}`; the format is the file's ending now")
        args = ["export", "frame", "--format", *args[1:]]
    renamed = _OPTIONS.get(args[0], {}) if args else {}
    current = []
    for arg in args:
        option, equals, value = arg.partition("=")
        if option in renamed:
            say(f"note: {option} is now {renamed[option]}; the next version drops the old name")
            option = renamed[option]
        current.append(option + equals + value)
    return current


_LINE: Final = re.compile(
    r"""(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*+)\s*+=\s*+
    (?:'(?P<plain>[^']*+)'|"(?P<escaped>(?:[^"\\]|\\.)*+)"|(?P<bare>[^'"\s\#][^\#]*+)?+)
    \s*+(?:(?<=\s)\#.*)?""",
    re.VERBOSE,
)
"""Nothing is tried twice, so that a line takes time in step with its length."""
_ESCAPES: Final = {"n": "\n", "t": "\t"}


def read_env_file(path: Path) -> None:
    """Set the variables of a file that the environment does not have yet.

    A line is ``NAME=VALUE``, the value bare, in ``'…'``, or in ``"…"`` with escapes; ``#`` begins a
    comment. Raises OptionError for any other line, without repeating it, and where there is
    no such file, and OSError.
    """
    if not path.exists():
        raise OptionError(f"--env-file: there is no file {path}")
    try:
        lines = lazy.read_as(path, str.splitlines)
    except ValueError as error:
        raise OptionError(f"{path}: this is no list of variables: {reason_of(error)}") from error
    for number, written in enumerate(lines, 1):
        line = written.removeprefix("\ufeff").strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None or "\0" in line:
            # Not repeated: it may well hold a key.
            raise OptionError(f"{path}, line {number}: a line is NAME=VALUE, with '…' for blanks")
        bare, escaped = (match["bare"] or "").rstrip(), _unescaped(match["escaped"] or "")
        os.environ.setdefault(match["name"], match["plain"] or bare or escaped)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text)
