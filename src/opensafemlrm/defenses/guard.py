"""Guards: a judge looks at the request, or at the reply, and has the last word."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from opensafemlrm import reasoning
from opensafemlrm.components import Defense, Judge, Model
from opensafemlrm.defenses.prompts import (
    REFUSAL,
    is_usable,
    last_user,
    with_calls,
    with_later_call,
)
from opensafemlrm.defenses.watching import as_response, require_general, score_text, unscored
from opensafemlrm.types import Call, Label, Part, Prompt, Response, Sampling, Verdict


@dataclass(frozen=True, slots=True)
class GuardInput(Defense):
    """Let a judge read the request first; what it finds unsafe never reaches the model.

    The guard is any judge of the study, such as Llama Guard or WildGuard, shown the request in the
    place of an answer; images are shown to guards that can see them. Where the guard cannot score
    a request, the sample fails with the guard's reason: an unguarded reply would not be measured
    as what it is.
    """

    name = "guard-input"
    guard: Judge

    def check_model(self, model: Model) -> None:
        """Raise DefenseError if the guard cannot read a request."""
        require_general(self.guard, self.name, Part.ANSWER)

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
class GuardOutput(Defense):
    """Let a judge read the answer; what it finds unsafe is replaced by a refusal.

    The reasoning is not shown to the user in this setting and goes with the answer. The reply that
    was held back is kept among the calls. Guards that fail are treated as in GuardInput.
    """

    name = "guard-output"
    guard: Judge

    def check_model(self, model: Model) -> None:
        """Raise DefenseError if the guard cannot read a request."""
        require_general(self.guard, self.name, Part.ANSWER)

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
