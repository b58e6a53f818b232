"""From a raw reply to its reasoning, its answer, and what is known of the reasoning.

:func:`split` is the one call most code needs. :func:`read` gives the segments below it: they lose
no character of the reply. Formats are named in :data:`FORMATS`; ``auto`` detects those whose marks
no ordinary reply carries. A text search that finds nothing leaves the whole reply as the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from opensafemlrm.errors import UnknownNameError
from opensafemlrm.reasoning._harmony import is_harmony, read_harmony
from opensafemlrm.reasoning._marks import TagFormat
from opensafemlrm.reasoning._reading import Builder, Reading, Segment, SegmentKind
from opensafemlrm.reasoning._sections import (
    LLAMAV_O1,
    MULBERRY,
    QVQ,
    read_boxed,
    read_headings,
)
from opensafemlrm.reasoning._tags import read_tags, unwrap
from opensafemlrm.types import Response, ResponseStatus, Trace, TraceStatus

__all__ = [
    "FORMATS",
    "VERSION",
    "Reading",
    "Segment",
    "SegmentKind",
    "format_of_model",
    "read",
    "split",
]

VERSION: Final = "1-A"
"""Comparability of splits: the number changes when the same reply splits otherwise."""

FORMATS: Final[Mapping[str, str]] = {
    "auto": "detected from the reply: tags, harmony channels, Mulberry headings; else none",
    "none": "no reasoning is written: the whole reply is the answer (base models)",
    "think": "<think>…</think>, then the answer, in <answer> or not; a lone </think> counts",
    "think-prefilled": "as think, where the chat template always wrote the opening tag",
    "thinking": "<thinking>…</thinking>, then the answer",
    "thought": "<|begin_of_thought|>…<|end_of_thought|>, then <|begin_of_solution|>…",
    "kimi": "◁think▷…◁/think▷, then the answer (Kimi-VL-Thinking)",
    "glm": "think, with the answer in <|begin_of_box|>…<|end_of_box|> (GLM-4.1V, GLM-4.5V)",
    "keye": "optional <analysis>…</analysis>, <think>, <answer> (Keye-VL)",
    "llava-cot": "<SUMMARY>, <CAPTION>, <REASONING>, and the answer in <CONCLUSION> (LLaVA-CoT)",
    "mulberry": "headings down to ### The final answer is: (Mulberry)",
    "llamav-o1": "turns joined, the last under a heading Conclusion or Final Answer (LlamaV-o1)",
    "qvq": "free text down to a heading Final Answer (QVQ)",
    "boxed": r"free text with the answer in \boxed{…} (VL-Rethinker)",
    "harmony": "channels: analysis is reasoning, final and commentary are the answer",
}
"""Names of the reasoning formats, and what each looks like."""

_THINK = ("<think>", "</think>")
_ANSWER = ("<answer>", "</answer>")
_BOX = ("<|begin_of_box|>", "<|end_of_box|>")
_SOLUTION = ("<|begin_of_solution|>", "<|end_of_solution|>")
_CONCLUSION = ("<CONCLUSION>", "</CONCLUSION>")

_TAGS: Final[dict[str, TagFormat]] = {
    "glm": TagFormat((_THINK,), (_ANSWER, _BOX)),
    "think": TagFormat((_THINK,), (_ANSWER,)),
    "think-prefilled": TagFormat((_THINK,), (_ANSWER,), prefilled=True),
    "thinking": TagFormat((("<thinking>", "</thinking>"),), (_ANSWER,)),
    "thought": TagFormat((("<|begin_of_thought|>", "<|end_of_thought|>"),), (_SOLUTION,)),
    "kimi": TagFormat((("◁think▷", "◁/think▷"),)),
    "keye": TagFormat((_THINK, ("<analysis>", "</analysis>")), (_ANSWER,)),
    "llava-cot": TagFormat(
        tuple((f"<{tag}>", f"</{tag}>") for tag in ("SUMMARY", "CAPTION", "REASONING")),
        (_CONCLUSION,),
        staged=True,
    ),
}

_HEADINGS: Final = {"mulberry": MULBERRY, "llamav-o1": LLAMAV_O1, "qvq": QVQ}

# What makes a format worth trying, in the order that decides when two begin at one place.
# Answer tags alone say nothing of reasoning; GLM's box tokens are never written otherwise.
_DETECTED: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("glm", ("_of_box|>",)),
    ("think", ("think>",)),
    ("kimi", ("think▷",)),
    ("thinking", ("thinking>",)),
    ("thought", ("_of_thought|>",)),
    ("keye", ("<analysis>",)),
    ("llava-cot", ("<SUMMARY>", "<CAPTION>", "<REASONING>")),
)

_FREE_TEXT_MODELS: Final = (
    ("vl-rethinker", "boxed"),
    ("llamav-o1", "llamav-o1"),
    ("qvq", "qvq"),
)


def format_of_model(model: str) -> str:
    """Return the format to read the model of that name in, by its hub id or any name like it.

    Only models that reason in free text need naming, since ordinary replies carry their marks
    too; all others are ``auto``.
    """
    lowered = model.lower()
    for part, name in _FREE_TEXT_MODELS:
        if re.search(rf"(?<![a-z]){re.escape(part)}(?![a-z])", lowered):
            return name
    return "auto"


def split(response: Response, reasoning_format: str = "auto") -> Trace:
    """Split a reply that came (whole or truncated) into reasoning and answer.

    What the server split off wins over tags. Reasoning without any text is vLLM's way of saying
    that the end never came: unclosed. A reply whose reasoning was partly kept back counts as a
    summary, as what is there is not the whole trace. An unclosed trace has no answer, whatever
    stood between earlier blocks. Raises UnknownNameError for an unknown format.
    """
    given = response.reasoning
    if given and not given.isspace():
        _check(reasoning_format)
        return _split_by_server(response, given)
    truncated = response.status is ResponseStatus.TRUNCATED
    reading = read(response.text, reasoning_format, truncated=truncated)
    # A count of reasoning tokens alone hides nothing where the reasoning stands in the text.
    kept_back = response.reasoning_hidden or response.reasoning_is_summary
    if kept_back and reading.status is TraceStatus.ABSENT:
        answer = response.text if response.text.strip() else None
        return Trace(TraceStatus.HIDDEN, None, answer, response.text, "server")
    if not reading.format:
        answer = reading.text_of(SegmentKind.ANSWER)
        return Trace(TraceStatus.ABSENT, None, answer, response.text, "no marks detected")
    how = "detected" if reasoning_format == "auto" else "given"
    unclosed = reading.status is TraceStatus.UNCLOSED
    return Trace(
        reading.status,
        reading.text_of(SegmentKind.REASONING),
        None if unclosed else reading.text_of(SegmentKind.ANSWER),
        response.text,
        f"{reading.format}, {how}",
    )


def _split_by_server(response: Response, reasoning: str) -> Trace:
    text = response.text
    if not text or text.isspace():
        full, answer, status = reasoning, None, TraceStatus.UNCLOSED
    else:
        full, status = f"{reasoning}\n\n{text}", TraceStatus.CLOSED
        answer = unwrap(text, (_ANSWER, _SOLUTION, _CONCLUSION, _BOX))
    if response.reasoning_is_summary or response.reasoning_hidden:
        status = TraceStatus.SUMMARY
    return Trace(status, reasoning, answer or None, full, "server")


def read(text: str, reasoning_format: str = "auto", *, truncated: bool = False) -> Reading:
    """Read ``text`` into segments whose texts, joined, are ``text`` exactly.

    ``truncated`` says that the reply was cut: free text without its final mark is then unclosed.
    Takes time linear in the text. Raises UnknownNameError for an unknown format.
    """
    _check(reasoning_format)
    if reasoning_format == "auto":
        return _detect(text, truncated=truncated)
    return _as(reasoning_format, _read_as(reasoning_format, text, truncated=truncated))


def _read_as(name: str, text: str, *, truncated: bool) -> Reading:
    if name in _TAGS:
        return read_tags(text, _TAGS[name], named=True, truncated=truncated)
    if name in _HEADINGS:
        return read_headings(text, _HEADINGS[name], truncated=truncated)
    if name == "boxed":
        return read_boxed(text, truncated=truncated)
    return read_harmony(text) if name == "harmony" else Builder(text).finish()


def _detect(text: str, *, truncated: bool) -> Reading:
    """Read in the format whose marks come first, as the whole answer where there are none."""
    if is_harmony(text):
        return _as("harmony", read_harmony(text))
    best: Reading | None = None
    best_at = float("inf")
    # Every mark ends so; most replies of judges and base models hold none, and are read often.
    marked = ">" in text or "▷" in text
    for name, marks in _DETECTED if marked else ():
        for mark in marks:
            if mark in text:
                reading = read_tags(text, _TAGS[name], named=False, truncated=truncated)
                at = _first_mark(reading)
                if at < best_at:
                    best, best_at = _as(name, reading), at
                break
    if best is not None:
        return best
    if not MULBERRY.may_be_in(text):
        return Builder(text).finish()
    reading = read_headings(text, MULBERRY, truncated=truncated)
    return reading if reading.status is TraceStatus.ABSENT else _as("mulberry", reading)


def _as(name: str, reading: Reading) -> Reading:
    return Reading(reading.status, reading.segments, name)


def _first_mark(reading: Reading) -> float:
    """Return where the first tag that counted stands; infinity if none did."""
    at = 0
    for kind, text in reading.segments:
        if kind is SegmentKind.MARKUP:
            return at
        at += len(text)
    return float("inf")


def _check(reasoning_format: str) -> None:
    if reasoning_format not in FORMATS:
        raise UnknownNameError("reasoning format", reasoning_format, FORMATS)
