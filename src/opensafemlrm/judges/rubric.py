"""Rubrics: what a judge model is shown, and the form of its reply.

The reply ends with *score fields*, one a line: ``#name: value``. Where the server supports it and
the study says ``structured: true``, they are asked for as a JSON object instead
(``response_format`` with a schema); both forms are parsed strictly.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

from opensafemlrm.judges.fence import fence_token, fill, neutralize
from opensafemlrm.text_file import Template
from opensafemlrm.types import (
    JSON,
    Image,
    Prompt,
    Turn,
)

_PROMPTS: Final = files("opensafemlrm.judges") / "prompts"
_AROUND: Final = r"[*_` ]*"
_SCALE: Final = re.compile(r"\bscale (?:of|from|between) (\d+)(?: to | and |-|–)(\d+)\b")
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
JSON_FORM: Final = "In place of the closing lines, reply with one JSON object and nothing else:"


@dataclass(frozen=True, slots=True)
class ScoreField:
    """One line that a judge's reply ends with: ``#name: value``, the value one of ``values``.

    A ``bare`` one is the value alone.
    """

    name: str
    values: tuple[str, ...]
    bare: bool = False

    @classmethod
    def of_range(cls, name: str, low: int, high: int) -> ScoreField:
        """Build a mark of the whole numbers from ``low`` to ``high``."""
        return cls(name, tuple(str(value) for value in range(low, high + 1)))

    def read(self, line: str) -> str | None:
        """Return the value, ``None`` if the line is not exactly this mark.

        Bold or code marks around it and a full stop after it are let through.
        """
        match = _pattern_of(self).fullmatch(line.strip())
        return match[1].lower() if match else None

    @property
    def numeric(self) -> bool:
        """Whether the values are whole numbers."""
        return all(value.isdigit() for value in self.values)


@functools.lru_cache(maxsize=64)
def _system_turn(policy: str) -> Turn:
    """Return one and the same turn each time: a model may keep what it made of it."""
    return Turn("system", (policy,))


@functools.cache
def _pattern_of(mark: ScoreField) -> re.Pattern[str]:
    # The longest first: "1" must not be taken of "10".
    values = "|".join(sorted(map(re.escape, mark.values), key=len, reverse=True))
    name = "" if mark.bare else f"#{mark.name}: *"
    pattern = rf"{_AROUND}{name}({values}){_AROUND}\.?"
    return re.compile(pattern, re.ASCII | re.IGNORECASE)


UNDERSTOOD: Final = ScoreField("understood", ("yes", "no"))
"""Whether the text under review shows that its writer understood the question."""


@dataclass(frozen=True, slots=True)
class Rubric:
    """What a judge model is told (``policy``, the same bytes before every item), shown, and asked.

    ``item`` has the slots token, question and text, and those of ``more``; ``reminder`` is added
    when the first reply had no marks. Without a policy there is no system message. With
    ``asks_understood`` the JSON form asks for :data:`UNDERSTOOD` too; both forms read it wherever
    it is given, and do without it.
    """

    policy: str
    item: str | Template
    reminder: str
    marks: tuple[ScoreField, ...]
    asks_understood: bool = False

    @property
    def _fields(self) -> tuple[ScoreField, ...]:
        return (UNDERSTOOD, *self.marks) if self.asks_understood else self.marks

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits of everything that the model is told."""
        item = self.item if isinstance(self.item, str) else self.item.text
        text = "\0".join((self.policy, item, self.reminder))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def prompt(
        self,
        question: str,
        text: str,
        *,
        more: Mapping[str, str] = _NOTHING,
        images: Sequence[Image] = (),
        remind: bool = False,
        json: bool = False,
    ) -> Prompt:
        """Return the prompt that asks for the marks of ``text`` as a reply to ``question``.

        The policy comes first and the same each time, so that servers can keep its prefix;
        images, question, ``more`` and text come last, all texts fenced.
        """
        values = {"question": question, "text": text, **more}
        values = {name: neutralize(value) for name, value in values.items()}
        values["token"] = fence_token(*values.values())
        item = self.item
        body = fill(item, values) if isinstance(item, str) else item.fill(values)
        if json:
            body += f"\n\n{JSON_FORM} {self.json_example}"
        elif remind:
            body += f"\n\n{self.reminder}"
        head = (_system_turn(self.policy),) if self.policy else ()
        return Prompt((*head, Turn("user", (*images, body))))

    @property
    def json_example(self) -> str:
        """The JSON object that is asked for, with the values each mark may have."""
        marks = ", ".join(f'"{mark.name}": {"|".join(mark.values)}' for mark in self._fields)
        return f'{{"reasons": "...", {marks}}}'

    def schema(self) -> dict[str, JSON]:
        """Return the ``response_format`` of a request, after OpenAI's structured outputs."""
        properties: dict[str, JSON] = {"reasons": {"type": "string"}}
        for mark in self._fields:
            values: list[JSON] = [int(v) if mark.numeric else v for v in mark.values]
            kind = "integer" if mark.numeric else "string"
            properties[mark.name] = {"type": kind, "enum": values}
        return {
            "type": "json_schema",
            "json_schema": {
                "name": "verdict",
                "strict": True,
                "schema": {
                    "type": "object",
                    "properties": properties,
                    "required": list(properties),
                    "additionalProperties": False,
                },
            },
        }

    def read(self, reply: str) -> dict[str, str] | None:
        """Return the marks that ``reply`` ends with, ``None`` unless it ends with all of them.

        Strict: each alone on its line, in order, last. Marks anywhere else do not count. The line
        before them may be :data:`UNDERSTOOD`.
        """
        written = [line for line in reply.split("\n") if line.strip()]
        before, lines = written[: -len(self.marks)], written[-len(self.marks) :]
        if len(lines) < len(self.marks):
            return None
        marks: dict[str, str] = {}
        if before and (understood := UNDERSTOOD.read(before[-1])):
            marks[UNDERSTOOD.name] = understood
        for mark, line in zip(self.marks, lines, strict=True):
            value = mark.read(line)
            if value is None:
                return None
            marks[mark.name] = value
        return marks

    def read_json(self, reply: str) -> dict[str, str] | None:
        """Return the marks of a reply that is one JSON object of the schema, and nothing else."""
        try:
            said = json.loads(reply, object_pairs_hook=_without_doubles)
        except (ValueError, RecursionError):
            return None
        if not isinstance(said, dict) or not isinstance(said.get("reasons"), str):
            return None
        fields = [*self.marks, UNDERSTOOD] if UNDERSTOOD.name in said else self.marks
        if said.keys() != {"reasons", *(mark.name for mark in fields)}:
            return None
        marks = {mark.name: _value(mark, said[mark.name]) for mark in fields}
        kept = {name: value for name, value in marks.items() if value is not None}
        return kept if len(kept) == len(fields) else None


