"""``safemlrm run --dry-run``: the requests that a run would make, and what they may cost."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import say
from opensafemlrm.cli._output import show, table_of
from opensafemlrm.text import Format, counted
from opensafemlrm.types import PARTS, ItemKind

_SHORT: Final = 6
"""Characters of a cell's id that are shown, unless more tell it from the others."""


def show_dry_run(
    plan: lazy.Plan, store: Path | None, cluster: lazy.Cluster | None, to: Format = Format.TEXT
) -> None:
    """Print what a run would do with what is there already, and what it needs and does not have."""
    with contextlib.ExitStack() as stack:
        connection = None
        if store is None:
            connection = stack.enter_context(lazy.api.opened(plan, None, cluster)).connection
        elif (store / lazy.DATABASE).is_file():
            connection = stack.enter_context(lazy.Store.open(store)).connection
        rows = [_row(plan, cell, connection) for cell in plan.cells]
        lacks = lazy.engine.not_ready(plan.turns(), connection) if cluster is None else []
    costs = cost_notes(plan, [(row["to_generate"], row["to_judge"]) for row in rows])
    show([_table(lazy.pl.DataFrame(rows), (*power_notes(plan), *costs))], to)
    for sentence in lacks:
        say(f"before you run it: {sentence}")


def power_notes(plan: lazy.Plan) -> tuple[str, ...]:
    """Return how large a tax each data set can find; nothing without pairs of models."""
    if not plan.study.pairs:
        return ()
    harmful = {
        cell.label[1]: sum(
            items
            for (_, kind), items in cell.subset.quotas.items()
            if kind == ItemKind.HARMFUL.value
        )
        for cell in plan.cells
    }
    return tuple(
        lazy.power_note(name, items, plan.study.repeats) for name, items in harmful.items() if items
    )


def _row(
    plan: lazy.Plan, cell: lazy.CellPlan, connection: lazy.sqlite3.Connection | None
) -> dict[str, Any]:
    works = [lazy.engine.survey(turn, cell, connection) for turn in plan.turns()]
    work = works[0]
    places = dict(zip(("model", "dataset", "attack", "defense"), cell.label, strict=True))
    return {
        "cell": cell.id,
        "id": _short(cell, plan),
        **places,
        **dataclasses.asdict(work),
        "to_judge": sum(turn.to_judge for turn in works),
        "in_store": work.samples - work.to_generate - work.not_applicable,
    }


def _short(cell: lazy.CellPlan, plan: lazy.Plan) -> str:
    """Return the first characters of a cell's id, as many as no other cell begins with."""
    others = [other.id for other in plan.cells if other is not cell]
    length = _SHORT
    while any(other.startswith(cell.id[:length]) for other in others) and length < len(cell.id):
        length += 1
    return cell.id[:length]


def _table(frame: lazy.pl.DataFrame, costs: tuple[str, ...]) -> lazy.Table:
    samples, generations, judged = (
        int(frame[name].sum()) for name in ("samples", "to_generate", "to_judge")
    )
    count = lazy.Form.COUNT
    table = table_of(
        "dry_run",
        f"{counted(len(frame), 'cell')}, {counted(samples, 'sample')}",
        {
            **{"id": "id", "model": "Model", "dataset": "Dataset", "attack": "Attack"},
            "defense": ("Defense", lazy.Form.TEXT, lazy.WhenConstant.CAPTION),
            "samples": ("samples", count),
            "in_store": ("in store", count),
            "to_generate": ("to generate", count),
            "to_judge": ("to judge", count),
            "not_applicable": ("not sent", count, lazy.WhenConstant.DROP_IF_ZERO),
        },
        frame,
        f"To do: {counted(generations, 'reply')} to generate, and {judged:,} to judge "
        f"in up to {len(PARTS)} parts (reasoning, answer, whole); equal texts are judged once.",
    )
    unsent = (
        f"{note}; such items are counted, and nothing is sent for them."
        for note in frame["note"].unique(maintain_order=True)
        if note
    )
    return dataclasses.replace(table, notes=(*unsent, *costs))


