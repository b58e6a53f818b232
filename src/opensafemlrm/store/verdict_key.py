"""The key of a verdict: what was judged, by whom, and how the fence shows it."""

from __future__ import annotations

from collections.abc import Iterator

from opensafemlrm.judges.fence import edition
from opensafemlrm.types import JSON, Key, Part, content_key


def verdict_key(
    judge: Key, context: JSON, role: Part, question: str, text: str, *, fenced: int | None = None
) -> Key:
    """Return the content key of one verdict; ``context`` is what Judge.context gave.

    A text that a later edition of the fence shows otherwise than the first has another verdict.
    ``fenced`` is the edition, in place of the one that the texts take.
    """
    fenced = fenced or edition(question, text, *_texts(context))
    return content_key(
        judge,
        context,
        role.value,
        question.encode("utf-8", "surrogatepass"),
        text.encode("utf-8", "surrogatepass"),
        *((fenced,) if fenced > 1 else ()),
    )


def _texts(context: JSON) -> Iterator[str]:
    """Yield the texts of a context: references are shown to the judge too."""
    if isinstance(context, str):
        yield context
    elif isinstance(context, list | dict):
        for value in context if isinstance(context, list) else context.values():
            yield from _texts(value)
