"""Texts of your own in place of the project's: read from a file, with places for what is filled in.

An attack or a judge that adds words names each such text as an option (:func:`own_words`). Where
you give the option a file, its text is sent instead, so that a method can be run with the very
words of its authors: they stay in your checkout, and results are keyed by their content.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from opensafemlrm.errors import reason_of

MAX_BYTES: Final = 1_000_000
"""The longest file that is read as a text."""
WORDS: Final = "words"
"""Where the metadata of a field holds its :class:`Words`."""
OMITTED: Final = "omitted"
"""Marks a field that is no part of the identity where it is at its default: one that was added
later, so that results of before stay what they were."""
ALIASES: Final = {
    "behavior": "question",
    "explanation": "safety_warning",
    "generation": "text",
    "jailbreak_prompt": "question",
    "prompt": "question",
    "query": "question",
    "reasoning_thinking": "text",
    "reference": "reference_answer",
    "response": "text",
}
"""What published texts call their places."""

_PLACE: Final = re.compile(r"\\\{|\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)?\}|(%s)|%%|\{\{|\}\}")


@dataclass(frozen=True, slots=True)
class TextFile:
    """A text of the user's own. ``place`` says where it was read, ``line`` on which line it begins;
    what it is known by is its content alone.
    """

    text: str
    place: str = dataclasses.field(default="", compare=False)
    line: int = dataclasses.field(default=1, compare=False)

    @classmethod
    def from_option(cls, value: Any) -> Self:
        """Read what a study says: ``FILE``, or ``{file: FILE}``. Raises ValueError
        where there is no text, TypeError for anything else.
        """
        file = value["file"] if isinstance(value, Mapping) and [*value] == ["file"] else value
        if not isinstance(file, str | Path):
            raise TypeError("write FILE or {file: FILE}; FILE.py#NAME is a text in a Python file")
        return cls.read(file)

    @property
    def label(self) -> str:
        """What tables call it: eight digits of its hash."""
        return self.identity()[:8]

    @classmethod
    def read(cls, spec: str | Path) -> Self:
        """Read ``FILE`` whole, or ``FILE.py#NAME``: the text that a Python file gives to a name.

        The Python file is parsed, never run. Line breaks at the end belong to the text. Raises
        ValueError, which names the file and the line, where there is no text.
        """
        path, name = Path(spec), ""
        if not path.exists() and "#" in str(spec):
            file, _, name = str(spec).rpartition("#")
            path = Path(file)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ValueError(f"the text file {path} cannot be read: {reason_of(error)}") from error
        if len(data) > MAX_BYTES:
            raise ValueError(f"the text file {path} has more than {MAX_BYTES:,} bytes")
        try:
            text = data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise ValueError(f"the text file {path}, line {line}: {reason_of(error)}") from error
        read = cls(text, str(path)) if not name else cls._named(text, path, name)
        if not read.text.strip():
            raise ValueError(f"the text file {read.place} is empty; write the text that is sent")
        return read

    @classmethod
    def _named(cls, source: str, path: Path, name: str) -> Self:
        try:
            with warnings.catch_warnings(action="ignore"):
                tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError) as error:
            line = getattr(error, "lineno", None) or 1
            raise ValueError(f"{path}, line {line}: this cannot be read as Python") from error
        values = [*_assigned(tree, name)]
        texts = {value.lineno: _constant(value) for value in values}
        missing = next((line for line, text in texts.items() if text is None), None)
        if missing is not None:
            raise ValueError(f"{path}, line {missing}: {name!r} is not a text as it stands there")
        if not texts:
            raise ValueError(f"{path} gives no text to the name {name!r}")
        if len({*texts.values()}) > 1:
            lines = " and ".join(map(str, sorted(texts)))
            raise ValueError(
                f"{path} gives different texts to {name!r}, on lines {lines}; copy the one that "
                "you want into a file of its own"
            )
        line, text = next(iter(texts.items()))
        return cls(text or "", f"{path}#{name}", line)

    def identity(self) -> str:
        """Return what makes this text the same as another: the SHA-256 of it."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()

    def where(self, at: int) -> str:
        """Return file and line of the character number ``at``."""
        return f"{self.place}, line {self.line + self.text.count(chr(10), 0, at)}"

    def __str__(self) -> str:
        return self.place