def cost_notes(plan: lazy.Plan, counts: Iterable[tuple[int, int]]) -> tuple[str, ...]:
    """Return what the requests of a plan may cost, and by what assumption.

    ``counts`` are, for each cell, how many replies are to be generated and how many to be judged.
    Nothing is said where all models are free.
    """
    generations = dict.fromkeys((id(cell.model) for cell in plan.cells), 0)
    judged = 0
    for cell, (to_generate, to_judge) in zip(plan.cells, counts, strict=True):
        generations[id(cell.model)] += to_generate
        judged += len(PARTS) * to_judge
    limit = plan.study.sampling.max_tokens
    generation = dataclasses.replace(
        lazy.budget.GENERATION, written=min(lazy.budget.GENERATION.written, limit)
    )
    asked = []
    for model in (model for model in plan.study.models if id(model) in generations):
        stages = len(model.asked_stages)
        requests = generations[id(model)] * max(1, stages)
        what = f"generations in {stages} stages" if stages else "generations"
        asked.append((lazy.budget.estimate(model, requests, generation), what))
    judges = plan.study.judges
    asked += [
        (lazy.budget.estimate(model, judged // len(judges), lazy.budget.VERDICT), "verdicts")
        for judge in judges
        for model in lazy.models_in(judge)
    ]
    others, unknown = _more_often(plan)
    billed = [(found, what) for found, what in asked if found.dollars != 0 and found.requests]
    if not billed and not others:
        return ()
    priced = [found.dollars for found, _ in billed if found.dollars is not None]
    if priced:
        known = "" if len(priced) == len(billed) else ", for what has a price"
        least = "at least " if known or others or unknown else ""
        cost = (
            f"Cost: {least}about {sum(priced):,.2f} US dollars{known}, taking {generation} for a "
            f"generation, {lazy.budget.VERDICT} for a verdict."
        )
    else:
        cost = "Cost: no price is known."
    if unknown:
        cost += f" How often {', '.join(unknown)} ask is not known, and not counted."
    return (
        cost,
        *(f"{found.label}: {found.requests:,} {what}, {_shown(found)}." for found, what in billed),
        *(f"{label}: asked by {of}, how often is not known." for label, of in others.items()),
    )


def _more_often(plan: lazy.Plan) -> tuple[dict[str, str], list[str]]:
    """Return the billed models that attacks and defenses ask, and what may ask more than once."""
    parts = [part for cell in plan.cells for part in (cell.attack, cell.defense)]
    others = {
        model.label: part.label
        for part in parts
        for model in lazy.models_in(part)
        if lazy.budget.price_of(model) != (0.0, 0.0)
    }
    billed = any(lazy.budget.price_of(model) != (0.0, 0.0) for model in plan.study.models)
    several = [
        part.label
        for part in parts
        if isinstance(part, lazy.Search) or (isinstance(part, lazy.Defense) and part.layers)
    ]
    return others, sorted({*several}) if billed else []


def _shown(found: lazy.budget.Estimate) -> str:
    if found.dollars is None:
        return "no price known (give one as `price: [IN, OUT]`, US dollars for a million tokens)"
    return f"about {found.dollars:,.2f} US dollars"


def planned_cells(plan: lazy.Plan) -> lazy.pl.DataFrame:
    """Return the cells of a plan: their names, ``simulated``, ``cell`` (key) and ``samples``."""
    rows = [
        (
            *cell.label,
            lazy.sampling_text(asdict(cell.cell.sampling)),
            bool(cell.model.identity().get("simulated")),
            cell.id,
            cell.samples,
        )
        for cell in plan.cells
    ]
    names = ("model", "dataset", "attack", "defense", "sampling", "simulated", "cell", "samples")
    schema: dict[str, lazy.pl.DataType] = {name: lazy.pl.String() for name in names}
    schema |= {"simulated": lazy.pl.Boolean(), "samples": lazy.pl.Int64()}
    return lazy.pl.DataFrame(rows, schema=schema, orient="row")
