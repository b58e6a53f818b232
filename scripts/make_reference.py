"""Write docs/api.md, docs/cli.md and the schema of study files.

They are made from docstrings, from --help, and from what reads studies. Usage:
python scripts/make_reference.py
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import typer

import opensafemlrm
from opensafemlrm.cli import app
from opensafemlrm.cli._console import MEANINGS
from opensafemlrm.reading import Reading
from opensafemlrm.scaffold import study_schema

ROOT = Path(__file__).parents[1]
PYTHON = """\
# Python

Evaluate from a script or a notebook: `import opensafemlrm as osm`.
[evaluate.ipynb](../examples/notebooks/evaluate.ipynb) shows it in use, [tables.md](tables.md)
has the columns of every table, and [frame.md](frame.md) those of `frame()`. This page is made from
the docstrings by `python scripts/make_reference.py`: change those.
"""
COMMANDS = """\
# The command line

Every command with its options, as `--help` shows them. This page is made by
`python scripts/make_reference.py`: change the help texts.
"""
EVERYWHERE = """\
## Options of every command

They stand before the command or anywhere behind it, `--version` and completion alone:
`safemlrm --env-file .env run …`. A line of that file is `NAME=VALUE`,
`#` begins a comment, and a variable that is set already stays as it is.
"""
FIRST = {
    "Run": ("load_study", "Study", "evaluate", "aevaluate", "Limits", "Cluster"),
    "Results": ("open", "Results"),
    "Base classes of your own components": (
        *("Dataset", "Attack", "Search", "Defense", "Model", "Judge", "Card", "Expected"),
    ),
}
_ROLE = re.compile(r":(?:\w+:)*\w+:`~?([^`]*)`")


def python_page() -> str:
    """Return docs/api.md."""
    sections = {title: list(names) for title, names in FIRST.items()}
    listed = {name for names in sections.values() for name in names}
    for name in opensafemlrm.__all__:
        if name not in listed:
            title = "Errors" if name.endswith("Error") else "Values"
            sections.setdefault(title, []).append(name)
    parts = [PYTHON]
    for title, names in sections.items():
        parts.append(f"## {title}\n")
        parts += [_entry(name) for name in names]
    return "\n".join(parts)


def _entry(name: str) -> str:
    value = getattr(opensafemlrm, name)
    if not isinstance(value, type):
        return f"### `{name}{_signature(value)}`\n\n{_prose(value)}\n"
    if issubclass(value, Exception):
        return f"- `{name}` ({value.__mro__[1].__name__}): {_prose(value)}"
    if issubclass(value, Enum):
        members = ", ".join(f"`{member.value}`" for member in value)
        return f"### `{name}`\n\n{_prose(value)} One of {members}.\n"
    own = "" if inspect.isabstract(value) else _signature(value)
    lines = [f"### `{name}{own}`\n", f"{_prose(value)}\n"]
    # What results have of their tables stands below them.
    inherited = vars(Reading) if issubclass(value, Reading) else {}
    for member, attribute in {**inherited, **vars(value)}.items():
        if not member.startswith("_") and inspect.getdoc(attribute):
            if inspect.isfunction(attribute):
                head = f"{member}{_signature(attribute, method=True)}"
            elif isinstance(attribute, property | cached_property):
                head = member
            elif isinstance(attribute, classmethod):
                head = f"{name}.{member}{_signature(attribute.__func__, method=True)}"
            else:
                continue
            lines.append(f"- `{head}`: {_prose(attribute)}")
    return "\n".join(lines) + "\n"


def _signature(value: Any, *, method: bool = False) -> str:
    signature = inspect.signature(value)
    parameters = list(signature.parameters.values())[1 if method else 0 :]
    shown = [
        p.replace(annotation=inspect.Parameter.empty)
        for p in parameters
        if p.default is not inspect.Parameter.empty or p.kind is not p.VAR_KEYWORD
    ]
    text = str(inspect.Signature(shown))
    for made in (opensafemlrm.Limits(), opensafemlrm.Usage()):
        text = text.replace(repr(made), f"{type(made).__name__}()")
    return re.sub(r"<(\w+\.\w+): [^>]*>", r"\1", text).replace("<factory>", "{}")


def _prose(value: Any) -> str:
    text = inspect.cleandoc(inspect.getdoc(value) or "")
    text = re.sub(r":mod:`([^`]*)`", r"`\1`", text)
    text = _ROLE.sub(lambda m: f"`{m[1].rpartition('.')[2]}`", text).replace("``", "`")
    return " ".join(text.split()) if "::" not in text else text


def commands_page() -> str:
    """Return docs/cli.md."""
    codes = [f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items()]
    ends = ["## Exit codes\n", "| code | meaning |", "|--:|:--|", *codes, ""]
    rows = [
        f"| {_name(p)} | {_cell(getattr(p, 'help', ''))} |"
        for p in typer.main.get_command(app).params
    ]
    rows.append("| `-h`, `--help` | Show the help of the program, or of the command. |")
    options = [EVERYWHERE, "| option | meaning |", "|:--|:--|", *rows, ""]
    each = (_command(path, command) for path, command in commands())
    return "\n".join([COMMANDS, *options, *ends, *each])


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command of ``safemlrm`` by what is typed for it."""
    pending: list[tuple[str, Any]] = [("safemlrm", typer.main.get_command(app))]
    while pending:
        path, command = pending.pop(0)
        below = getattr(command, "commands", None)
        if below is None:
            yield path, command
        else:
            pending = [(f"{path} {name}", inner) for name, inner in below.items()] + pending


def _command(path: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join([path, *(p.name.upper() for p in arguments)])
    shown = [p for p in command.params if not getattr(p, "hidden", False)]
    rows = [f"| {_name(p)} | {_cell(getattr(p, 'help', ''))} | {_default(p)} |" for p in shown]
    head = ["| option | what it does | if left out |", "|:--|:--|:--|"] if rows else []
    return "\n".join([f"## `{usage}`\n", f"{command.help.strip()}\n", *head, *rows, ""])


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    return ", ".join(f"`{option}`" for option in parameter.opts)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "needed"
    default = getattr(parameter.default, "value", parameter.default)
    return "" if default in (None, False, "") else f"`{default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


PAGES = {
    "docs/api.md": python_page,
    "docs/cli.md": commands_page,
    f"src/opensafemlrm/scaffold/{study_schema.NAME}": study_schema.make,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (ROOT / name).write_text(page(), encoding="utf-8")