@dataclass(frozen=True, slots=True)
class Words:
    """The project's own text behind an option, and the places that a text in its stead may have.

    ``names`` are in the order in which ``{}`` and ``%s`` stand for them; ``needed`` are those that
    no text can do without.
    """

    own: str
    names: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()


def own_words(own: str, *names: str, needed: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """Return the metadata of an option ``TextFile | None``: left out, the text is ``own``.

    ``names`` and ``needed`` are as in :class:`Words`. ``Component.text_of`` is the text to fill.
    """
    return {WORDS: Words(own, names, needed), OMITTED: True}


@dataclass(frozen=True, slots=True)
class Template:
    """A text, cut at its places: text, the name of a place, text, and so on."""

    text: str
    pieces: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The places it has, each once, in their order."""
        return tuple(dict.fromkeys(self.pieces[1::2]))

    def fill(self, values: Mapping[str, str]) -> str:
        """Put ``values`` into their places in one pass: what looks like one in them stays text."""
        return "".join(
            values[piece] if place % 2 else piece for place, piece in enumerate(self.pieces)
        )


@functools.lru_cache(maxsize=256)
def template(words: Words, given: TextFile | None) -> Template:
    """Return the text to fill: ``given``, or the project's own.

    A place is ``{name}`` or ``{{name}}``. In a text that names none, ``{}`` and ``%s`` stand for
    the names in their order, as in published texts. ``\\{`` is a brace. Raises ValueError, with
    file and line, for a place that nothing is known of, and for one that is missing.
    """
    source = TextFile(words.own) if given is None else given
    text, marks = source.text, [*_PLACE.finditer(source.text)]
    names = [_name(match, words) for match in marks]
    numbered = set() if any(names) else {match[0] for match in marks} & {"{}", "%s"}
    pieces, begin, order = [""], 0, iter(words.names)
    for match, name in zip(marks, names, strict=True):
        pieces[-1] += text[begin : match.start()]
        begin = match.end()
        literal = _literal(match, numbered)
        if literal is not None:
            pieces[-1] += literal
            continue
        place = name or (next(order, None) if match[0] in numbered else None)
        if place is None:
            known = ", ".join(f"{{{place}}}" for place in words.names) or "none"
            raise ValueError(
                f"{source.where(match.start())}: there is nothing to put in the place {match[0]}; "
                f"the places here: {known}; write \\{{ for a brace"
            )
        pieces += [place, ""]
    pieces[-1] += text[begin:]
    lacking = [f"{{{name}}}" for name in words.needed if name not in pieces[1::2]]
    if lacking:
        raise ValueError(
            f"{source.where(len(text.rstrip()))}: the text ends, and has no place for "
            f"{' and '.join(lacking)}"
        )
    return Template(text, tuple(pieces))


def _name(match: re.Match[str], words: Words) -> str | None:
    """Return which of the names a place is of, ``None`` for one that is not known."""
    label = match[1] or match[2] or ""
    return next((name for name in (label, ALIASES.get(label)) if name in words.names), None)


def _literal(match: re.Match[str], numbered: set[str]) -> str | None:
    """Return what a match stands for as text, ``None`` where it is a place."""
    if match[0] == "\\{":
        return "{"
    if match[0] in ("{{", "}}"):
        return match[0][0] if "{}" in numbered else match[0]
    if match[0] == "%%":
        return "%" if "%s" in numbered else "%%"
    return match[0] if match[0] in {"{}", "%s"} - numbered else None


def _assigned(tree: ast.AST, name: str) -> Iterator[ast.expr]:
    """Yield what a Python file gives to ``name``, in functions and classes too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        for target in targets:
            if name == getattr(target, "id", getattr(target, "attr", None)):
                yield value


def _constant(node: ast.expr) -> str | None:
    """Return a text that is written out, ``None`` where it is worked out."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        both = [_constant(side) for side in (node.left, node.right)]
        return None if None in both else "".join(map(str, both))
    value = getattr(node, "value", None)
    return value if isinstance(node, ast.Constant) and isinstance(value, str) else None
