"""YAML that others may have written: small, flat, and made of plain values.

Anchors and tags are refused: nothing here needs them, and they unfold to what is not there.
"""

from __future__ import annotations

import pathlib
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import yaml

from opensafemlrm.errors import MistakesError

MAX_BYTES: Final = 256 * 1024
"""Largest file that is read."""
MAX_DEPTH: Final = 24
"""Levels of nesting that are read."""
MAX_VALUES: Final = 20_000
_MAX_NUMBER: Final = 40
"""Characters that a number may have."""
_NUMBERS: Final = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")

Path = tuple[str | int, ...]
"""The keys and indices that lead to a value."""


class BadYAMLError(ValueError):
    """A text is not such YAML."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        self.reason, self.line = reason, line
        super().__init__(reason if line is None else f"line {line}: {reason}")


def text_of(file: pathlib.Path | str) -> str:
    """Return a file's text, or as much as shows that it is too long for :func:`read`.

    Raises OSError and UnicodeDecodeError.
    """
    with pathlib.Path(file).open(encoding="utf-8") as opened:
        return opened.read(MAX_BYTES + 1)


def read(text: str) -> tuple[Any, yaml.Node | None]:
    """Return what a text says, and the nodes that say where. Raises BadYAMLError."""
    if len(text) > MAX_BYTES:
        raise BadYAMLError(f"this file has at most {MAX_BYTES:,} characters")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return (None if node is None else loader.construct_document(node)), node
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = None if mark is None else mark.line + 1
        raise BadYAMLError(f"this is not valid YAML: {error.problem}", line) from error
    except (yaml.YAMLError, OverflowError) as error:
        problem = str(error).splitlines()[0]
        raise BadYAMLError(f"this is not valid YAML: {problem}") from error


@dataclass(frozen=True, slots=True)
class Document:
    """What a file of keys says, and on which line each value stands; ``name`` is the file's."""

    name: str
    data: dict[str, Any]
    lines: Mapping[Path, int]
    fault: type[MistakesError]
    """The error of what is wrong in such a file."""

    @classmethod
    def read(cls, text: str, name: str, what: str, fault: type[MistakesError]) -> Document:
        """Read a text; ``what`` says what it is, with one of its keys. Raises ``fault``.

        An empty text has no keys.
        """
        try:
            data, node = read(text)
        except BadYAMLError as error:
            where = "" if error.line is None else f", line {error.line}"
            raise fault(f"{name}{where}: {error.reason}") from error
        if not isinstance(data, dict | None):
            raise fault(f"{name}: {what}")
        return cls(name, data or {}, lines_of(node), fault)

    def error(self, mistakes: Iterable[tuple[Path, str]]) -> MistakesError:
        """Return the error of some mistakes: of each the file, the line, the key and the reason."""
        numbered = []
        for path, message in mistakes:
            known = path
            while known and known not in self.lines:
                known = known[:-1]
            key = ".".join(map(str, path)) or "the file"
            numbered.append((self.lines.get(known, 1), f"{key}: {message}"))
        in_order = sorted(numbered, key=itemgetter(0))
        return self.fault(*(f"{self.name}, line {line}, {text}" for line, text in in_order))


def lines_of(node: yaml.Node | None) -> dict[Path, int]:
    """Return the line on which each value stands: of a mapping's value, the line of its key."""
    lines: dict[Path, int] = {}
    if node is not None:
        _note_lines(node, (), lines)
    return lines


def place_of(loc: Path, data: Any) -> Path:
    """Cut the location of pydantic's to the steps that ``data`` has."""
    place: list[str | int] = []
    for step in loc:
        inside = (isinstance(data, dict) and step in data) or (
            isinstance(data, list) and isinstance(step, int) and step < len(data)
        )
        if inside:
            data = data[step]
            place.append(step)
        elif isinstance(data, dict):
            return (*place, step)
        else:
            break
    return tuple(place)


NEEDED: Final = "this key is needed"
_WITHIN: Final[Mapping[str, str]] = {
    "greater_than_equal": "{ge:g} or more",
    "greater_than": "more than {gt:g}",
    "less_than_equal": "{le:g} or less",
    "less_than": "less than {lt:g}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "too_short": "{min_length} or more of them",
    "too_long": "{max_length} of them or fewer",
    "string_too_short": "{min_length} characters or more",
    "string_too_long": "{max_length} characters or fewer",
}
_KINDS: Final[Mapping[str, str]] = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "a text",
    "path": "a path",
    "date": "a date such as 2026-01-31",
    "dict": "keys with values",
    "mapping": "keys with values",
    "model": "keys with values",
    "none": "nothing",
    **dict.fromkeys(("list", "tuple", "set", "frozen"), "a list"),
}


def explain(error: Any) -> str:
    """Say what is wrong with a value that pydantic refused, as all files and options say it."""
    kind, given = error["type"], error["input"]
    what = _KINDS.get(kind.partition("_")[0])
    if kind == "missing":
        return NEEDED
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind in _WITHIN:
        what = _WITHIN[kind].format(**error["ctx"])
    if what is None or kind == "string_pattern_mismatch":
        return f"{error['msg']}, not {given!r}"
    if given is None:
        return f"write {what}; here is nothing"
    if what == "a list" and isinstance(given, str | int | float | dict):
        return (
            f"write a list: {yaml.safe_dump([given], default_flow_style=True, width=1000)}".strip()
        )
    return f"write {what}, not {given!r}"


def _note_lines(node: yaml.Node, path: Path, lines: dict[Path, int]) -> None:
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _note_lines(value, (*path, key.value), lines)
            lines[*path, key.value] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _note_lines(value, (*path, i), lines)


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call] # PyYAML has no types for it
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise BadYAMLError(
                "YAML anchors are not read here: write out what stands at the *", line
            )
        if getattr(event, "tag", None):
            raise BadYAMLError("YAML tags are not read here", line)
        self._depth, self._values = self._depth + 1, self._values + 1
        if self._depth > MAX_DEPTH:
            raise BadYAMLError("this YAML is nested too deeply", line)
        if self._values > MAX_VALUES:
            raise BadYAMLError(f"this YAML has more than {MAX_VALUES:,} values", line)
        node = super().compose_node(parent, index)
        self._depth -= 1
        _check(node, line)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except BadYAMLError:
            raise
        except ValueError as error:  # a date, say, that cannot be
            line = node.start_mark.line + 1
            raise BadYAMLError(f"this is not valid YAML: {error}", line) from error


def _check(node: yaml.Node | None, line: int) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise BadYAMLError("a key is a word, not a list or a mapping", line)
            if key.value in seen:
                raise BadYAMLError(f"the key {key.value!r} is there twice", line)
            seen.add(key.value)
    elif isinstance(node, yaml.ScalarNode):
        if node.tag in _NUMBERS and len(node.value) > _MAX_NUMBER:
            raise BadYAMLError("a number has at most 40 characters; quote it if it is text", line)
        if not node.value.isascii() and any("\ud800" <= c <= "\udfff" for c in node.value):
            raise BadYAMLError("this text holds half a character (a surrogate)", line)
