"""SafeThink: the reasoning is read as it grows, and turned where it goes wrong."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from opensafemlrm.components import Defense, Judge, Model
from opensafemlrm.defenses.guard import as_response, require_general, score_text, unscored
from opensafemlrm.defenses.prompts import is_usable, with_calls
from opensafemlrm.defenses.thinking import continue_from, require, tags
from opensafemlrm.types import Call, Capability, Label, Part, Prompt, Response, Sampling

TURN: Final = "Wait, think safely. "
"""The corrective prefix (2602.11096)."""
STEP_END: Final = "\n\n"


@dataclass(frozen=True, slots=True)
class SafeThink(Defense):
    """Let the model think a step at a time, and put a corrective prefix where a step is unsafe.

    2602.11096: a safety scorer reads the growing reasoning; where it finds it unsafe, "Wait, think
    safely" is put in, at most ``injections`` times. The paper finds that the first one to three
    steps suffice: after ``steps`` steps the model goes on alone. A step is a paragraph. ``scorer``
    is any judge of the study; where it cannot score a step, the sample fails with its reason.
    """

    name = "safethink"
    supports_prefill = False
    scorer: Judge
    steps: Annotated[int, Field(ge=1)] = 3
    injections: Annotated[int, Field(ge=1)] = 3

    def check_model(self, model: Model) -> None:
        """Raise DefenseError if the model has no prefill or cannot stop, or if the scorer cannot
        score a thought.
        """
        require(model, self.name, Capability.PREFILL, Capability.STOP)
        require_general(self.scorer, self.name, Part.REASONING)

    async def generate(self, model: Model, prompt: Prompt, sampling: Sampling) -> Response:
        """Ask step by step. Raises DefenseError as :func:`tags` does."""
        opening, closing = tags(model, self.name)
        step_sampling = dataclasses.replace(sampling, stop=(STEP_END,))
        prefill, injected = f"{opening}\n", 0
        calls: list[Call] = []
        for number in range(self.steps):
            step = await continue_from(model, prompt, prefill, step_sampling)
            if not is_usable(step):
                return with_calls(step, *calls)
            new, closed, _ = step.text[len(prefill) :].partition(closing)
            if not new.strip():
                calls.append(Call(f"step {number}", prompt, step))
                break
            thought = prefill + new.rstrip()
            reasoning_so_far = thought.removeprefix(opening).strip()
            verdict = await score_text(self.scorer, prompt, Part.REASONING, reasoning_so_far)
            calls.append(Call(f"step {number}", prompt, step, verdict.score))
            if verdict.label is Label.UNSCORED:
                return with_calls(unscored(verdict, "scorer"), *calls)
            calls.append(Call(f"score {number}", prompt, as_response(verdict), verdict.score))
            if verdict.label is Label.UNSAFE and injected < self.injections:
                # Also where this step ended the thought: it is opened again.
                prefill = f"{thought}{STEP_END}{TURN}"
                injected += 1
            elif closed:
                # What came of the answer in this step may be a piece of it: it is written anew.
                prefill = f"{thought}\n{closing}{STEP_END}"
                break
            else:
                prefill = thought + STEP_END
        return with_calls(await continue_from(model, prompt, prefill, sampling), *calls)
