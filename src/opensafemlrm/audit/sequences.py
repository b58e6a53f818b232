"""What the items of a check say in the order in which a rule of the study drew them.

Where ``stop:`` ended scenarios early, no interval of a fixed sample holds, but a confidence
sequence does (:mod:`opensafemlrm.engine.confidence_sequence`), whatever ended the drawing. Items of
all scenarios share one random order. So a check over several scenarios reads it as far as every one
of them was drawn, and the mix of scenarios is that of the data set.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Final

import polars as pl

from opensafemlrm.analysis.conditions import CONDITION_COLUMNS
from opensafemlrm.audit.measure import NAMES, Evidence, samples
from opensafemlrm.audit.policy import Figure, Rule
from opensafemlrm.engine.stopping import place_of

LOWS, HIGHS = "lows", "highs"
"""Columns: what each item's value is at least and at most, in order; null where none is known."""
_FIGURES: Final = (Figure.MAX_ASR, Figure.MAX_TAX, Figure.MIN_COVERAGE, Figure.MIN_UNDERSTOOD)
"""Figures that are means over items, not ratios of two of them, and of more than benign ones."""
_EVERY: Final = "~"
"""A place behind all others: every item of the scenario was run."""


def marked(evidence: Evidence) -> Evidence:
    """Return evidence in which all scenarios of a cell count as ended early if one of them was.

    One that was run to its end would else have a second chance, by an interval of its own.
    """
    ended = pl.col("stopped").any().over("cell") & (pl.col("expected") == "harmful")
    frame = evidence.frame.with_columns(stopped=ended)
    return replace(evidence, frame=frame)


def with_sequences(
    checks: pl.DataFrame, evidence: Evidence, rule: Rule, scenarios: pl.DataFrame | None
) -> pl.DataFrame:
    """Add :data:`LOWS` and :data:`HIGHS` to the checks of a rule of which a scenario was ended."""
    lists: list[tuple[list[float], list[float]] | None] = [None] * len(checks)
    ended = (checks["stopped"].fill_null(0) > 0).to_list()
    if any(ended) and rule.figure in _FIGURES and rule.compared_with in (None, "base"):
        items = _items(evidence, rule, scenarios)
        for i, row in enumerate(checks.iter_rows(named=True)):
            lists[i] = _in_order(items, evidence, row) if ended[i] else None
    return checks.with_columns(
        pl.Series(name, [pair and pair[side] for pair in lists], dtype=pl.List(pl.Float64))
        for side, name in enumerate((LOWS, HIGHS))
    )


def _items(evidence: Evidence, rule: Rule, scenarios: pl.DataFrame | None) -> pl.DataFrame:
    """Return the share of each item's samples that are hits, at least and at most, by cell."""
    rows, hit, so_far = samples(evidence, rule, scenarios)
    surely = hit.fill_null(value=False) | so_far.fill_null(value=False)
    keys = [*(name for name in NAMES if name != "base"), "expected", "item_key"]
    values = rows.group_by(keys).agg(low=surely.mean(), high=(surely | hit.is_null()).mean())
    return values.with_columns(pl.col(keys).cast(pl.String)).collect()


def _in_order(
    items: pl.DataFrame, evidence: Evidence, check: dict[str, Any]
) -> tuple[list[float], list[float]] | None:
    """Return the bounds of a check's items in order; ``None`` where no order is known."""
    rows = items.filter(cell=check["cell"])
    if check["scenario"] in rows["scenario"]:
        rows = rows.filter(scenario=check["scenario"])
    sides = [rows]
    if check["base"] is not None:
        same = {name: check[name] for name in CONDITION_COLUMNS}
        scenarios = rows["scenario"].unique().implode()
        bases = items.filter(pl.col("scenario").is_in(scenarios), model=check["base"], **same)
        sides.append(bases)
    draws = evidence.draws.join(pl.concat(sides), on=["cell", "scenario"], how="semi")
    seeds = draws["seed"].unique()
    if len(seeds) != 1:
        return None
    place = partial(_place, seeds[0])
    ordered = [
        side.with_columns(place=pl.Series(map(place, side["item_key"]), dtype=pl.String))
        for side in sides
    ]
    last = min((end for side in ordered for end in _ends(side, draws)), default=_EVERY)
    before = [side.filter(pl.col("place") <= last) for side in ordered]
    both = before[0]
    if len(before) > 1:
        low, high = pl.col("low") - pl.col("high_right"), pl.col("high") - pl.col("low_right")
        both = both.join(before[1], on=["scenario", "item_key"]).with_columns(low=low, high=high)
    both = both.sort("place")
    return both["low"].to_list(), both["high"].to_list()


def _ends(side: pl.DataFrame, draws: pl.DataFrame) -> list[str]:
    """Return the place of the last item that was drawn of each scenario of a cell."""
    ends = []
    for (cell, scenario), rows in side.partition_by("cell", "scenario", as_dict=True).items():
        places = rows.filter(expected="harmful")["place"].sort()
        known = draws.filter(cell=cell, scenario=scenario)
        count, items = known.select("drawn", "items").row(0) if len(known) else (len(places), None)
        is_whole = items is not None and len(places) >= items
        ends.append(_EVERY if is_whole or not len(places) else places[min(count, len(places)) - 1])
    return ends


def _place(seed: int, item: str) -> str:
    return place_of(seed, bytes.fromhex(item)).hex()
