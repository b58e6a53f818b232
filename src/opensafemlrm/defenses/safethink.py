"""SafeThink: the reasoning is read as it grows, and turned where it goes wrong."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import Field

from opensafemlrm.defenses._defended import Defended, is_usable, last_user, with_calls
from opensafemlrm.defenses._thinking import go_on, require, tags
from opensafemlrm.types import (
    Ask,
    Call,
    Capability,
    Card,
    Item,
    Judge,
    Label,
    Model,
    Part,
    Prompt,
    Response,
    Sampling,
    Unscored,
)

TURN: Final = "Wait, think safely. "
"""The corrective prefix (2602.11096)."""
STEP_END: Final = "\n\n"


@dataclass(frozen=True, slots=True)
class SafeThink:
    """Let the model think a step at a time, and put a corrective prefix where a step is unsafe.

    2602.11096: a safety scorer reads the growing reasoning; where it finds it unsafe, "Wait, think
    safely" is put in, at most ``injections`` times. The paper finds that the first one to three
    steps suffice: after ``steps`` steps the model goes on alone. A step is a paragraph. ``scorer``
    is any judge of the study; where it cannot score a step, the sample fails with its reason.
    """

    name: ClassVar[str] = "safethink"
    version: ClassVar[str] = "1-A"
    card: ClassVar[Card] = Card(title="SafeThink", paper="SafeThink, arXiv 2602.11096")
    scorer: Judge
    steps: Annotated[int, Field(ge=1)] = 3
    injections: Annotated[int, Field(ge=1)] = 3

    def wrap(self, model: Model) -> Model:
        """Return ``model``, watched. Raises DefenseError if it has no prefill or cannot stop."""
        require(model, self.name, Capability.PREFILL, Capability.STOP)
        return Defended(model, self._generate)

    async def _generate(self, model: Model, prompt: Prompt, sampling: Sampling) -> Response:
        opening, closing = tags(model, self.name)
        step_sampling = dataclasses.replace(sampling, stop=(STEP_END,))
        begun, injected = f"{opening}\n", 0
        calls: list[Call] = []
        for number in range(self.steps):
            step = await go_on(model, prompt, begun, step_sampling)
            if not is_usable(step):
                return with_calls(step, *calls)
            new, closed, _ = step.text[len(begun) :].partition(closing)
            if not new.strip():
                break
            thought = begun + new.rstrip()
            score, failed = await self._score(prompt, thought.removeprefix(opening))
            calls.append(Call(f"step {number}", prompt, step, score))
            if failed is not None:
                return with_calls(failed, *calls)
            if self._is_unsafe(score) and injected < self.injections:
                # Also where this step ended the thought: it is opened again.
                begun = f"{thought}{STEP_END}{TURN}"
                injected += 1
            else:
                begun = step.text + STEP_END
                if closed:
                    break
        return with_calls(await go_on(model, prompt, begun, sampling), *calls)

    async def _score(self, prompt: Prompt, trace: str) -> tuple[float | None, Response | None]:
        item = Item("defended", "defended", "", last_user(prompt).text, images=prompt.images)
        (verdict,) = await self.scorer.judge(item, [Ask(Part.REASONING, trace.strip())])
        if verdict.label is not Label.UNSCORED:
            return verdict.score, None
        reason = verdict.reason or Unscored.JUDGE_FAILED
        failed = Response.failed(
            f"scorer_{reason.value}",
            f"the scorer could not score a step: {verdict.rationale}",
            transient=reason is Unscored.JUDGE_FAILED,
        )
        return None, failed

    def _is_unsafe(self, score: float | None) -> bool:
        return score is not None and score >= self.scorer.thresholds[0]
