"""Models that reason over several turns: one reply of theirs is several requests."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from opensafemlrm.types import Call, Prompt, Response, ResponseStatus, Sampling, Turn, Usage

_LAST: Final = "### Final Answer:\n"
"""Stands before the last stage's words, so that the reply can be split; the format knows it."""


async def in_stages(
    ask: Callable[[Prompt, Sampling], Awaitable[Response]],
    prompt: Prompt,
    sampling: Sampling,
    stages: Sequence[str],
) -> Response:
    """Ask each of ``stages`` after the replies before it, and return all of it as one response.

    A stage that fails or is blocked is the whole reply's end. One that is cut ends it too: what
    came is kept, without the heading that would make an answer of it. Every request is in
    ``calls``.
    """
    turns, texts, calls = prompt.turns, list[str](), list[Call]()
    for number, stage in enumerate(stages, start=1):
        turns = _with_question(turns, stage)
        staged = Prompt(turns)
        response = await ask(staged, sampling)
        calls.append(Call(f"stage {number}", staged, response))
        if response.status in (ResponseStatus.FAILED, ResponseStatus.BLOCKED):
            return dataclasses.replace(response, calls=tuple(calls))
        texts.append(response.text)
        if response.status is ResponseStatus.TRUNCATED:
            return _joined(response, "\n\n".join(texts), calls)
        turns = (*turns, Turn("assistant", (response.text,)))
    whole = "\n\n".join((*texts[:-1], _LAST + texts[-1]))
    return _joined(calls[-1].response, whole, calls)


def _with_question(turns: tuple[Turn, ...], question: str) -> tuple[Turn, ...]:
    last = turns[-1] if turns else None
    if last is None or last.role != "user":
        return (*turns, Turn("user", (question,)))
    return (*turns[:-1], Turn("user", (*last.parts, question)))


def _joined(last: Response, text: str, calls: list[Call]) -> Response:
    responses = [call.response for call in calls]
    return dataclasses.replace(
        last,
        text=text,
        usage=Usage(
            _sum([response.usage.input_tokens for response in responses]),
            _sum([response.usage.output_tokens for response in responses]),
            _sum([response.usage.reasoning_tokens for response in responses]),
        ),
        latency=sum(response.latency for response in responses),
        retries=sum(response.retries for response in responses),
        calls=tuple(calls),
    )


def _sum(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
