"""Guards: a judge looks at the request, or at the reply, and has the last word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from opensafemlrm import reasoning
from opensafemlrm.defenses._defended import REFUSAL, Defended, is_usable, last_user, with_calls
from opensafemlrm.types import (
    Ask,
    Call,
    Card,
    Item,
    Judge,
    Label,
    Model,
    Part,
    Prompt,
    Response,
    ResponseStatus,
    Sampling,
    Unscored,
    Verdict,
)

_REFUSED = Response(ResponseStatus.OK, REFUSAL, finish_reason="guard")


@dataclass(frozen=True, slots=True)
class GuardInput:
    """Let a judge read the request first; what it finds unsafe never reaches the model.

    The guard is any judge of the study, such as Llama Guard or WildGuard, shown the request in the
    place of an answer; images are shown to guards that can see them. Where the guard cannot score
    a request, the sample fails with the guard's reason: an unguarded reply would not be measured
    as what it is.
    """

    name: ClassVar[str] = "guard-input"
    version: ClassVar[str] = "1-A"
    card: ClassVar[Card] = Card(title="Input guard", paper="the guard's own")
    guard: Judge

    def wrap(self, model: Model) -> Model:
        """Return ``model`` behind the guard."""

        async def generate(model: Model, prompt: Prompt, sampling: Sampling) -> Response:
            verdict = await _look(self.guard, prompt, last_user(prompt).text)
            call = Call("guard", prompt, _as_response(verdict), verdict.score)
            if verdict.label is Label.UNSCORED:
                return with_calls(_guard_failed(verdict), call)
            if verdict.label is Label.UNSAFE:
                return with_calls(_REFUSED, call)
            return with_calls(await model.generate(prompt, sampling), call)

        return Defended(model, generate)


@dataclass(frozen=True, slots=True)
class GuardOutput:
    """Let a judge read the answer; what it finds unsafe is replaced by a refusal.

    The reasoning is not shown to the user in this setting and goes with the answer. The reply that
    was held back is kept among the calls. Guards that fail are treated as in GuardInput.
    """

    name: ClassVar[str] = "guard-output"
    version: ClassVar[str] = "1-A"
    card: ClassVar[Card] = Card(title="Output guard", paper="the guard's own")
    guard: Judge

    def wrap(self, model: Model) -> Model:
        """Return ``model`` with the guard behind it."""

        async def generate(model: Model, prompt: Prompt, sampling: Sampling) -> Response:
            first = await model.generate(prompt, sampling)
            if not is_usable(first):
                return first
            answer = reasoning.split(first, model.reasoning_format).answer
            if answer is None or not answer.strip():
                return first
            verdict = await _look(self.guard, prompt, answer)
            call = Call("guard", prompt, first, verdict.score)
            if verdict.label is Label.UNSCORED:
                return with_calls(_guard_failed(verdict), call)
            return with_calls(_REFUSED if verdict.label is Label.UNSAFE else first, call)

        return Defended(model, generate)


async def _look(guard: Judge, prompt: Prompt, text: str) -> Verdict:
    item = Item("guarded", "guarded", "", last_user(prompt).text, images=prompt.images)
    (verdict,) = await guard.judge(item, [Ask(Part.ANSWER, text)])
    return verdict


def _as_response(verdict: Verdict) -> Response:
    return Response(
        ResponseStatus.OK, verdict.rationale, usage=verdict.usage, latency=verdict.latency
    )


def _guard_failed(verdict: Verdict) -> Response:
    reason = verdict.reason or Unscored.JUDGE_FAILED
    return Response.failed(
        f"guard_{reason.value}",
        f"the guard could not score it: {verdict.rationale}",
        transient=reason is Unscored.JUDGE_FAILED,
    )
