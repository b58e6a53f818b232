"""The reasoning formats: rows of ``formats.toml``. A user's own format is one more row.

A row says what stands around the reasoning and around the answer; how such rows are read is told in
:mod:`._tags`, :mod:`._sections` and :mod:`._harmony`. ``source`` says where the marks were seen:
the repository or server code of that name, or "unverified" where it is from memory.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import Any, Final

from opensafemlrm.errors import OptionError, UnknownNameError

Pair = tuple[str, str]
"""An opening and a closing mark."""


class Reader(StrEnum):
    """How the replies of a format are read."""

    NONE = "none"
    AUTO = "auto"
    TAGS = "tags"
    HEADINGS = "headings"
    BOXED = "boxed"
    HARMONY = "harmony"
    REGEX = "regex"


@dataclass(frozen=True, slots=True)
class Format:
    """One reasoning format."""

    name: str
    summary: str
    """What a reply looks like, in one line."""
    source: str = ""
    models: tuple[str, ...] = ()
    """Families that write it."""
    reader: Reader = Reader.TAGS
    blocks: tuple[Pair, ...] = ()
    """Marks around reasoning."""
    answers: tuple[Pair, ...] = ()
    """Marks around the answer."""
    inline: tuple[str, ...] = ()
    """Marks that stand inside a sentence of the answer, or between messages: they are left out."""
    label: str = ""
    """A word that every block of reasoning begins with."""
    prefilled: bool = False
    """The chat template writes the opening mark: the reply begins inside reasoning."""
    staged: bool = False
    """Reasoning comes in stages: without an answer after them it has not ended."""
    loose: bool = False
    """Models write the marks as plain text: letters' case, spaces and attributes may differ."""
    one_token: bool = False
    """The closing mark is one token of its own: a model that writes it has ended its thought."""
    special: bool = False
    """The marks are special tokens, which servers strip unless they are asked to keep them."""
    hints: tuple[str, ...] = ()
    """Texts, one of which every marked reply holds, in these letters if any are capitals, in any
    otherwise; none given: ``auto`` never tries."""
    final: tuple[str, ...] = ()
    """Of headings: patterns of the heading before the answer, the surest first."""
    begins: tuple[str, ...] = ()
    """Of headings: patterns of headings that begin reasoning, in their order."""
    regex: str = ""
    """Of a user's format: a pattern with the groups ``reasoning`` and ``answer``."""

    def __str__(self) -> str:
        return self.name

    @property
    def is_detected(self) -> bool:
        """Whether ``auto`` finds it."""
        return bool(self.hints) or self.reader is Reader.HARMONY

    def may_mark(self, text: str, lowered: str) -> bool:
        """Whether ``text``, given in lower case as well, holds one of the hints."""
        for hint in self.hints:  # noqa: SIM110 # any() takes three times as long, for each reply
            if hint in (lowered if hint.islower() else text):
                return True
        return False

    def __hash__(self) -> int:
        return hash(self.name)  # of all its columns, for each reply, it would take as long as them


def _row(name: str, columns: Mapping[str, Any]) -> Format:
    """Build a row of the table: lists become tuples, whatever they hold."""

    def frozen(value: Any) -> Any:
        return tuple(map(frozen, value)) if isinstance(value, list) else value

    fields = {column: frozen(value) for column, value in columns.items()}
    return Format(name, **{**fields, "reader": Reader(fields.get("reader", Reader.TAGS))})


_TABLE: Final = tomllib.loads(
    files("opensafemlrm.reasoning").joinpath("formats.toml").read_text("utf-8")
)

FORMATS: Final[Mapping[str, Format]] = {name: _row(name, row) for name, row in _TABLE.items()}
"""The formats that ship, by name."""

DETECTED: Final = tuple(row for row in FORMATS.values() if row.hints)
"""The formats that ``auto`` tries."""

SPECIAL_TOKENS_KEPT: Final[Mapping[str, Any]] = {
    "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
}
"""What vLLM is asked for where a format's marks are special tokens."""