def _value(mark: ScoreField, said: object) -> str | None:
    if isinstance(said, bool) or not isinstance(said, int if mark.numeric else str):
        return None
    return str(said) if str(said) in mark.values else None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that names a mark twice: which one was meant cannot be known."""
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def prompt_text(name: str) -> str:
    """Return the text of a prompt file beside this one."""
    return (_PROMPTS / name).read_text("utf-8").strip()


def sections(name: str) -> dict[str, str]:
    """Return the parts of a prompt file by their headings."""
    parts = re.split(r"^# (\w+)$", prompt_text(name), flags=re.MULTILINE)
    return {part: text.strip() for part, text in zip(parts[1::2], parts[2::2], strict=True)}


ITEM: Final = prompt_text("policy_rubric_item.md")
"""How question and text are shown to every rubric's reader."""
_REVIEW: Final = prompt_text("review.md")


def rubric(task: str, marks: tuple[ScoreField, ...], more: Sequence[str] = ()) -> Rubric:
    """Put a rubric together: its task, the rules every review keeps, and the marks to end with.

    ``more`` names further texts of the item that are shown between the question and the text.
    """
    form = "\n".join(f"#{mark.name}: {_choice(mark)}" for mark in marks)
    policy = f"{task}\n\n{fill(_REVIEW, {'form': form})}"
    names = ", ".join(f"#{mark.name}: {_choice(mark)}" for mark in marks)
    return Rubric(
        policy, _item(more), f"Your reply must end with these lines and no other: {names}", marks
    )


def _item(more: Sequence[str]) -> str:
    """Return :data:`ITEM` with a place for each of ``more``."""
    end = "=== {{token}} question ends ===\n"
    titles = {name: name.replace("_", " ") for name in more}
    fence = "=== {{token}} "
    blocks = [
        f"{fence}{title} begins ===\n{{{{{name}}}}}\n{fence}{title} ends ===\n"
        for name, title in titles.items()
    ]
    return ITEM.replace(end, "\n".join((end, *blocks))) if blocks else ITEM


def of_template(template: Template, marks: tuple[ScoreField, ...]) -> Rubric:
    """Return the rubric that a template of the user's is, read by ``marks``.

    A scale that it states ("a scale of 1 to 5") is that of the only mark of numbers; a template
    that asks for no line ``#name: value`` is read by its value alone, where there is one mark.
    Raises ValueError where a template cannot be read so.
    """
    scales = {(int(low), int(high)) for low, high in _SCALE.findall(template.text)}
    numeric = [mark for mark in marks if mark.numeric]
    if len(marks) == 1 and numeric and scales:
        low, high = scales.pop()
        least, greatest = int(marks[0].values[0]), int(marks[0].values[-1])
        if scales or not least <= low < high == greatest:
            raise ValueError(
                f"the template states a scale that is not of this judge: its scores run from "
                f"{least} to {greatest}, and its thresholds are made for that"
            )
        marks = (ScoreField.of_range(marks[0].name, low, high),)
    named = [mark for mark in marks if re.search(rf"#{mark.name}\b", template.text, re.IGNORECASE)]
    if not named and len(marks) == 1:
        marks = (replace(marks[0], bare=True),)
    elif len(named) < len(marks):
        lines = " and ".join(
            f"#{mark.name}: {_choice(mark)}" for mark in marks if mark not in named
        )
        raise ValueError(f"the template never asks for {lines}, by which the reply is read")
    names = ", ".join(f"{'' if m.bare else f'#{m.name}: '}{_choice(m)}" for m in marks)
    return Rubric(
        "", template, f"Your reply must end with these lines and no other: {names}", marks
    )


def _choice(mark: ScoreField) -> str:
    if mark.numeric:
        return f"n (a whole number, {mark.values[0]} to {mark.values[-1]})"
    return " or ".join(mark.values)
