"""What ``safemlrm new`` writes: a small component of a kind, its test, and where it is named.

The files beside this one are the blocks of CONTRIBUTING.md as well, and are held to the contract of
their kind. A new component is a copy of one, with another name.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from opensafemlrm import registry
from opensafemlrm.errors import OptionError
from opensafemlrm.files import write_atomic
from opensafemlrm.registry import ComponentKind

MAX_NAME: Final = 20
"""Characters of a name, so that every line that holds it keeps its length."""
EXAMPLES: Final[Mapping[ComponentKind, str]] = {
    ComponentKind.DATASET: "tea-time",
    ComponentKind.ATTACK: "reversed-text",
    ComponentKind.DEFENSE: "house-rules",
    ComponentKind.MODEL: "plain-echo",
    ComponentKind.JUDGE: "reply-length",
}
"""What the files beside this one are called."""
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MAKE: Final[Mapping[ComponentKind, str]] = {
    ComponentKind.DATASET: """\
    place.mkdir()
    rows = "1,green,How long does it draw?\\n2,black,How hot is the water?\\n"
    (place / "MODULE.csv").write_text(f"id,scenario,question\\n{rows}", encoding="utf-8")
    return CLASS(place)""",
    ComponentKind.MODEL: '    return CLASS("one")',
}
"""How the test of a kind makes a component, where its class alone is not enough."""


@dataclass(frozen=True, slots=True)
class Names:
    """A component's name in the forms in which it is written."""

    name: str

    @property
    def module(self) -> str:
        """As a module: ``moon_lantern``."""
        return self.name.replace("-", "_")

    @property
    def cls(self) -> str:
        """As a class: ``MoonLantern``."""
        return "".join(word.capitalize() for word in self.name.split("-"))

    @property
    def title(self) -> str:
        """As a title: ``Moon lantern``."""
        return self.name.replace("-", " ").capitalize()


def component(kind: ComponentKind, name: str) -> str:
    """Return the source of a component: the example of its kind, called ``name``."""
    old, new = Names(EXAMPLES[kind]), Names(name)
    source = _text(f"{kind}.py")
    for form in ("cls", "title", "module", "name"):
        source = source.replace(getattr(old, form), getattr(new, form))
    return source


def _text(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def contract_test(kind: ComponentKind, name: str, module: str) -> str:
    """Return the source of a test that holds the component in ``module`` to its contract."""
    source = _text("contract_test.txt")
    source = source.replace("    MAKE", _MAKE.get(kind, "    return CLASS()"))
    if not module.startswith("opensafemlrm."):  # a package's own modules come last
        own, ours = re.findall(
            r"^from \w+ import CLASS\n|^from opensafemlrm.*\n", source, re.MULTILINE
        )
        source = source.replace(f"\n{own}{ours}", f"{ours}\n{own}")
    return _filled(source.replace("IMPORTED", module), kind, name)


def write_package(kind: ComponentKind, name: str, root: Path) -> list[Path]:
    """Write a package ``root/NAME`` with the component in it; return its files.

    Raises OptionError for a name that cannot be used, or that is there.
    """
    _check(kind, name)
    new, folder = Names(name), root / name
    if find_spec(new.module) is not None and not folder.exists():
        raise OptionError(f"the name {name!r} is taken: Python has a module {new.module} already")
    return _write(
        {
            folder / "pyproject.toml": _filled(_text("pyproject.txt"), kind, name),
            folder / "src" / new.module / "__init__.py": f'"""{new.title}, for opensafemlrm."""\n',
            folder / "src" / new.module / f"{kind}.py": component(kind, name),
            folder / "tests" / f"test_{new.module}.py": contract_test(
                kind, name, f"{new.module}.{kind}"
            ),
        }
    )


def write_in_tree(kind: ComponentKind, name: str, root: Path) -> list[Path]:
    """Write the component into a checkout of this project, with its test, its row of the registry
    and its row of the documents; return the files that are new or changed.

    Raises OptionError for a name that cannot be used, and where ``root`` is no checkout.
    """
    _check(kind, name)
    new = Names(name)
    source, tests = root / "src" / "opensafemlrm", root / "tests" / f"{kind}s"
    table, document = source / "built_in.toml", root / "docs" / f"{kind}s.md"
    if not table.is_file():
        raise OptionError(f"{root} is no checkout of opensafemlrm; write a package: --plugin")
    place = "models.hosted" if kind is ComponentKind.MODEL else f"{kind}s"
    module = f"opensafemlrm.{place}.{new.module}"
    written = _write(
        {
            source.joinpath(*place.split("."), f"{new.module}.py"): component(kind, name),
            tests / f"test_{new.module}.py": contract_test(kind, name, module),
        }
    )
    rows = table.read_text(encoding="utf-8")
    row = f'\n[{kind}.{name}]\nclass = "{module}:{new.cls}"\n'
    write_atomic(table, rows + row, private=False)
    shown = f"{name}/NAME" if kind is ComponentKind.MODEL else name
    _append_row(document, f"`{shown}`", new.title)
    return [*written, table, document]


def _check(kind: ComponentKind, name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise OptionError(
            f"the name {name!r} cannot be used: write lower case, digits and hyphens, at most "
            f"{MAX_NAME} characters, such as {EXAMPLES[kind]}"
        )
    if name in registry.names(kind):
        raise OptionError(f"the name {name!r} is taken: another {kind} has it")
    new = Names(name)
    words = set(re.findall(r"\w+", _text(f"{kind}.py"))) - {Names(EXAMPLES[kind]).cls}
    if keyword.iskeyword(new.module) or keyword.iskeyword(new.cls) or new.cls in words:
        raise OptionError(f"the name {name!r} cannot be used: its file has that word already")
    if new.cls.startswith("Test"):
        raise OptionError(
            f"the name {name!r} cannot be used: pytest would take its class for tests"
        )


def _filled(text: str, kind: ComponentKind, name: str) -> str:
    new = Names(name)
    values = {"KIND": kind.value, "NAME": name, "MODULE": new.module, "CLASS": new.cls}
    return re.sub(r"\b(KIND|NAME|MODULE|CLASS)(?=s?\b)", lambda slot: values[slot[1]], text)


def _write(texts: Mapping[Path, str]) -> list[Path]:
    for path in texts:
        if path.exists():
            raise OptionError(f"{path} is there already")
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text, private=False)
    return list(texts)


def _append_row(path: Path, name: str, title: str) -> None:
    """Add a row to the first table of a document; its other columns are for its author."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    head = next(number for number, line in enumerate(lines) if line.startswith("|--"))
    end = next(n for n in range(head, len(lines)) if not lines[n].startswith("|"))
    rest = [" – "] * (lines[head].count("|") - 3)
    lines.insert(end, "|".join(["", f" {name} ", f" {title} ", *rest, "\n"]))
    write_atomic(path, "".join(lines), private=False)
