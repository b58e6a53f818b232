"""Models that reason over several turns: one reply of theirs is several requests."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence

from opensafemlrm.types import Call, Prompt, Response, ResponseStatus, Sampling, Turn, Usage


async def in_stages(
    ask: Callable[[Prompt, Sampling], Awaitable[Response]],
    prompt: Prompt,
    sampling: Sampling,
    stages: Sequence[str],
) -> Response:
    """Ask each of ``stages`` after the replies before it, and return all of it as one response.

    The last stage's words are the text and all stages before it the reasoning, so that no text has
    to be searched for where the answer begins. A stage that fails or is blocked ends the whole
    reply, and so does one that is cut. Every request is in ``calls``.
    """
    turns, texts, calls = prompt.turns, list[str](), list[Call]()
    for number, stage in enumerate(stages, start=1):
        turns = _with_question(turns, stage)
        staged = Prompt(turns)
        response = await ask(staged, sampling)
        calls.append(Call(f"stage {number}", staged, response))
        if response.status in (ResponseStatus.FAILED, ResponseStatus.BLOCKED):
            return dataclasses.replace(response, calls=tuple(calls))
        texts += filter(None, (response.reasoning, response.text))
        if response.status is ResponseStatus.TRUNCATED and number < len(stages):
            return _joined(response, texts, "", calls)
        turns = (*turns, Turn("assistant", (response.text,)))
    last = calls[-1].response
    return _joined(last, texts[: len(texts) - bool(last.text)], last.text, calls)


def _with_question(turns: tuple[Turn, ...], question: str) -> tuple[Turn, ...]:
    last = turns[-1] if turns else None
    if last is None or last.role != "user":
        return (*turns, Turn("user", (question,)))
    return (*turns[:-1], Turn("user", (*last.parts, question)))


def _joined(last: Response, reasoning: list[str], text: str, calls: list[Call]) -> Response:
    responses = [call.response for call in calls]
    return dataclasses.replace(
        last,
        text=text,
        reasoning="\n\n".join(reasoning) or None,
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
