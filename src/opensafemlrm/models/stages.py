"""Models that reason over several turns: one reply of theirs is several requests."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence

from opensafemlrm.types import Call, Prompt, Response, ResponseStatus, Sampling, Turn


async def in_stages(
    ask: Callable[[Prompt, Sampling], Awaitable[Response]],
    prompt: Prompt,
    sampling: Sampling,
    stages: Sequence[str],
) -> Response:
    """Ask each of ``stages`` after the replies before it, and return all of it as one response.

    The last stage's words are the text and all stages before it the reasoning, so that no text has
    to be searched for where the answer begins. A stage that fails or is blocked ends the whole
    reply, and so does one that is cut. The last request is the response itself, with what it alone
    used and took; those before it are in ``calls``.
    """
    turns, texts, calls = prompt.turns, list[str](), list[Call]()
    for number, stage in enumerate(stages, start=1):
        turns = _with_question(turns, stage)
        staged = Prompt(turns)
        response = await ask(staged, sampling)
        calls.append(Call(f"stage {number}", staged, response))
        if response.status in (ResponseStatus.FAILED, ResponseStatus.BLOCKED):
            return dataclasses.replace(response, calls=tuple(calls[:-1]))
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
    joined = "\n\n".join(reasoning) or None
    return dataclasses.replace(last, text=text, reasoning=joined, calls=tuple(calls[:-1]))
