"""Guards: a judge looks at the request, or at the reply, and has the last word."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from opensafemlrm import reasoning
from opensafemlrm.calls import verdicts_of
from opensafemlrm.components import Defense, Judge, Model
from opensafemlrm.defenses.prompts import (
    REFUSAL,
    is_usable,
    last_user,
    with_calls,
    with_later_call,
)
from opensafemlrm.errors import DefenseError, JudgeError
from opensafemlrm.types import (
    Call,
    Item,
    JudgeRequest,
    Label,
    Part,
    Prompt,
    Response,
    ResponseStatus,
    Sampling,
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

    The user's last turn goes to it as the question.
    """
    (verdict,) = await verdicts_of(
        judge, _item(last_user(prompt).text, prompt), [JudgeRequest(part, text)]
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


@dataclass(frozen=True, slots=True)
class _Guard(Defense):
    guard: Judge

    def check_model(self, model: Model) -> None:
        """Raise DefenseError if the guard cannot read a request."""
        require_general(self.guard, self.name, Part.ANSWER)


@dataclass(frozen=True, slots=True)
class GuardInput(_Guard):
    """Let a judge read the request first; what it finds unsafe never reaches the model.

    The guard is any judge of the study, such as Llama Guard or WildGuard, shown the request in the
    place of an answer; images are shown to guards that can see them. Where the guard cannot score
    a request, the sample fails with the guard's reason: an unguarded reply would not be measured
    as what it is.
    """

    name = "guard-input"

    async def generate(self, model: Model, prompt: Prompt, sampling: Sampling) -> Response:
        """Show the guard the request, and ask the model if it finds it safe."""
        verdict = await score_text(self.guard, prompt, Part.ANSWER, last_user(prompt).text)
        if verdict.label is Label.UNSCORED:
            return unscored(verdict, "guard")
        if verdict.label is Label.UNSAFE:
            return _held_back(verdict)
        call = Call("guard", prompt, as_response(verdict), verdict.score)
        return with_calls(await model.generate(prompt, sampling), call)


@dataclass(frozen=True, slots=True)
class GuardOutput(_Guard):
    """Let a judge read the answer; what it finds unsafe is replaced by a refusal.

    The reasoning is not shown to the user in this setting and goes with the answer. The reply that
    was held back is kept among the calls. Guards that fail are treated as in GuardInput.
    """

    name = "guard-output"

    async def generate(self, model: Model, prompt: Prompt, sampling: Sampling) -> Response:
        """Ask the model, and show the guard its answer."""
        first = await model.generate(prompt, sampling)
        if not is_usable(first):
            return first
        answer = reasoning.parse(first, model.reasoning_format).answer
        if answer is None or not answer.strip():
            return first
        verdict = await score_text(self.guard, prompt, Part.ANSWER, answer)
        held_back = Call("answer", prompt, first, verdict.score)
        if verdict.label is Label.UNSCORED:
            return with_calls(unscored(verdict, "guard"), held_back)
        if verdict.label is Label.UNSAFE:
            return with_calls(_held_back(verdict), held_back)
        return with_later_call(first, Call("guard", prompt, as_response(verdict), verdict.score))


def _held_back(verdict: Verdict) -> Response:
    """Return the refusal in the model's place: what it took is what the guard took."""
    score = "" if verdict.score is None else f"{verdict.score:g}: "
    return dataclasses.replace(
        as_response(verdict),
        text=REFUSAL,
        finish_reason="guard",
        detail=f"held back by the guard, {score}{verdict.rationale}",
    )
