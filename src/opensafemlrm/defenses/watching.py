"""Judges inside defenses: a guard, or the scorer of a growing thought."""

from __future__ import annotations

from opensafemlrm.components import Judge
from opensafemlrm.defenses.prompts import last_user
from opensafemlrm.errors import DefenseError, JudgeError
from opensafemlrm.types import (
    Item,
    JudgeRequest,
    Part,
    Prompt,
    Response,
    ResponseStatus,
    Unscored,
    Usage,
    Verdict,
)


def require_general(judge: Judge, defense: str, part: Part) -> None:
    """Raise DefenseError where ``judge`` cannot score ``part`` of a conversation it has not seen.

    A judge that looks for what one benchmark's items hold, such as the canary judge, would stop the
    run at its first request.
    """
    known = {member.value for member in Part}.intersection(judge.reads)
    if known and part.value not in known:
        raise DefenseError(
            f"{defense} needs a judge that scores the {part.value}; {judge.label} scores "
            f"{' and '.join(sorted(known))}. Choose another judge"
        )
    try:
        judge.context(_item("", Prompt(())))
    except JudgeError as error:
        raise DefenseError(
            f"{defense} cannot work with {judge.label}, which needs more than a request and "
            f"a text: {error}"
        ) from error


async def score_text(judge: Judge, prompt: Prompt, part: Part, text: str) -> Verdict:
    """Let ``judge`` score ``text`` as a part of the reply to ``prompt``, whose images it is shown.

    What it is told of as the question is the user's last turn.
    """
    (verdict,) = await judge.judge(
        _item(last_user(prompt).text, prompt), [JudgeRequest(part, text)]
    )
    return verdict


def as_response(verdict: Verdict) -> Response:
    """Return what a judgement took as a response, so that it is counted as a request.

    A judge that asks nobody took no token, which is known.
    """
    usage = verdict.usage if verdict.requests else Usage(0, 0, 0)
    return Response(
        ResponseStatus.OK,
        verdict.rationale,
        usage=usage,
        latency=verdict.latency,
        verdicts=(verdict,),
    )


def unscored(verdict: Verdict, who: str) -> Response:
    """Return the failure of a sample whose ``who`` (``guard``, ``scorer``) could not score.

    It may be scored once somebody mends the judge, unless the judge turned the text itself down.
    """
    reason = verdict.reason or Unscored.JUDGE_FAILED
    return Response(
        ResponseStatus.FAILED,
        code=f"{who}_{reason.value}",
        detail=f"the {who} could not score it: {verdict.rationale}",
        transient=reason is not Unscored.JUDGE_REFUSED,
        verdicts=(verdict,),
    )


def _item(question: str, prompt: Prompt) -> Item:
    return Item("defended", "defended", "", question, images=prompt.images)