_OWN_KEYS: Final = (
    "open",
    "close",
    "answer_open",
    "answer_close",
    "opened_by_template",
    "special_tokens",
    "regex",
)


def format_of_model(model: str) -> str:
    """Return the format to read the model of that name in, by its hub id or any name like it.

    Only models that reason in free text need naming, since ordinary replies carry their marks too,
    and those whose marks servers strip unless they are asked to keep them. All others are ``auto``.
    """
    lowered = re.sub(r"[\s_.:]+", "-", model.lower())
    for form in FORMATS.values():
        if form.special or (form.blocks == () and not form.is_detected):
            for family in form.models:
                name = re.sub(r"[\s_.-]+", "-?", family.lower())
                if re.search(rf"(?<![a-z]){name}(?![a-z0-9])", lowered):
                    return form.name
    return "auto"


def resolve(spec: str | Mapping[str, Any] | Format) -> Format:
    """Return the format that a study names, or describes in its own words.

    A description is ``{open: …, close: …}``, with ``answer_open``, ``answer_close``,
    ``opened_by_template`` (the chat template writes ``open``) and ``special_tokens`` (ask servers
    to keep the marks) where they are needed, or ``{regex: …}`` with the named groups ``reasoning``
    and ``answer``. Raises UnknownNameError for an unknown name and OptionError for a description
    that cannot be read.
    """
    if isinstance(spec, Format):
        return spec
    if isinstance(spec, str):
        if spec.startswith("{"):  # as the store names a user's own
            return _own(json.loads(spec))
        if spec not in FORMATS:
            raise UnknownNameError("reasoning format", spec, FORMATS)
        return FORMATS[spec]
    return _own(spec)


def _own(spec: Mapping[str, Any]) -> Format:
    for key in spec:
        if key not in _OWN_KEYS:
            raise UnknownNameError("key of a reasoning format", str(key), _OWN_KEYS)
    # Its name is its description, so that what is stored can be read again.
    name = json.dumps(dict(spec), sort_keys=True)
    if "regex" in spec:
        return _own_regex(name, spec)
    pairs = []
    for opener, closer in (("open", "close"), ("answer_open", "answer_close")):
        texts = (spec.get(opener), spec.get(closer))
        if texts == (None, None) and opener != "open":
            continue
        for key, text in zip((opener, closer), texts, strict=True):
            if not isinstance(text, str) or not text.strip():
                raise OptionError(
                    f"a reasoning format needs the text {key!r}, and {key} is {text!r}"
                )
        pairs.append((str(texts[0]), str(texts[1])))
    if len(set(sum(pairs, ()))) != 2 * len(pairs):
        raise OptionError("the marks of a reasoning format must differ from each other")
    for key in ("opened_by_template", "special_tokens"):
        if not isinstance(spec.get(key, False), bool):
            raise OptionError(f"{key} of a reasoning format is true or false, not {spec[key]!r}")
    (opener, closer), *answers = pairs
    return Format(
        name,
        f"{opener}…{closer}, as the study says",
        "the study",
        blocks=((opener, closer),),
        answers=tuple(answers),
        prefilled=spec.get("opened_by_template", False),
        special=spec.get("special_tokens", False),
    )


def _own_regex(name: str, spec: Mapping[str, Any]) -> Format:
    others = sorted(set(spec) - {"regex", "special_tokens"})
    if others:
        raise OptionError(f"a reasoning format with `regex` takes no {others[0]!r}")
    try:
        pattern = re.compile(str(spec["regex"]), re.DOTALL)
    except re.error as error:
        raise OptionError(f"regex of a reasoning format: {error}") from error
    if not {"reasoning", "answer"} <= set(pattern.groupindex):
        raise OptionError(
            "regex of a reasoning format needs the groups (?P<reasoning>…) and (?P<answer>…)"
        )
    return Format(
        name,
        "a pattern, as the study says",
        "the study",
        reader=Reader.REGEX,
        regex=pattern.pattern,
        special=spec.get("special_tokens", False),
    )
