"""What a dry run says of costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opensafemlrm.engine import Plan
    from opensafemlrm.models.estimate import Estimate


def cost_notes(plan: Plan, counts: Iterable[tuple[int, int]]) -> tuple[str, ...]:
    """Return what the requests of a plan may cost, and by what assumption.

    ``counts`` are, for each cell, how many replies are to be generated and how many to be judged.
    Nothing is said where all models are free.
    """
    from opensafemlrm.models.estimate import GENERATION, VERDICT, estimate, models_in
    from opensafemlrm.types import PARTS

    generations = dict.fromkeys((id(cell.model) for cell in plan.cells), 0)
    judged = 0
    for cell, (to_generate, to_judge) in zip(plan.cells, counts, strict=True):
        generations[id(cell.model)] += to_generate
        judged += len(PARTS) * to_judge
    limit = plan.study.sampling.max_tokens
    generation = dataclasses.replace(GENERATION, written=min(GENERATION.written, limit))
    asked = [
        (estimate(model, generations[id(model)], generation), "generations")
        for model in plan.study.models
    ]
    asked += [
        (estimate(model, judged, VERDICT), "verdicts") for model in models_in(plan.study.judge)
    ]
    billed = [(found, what) for found, what in asked if found.dollars != 0 and found.requests]
    if not billed:
        return ()
    total = sum(found.dollars or 0.0 for found, _ in billed)
    known = all(found.dollars is not None for found, _ in billed)
    return (
        f"Cost: about {total:,.2f} US dollars{'' if known else ', for what has a price'}, taking "
        f"{generation} for a generation, {VERDICT} for a verdict. Searches, defenses and models "
        "that reason in stages ask more often, which is not counted.",
        *(f"{found.label}: {found.requests:,} {what}, {_shown(found)}." for found, what in billed),
    )


def _shown(found: Estimate) -> str:
    if found.dollars is None:
        return "no price known (give one as `price: [IN, OUT]`, US dollars for a million tokens)"
    return f"about {found.dollars:,.2f} US dollars"
