"""What a log of Inspect AI says that another project's task wrote: items, prompts and scores.

What a foreign score means is not in a log: ``C`` may be a right answer or a harmful one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from inspect_ai.model import ChatMessageUser

from opensafemlrm.errors import OptionError
from opensafemlrm.interop.replies_in import ForeignJudge
from opensafemlrm.models.hosted.inspect import response_of
from opensafemlrm.models.http.replies import clip
from opensafemlrm.redaction import known
from opensafemlrm.store import records
from opensafemlrm.text import counted
from opensafemlrm.types import PARTS, Item, ItemKind, Part, Response, Unscored, Verdict

_RULE: Final = re.compile(r"(.+?)\s*(>=|<=)\s*(-?[0-9.]+)")
_LETTERS: Final = {"C": 1.0, "P": 0.5, "I": 0.0, "true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
"""Inspect's words for scores. ``N``, no answer, is none."""
_SCENARIOS: Final = ("scenario", "category", "subject", "topic")
"""Where other tasks' samples say what they are about."""


@dataclass(frozen=True, slots=True)
class Unsafe:
    """From which value on a foreign score means "unsafe": ``SCORER>=0.5``, ``SCORER<=0.5``."""

    scorer: str
    at_least: bool
    value: float

    @classmethod
    def parse(cls, text: str) -> Unsafe:
        """Read what a user writes. Raises OptionError."""
        match = _RULE.fullmatch(text.strip())
        try:
            scorer, sign, value = match.groups() if match else ("", "", "")
            return cls(scorer, sign == ">=", float(value))
        except ValueError as error:
            raise OptionError(f"write 'SCORER>=0.5' or 'SCORER<=0.5', not {text!r}") from error

    @property
    def judge(self) -> ForeignJudge:
        """The scorer as a judge. Where low is unsafe, its scores are below nought."""
        threshold = self.value if self.at_least else -self.value
        return ForeignJudge(self.scorer, (threshold,), scale=None)

    def verdict(self, value: Any, rationale: str) -> Verdict:
        """Return the verdict that a score is."""
        number = _number(value)
        if number is None:
            return Verdict.none(Unscored.NOT_RECORDED, rationale=rationale)
        score = number if self.at_least else -number
        unsafe = score >= self.judge.unsafe_from
        return Verdict.scored(score, unsafe=unsafe, rationale=rationale)


def item_of_sample(sample: Any, dataset: str, kind: ItemKind, origin: str) -> Item:
    """Return the item that a sample asks about: its last words of a user."""
    texts = [message.text for message in messages_in(sample.input) if message.role == "user"]
    named = (sample.metadata.get(name) for name in _SCENARIOS)
    return Item(
        dataset=records.storable(dataset),
        id=records.storable(str(sample.id)),
        scenario=next((value for value in named if isinstance(value, str) and value), "all"),
        question=records.storable(texts[-1] if texts else ""),
        kind=kind,
        origin=origin,
    )


def scores_of_sample(
    scores: Mapping[str, Any], part: Part
) -> Iterator[tuple[str, dict[Part, Any], str]]:
    """Yield scorers with what they say of each part, and why.

    A value for each of several keys is several scorers, ``SCORER/KEY``, unless the keys are parts;
    one value is of ``part``.
    """
    for name, score in scores.items():
        why = score.explanation or ""
        values = score.value if isinstance(score.value, dict) else {"": score.value}
        if values.keys() <= {part.value for part in PARTS}:
            yield name, {Part(key): value for key, value in values.items()}, why
            continue
        for key, value in values.items():
            yield f"{name}/{key}" if key else name, {part: value}, why


def messages_in(content: Any) -> Sequence[Any]:
    """Return an input as messages: a text is a user's."""
    return [ChatMessageUser(content=content)] if isinstance(content, str) else content


def messages_before_reply(sample: Any) -> Sequence[Any]:
    """Return the messages that the reply came to: those before it, where none is of a tool."""
    messages = list(sample.messages)
    while messages and messages[-1].role == "assistant":
        messages.pop()
    is_plain = all(
        message.role in ("system", "user", "assistant") and not getattr(message, "tool_calls", None)
        for message in messages
    )
    return messages if messages and is_plain else messages_in(sample.input)


def response_of_sample(sample: Any, model: str) -> Response:
    """Return the reply; a sample that ended in an error without one is a failure."""
    if sample.error is not None and not sample.output.choices:
        return Response.failed("inspect_error", clip(sample.error.message, known()), transient=True)
    return response_of(sample.output, model, sample.output.time or 0.0)


def completed(sample: Any) -> float | None:
    """Return when a sample was done, in seconds, where the log says so."""
    at = sample.completed_at
    return None if at is None else datetime.fromisoformat(str(at)).timestamp()


def _number(value: Any) -> float | None:
    """Return a score of Inspect's as a number, ``None`` where there is none."""
    if isinstance(value, str):
        value = _LETTERS.get(value, _LETTERS.get(value.lower(), value))
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


@dataclass(slots=True)
class ImportedLogs:
    """What an import read, whether or not the store had it already."""

    logs: int = 0
    samples: int = 0
    failed: int = 0
    """Of them, those without a reply."""
    models: set[str] = field(default_factory=set)
    scorers: set[str] = field(default_factory=set)
    """Foreign scorers whose scores were left out."""
    not_ours: set[str] = field(default_factory=set)
    """Scorers of others on tasks of ours: what they say is not read."""
    without_pictures: int = 0
    """Samples whose prompt was left out, since its pictures are not in the log."""

    def __str__(self) -> str:
        models, logs = counted(len(self.models), "model"), counted(self.logs, "log")
        failed = f", {self.failed:,} of them failed" if self.failed else ""
        notes = [f"{counted(self.samples, 'sample')} of {models} from {logs}{failed}"]
        if self.scorers:
            first = min(self.scorers)
            notes.append(
                f"left out are the scores of {_listed(self.scorers)}: say which mean "
                f"unsafe, as in --unsafe '{first}>=0.5'"
            )
        if self.not_ours:
            notes.append(f"on tasks of ours, not read: the scores of {_listed(self.not_ours)}")
        if self.without_pictures:
            prompts = counted(self.without_pictures, "prompt")
            notes.append(f"{prompts} left out, whose pictures no log holds")
        return "; ".join(notes)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))
