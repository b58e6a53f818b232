"""Asking a model for a verdict: once, once more where its reply has no score, and never again.

A judge's own refusal, a reply that was cut, one that cannot be parsed and a request that failed are
four reasons of "unscored"; none of them is ever "safe".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from opensafemlrm import reasoning
from opensafemlrm.calls import reply_of
from opensafemlrm.components import Model
from opensafemlrm.judges.refusal import is_refusal
from opensafemlrm.types import Prompt, Response, ResponseStatus, Sampling, Unscored, Usage, Verdict
from opensafemlrm.wrapped import room_for

MAX_RATIONALE: Final = 2_000
"""Characters of a judge's reply that are kept beside its verdict."""

_UNPARSED: Final = Verdict.none(Unscored.UNPARSED)
_REFUSED: Final = Verdict.none(Unscored.JUDGE_REFUSED)
_TRUNCATED: Final = Verdict.none(Unscored.JUDGE_TRUNCATED)

Read = Callable[[str], Verdict | None]
"""Turns a judge's whole answer into a verdict, ``None`` where it holds none."""


async def ask(
    model: Model,
    prompt: Prompt,
    sampling: Sampling,
    read: Read,
    again: Callable[[], Prompt] | None = None,
) -> Verdict:
    """Ask ``model`` and return its verdict with what it cost.

    A whole answer that ``read`` finds no verdict in is asked for once more with the prompt that
    ``again`` makes, if that is given, and the next seed. Errors of the model (EndpointDownError
    and such) are passed on: they end the run, not a verdict. A budget has room for both before the
    first is asked, or ends it.
    """
    if again is None:
        return _verdict(model, await reply_of(model, prompt, sampling), read)
    async with room_for(model, prompt, sampling, 2):
        first = await reply_of(model, prompt, sampling)
        verdict = _verdict(model, first, read)
        if verdict.reason is not Unscored.UNPARSED:
            return verdict
        seed = None if sampling.seed is None else sampling.seed + 1
        second = await reply_of(model, again(), dataclasses.replace(sampling, seed=seed))
    return _with_both_costs(_verdict(model, second, read), (first, second))


def failure(response: Response) -> Verdict | None:
    """Return the verdict of a request that gave no reply, ``None`` if it gave one."""
    if response.status not in (ResponseStatus.FAILED, ResponseStatus.BLOCKED):
        return None
    blocked = response.status is ResponseStatus.BLOCKED
    reason = Unscored.JUDGE_REFUSED if blocked else Unscored.JUDGE_FAILED
    return Verdict.none(reason, rationale=bounded(f"{response.code}: {response.detail}"))


def bounded(text: str) -> str:
    """Return ``text``, cut where it is longer than a rationale may be."""
    return text if len(text) <= MAX_RATIONALE else f"{text[: MAX_RATIONALE - 1]}…"


def _with_both_costs(verdict: Verdict, responses: Sequence[Response]) -> Verdict:
    return dataclasses.replace(
        verdict,
        usage=total_usage(response.usage for response in responses),
        requests=len(responses),
        latency=sum(response.latency for response in responses),
    )


def total_usage(usages: Iterable[Usage]) -> Usage:
    """Add up tokens; what no server counted stays ``None``."""
    usages = list(usages)
    return Usage(
        _total(usage.input_tokens for usage in usages),
        _total(usage.output_tokens for usage in usages),
        _total(usage.reasoning_tokens for usage in usages),
    )


def _verdict(model: Model, response: Response, read: Read) -> Verdict:
    """Return what ``response`` says, with what it cost."""
    verdict = failure(response)
    if verdict is not None:
        return _of(verdict, verdict.rationale, response)
    trace = reasoning.parse(response, model.reasoning_format)
    rationale = bounded(trace.answer or trace.full)
    if response.status is ResponseStatus.TRUNCATED:
        return _of(_TRUNCATED, rationale, response)
    if trace.answer is None:
        return _of(_UNPARSED, rationale, response)
    verdict = read(trace.answer)
    if verdict is None:
        verdict = _REFUSED if is_refusal(trace.answer) else _UNPARSED
    return _of(verdict, rationale, response)


def _of(verdict: Verdict, rationale: str, response: Response) -> Verdict:
    # Built as it is: dataclasses.replace looks through every field, three times a sample.
    return Verdict(
        verdict.label,
        verdict.score,
        verdict.reason,
        verdict.refusal,
        rationale,
        response.usage,
        1,
        response.latency,
        verdict.understood,
        response.model,
        response.sent,
    )


def _total(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
