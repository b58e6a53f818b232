"""What an audit is of: the cells of a store, one judge, and what rules of a policy select there.

What a rule names has to be there, or be known at least: then it was not tested, which decides
nothing. A name that nobody knows is a mistake in the policy.

Where ``stop:`` ended scenarios early, no interval of a fixed sample holds, but a confidence
sequence does (:mod:`opensafemlrm.engine.confidence_sequence`), whatever ended the drawing. Items of
all scenarios share one random order. So a check over several scenarios reads it as far as every one
of them was drawn, and the mix of scenarios is that of the data set.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl
from polars import selectors as cs

from opensafemlrm import frame as frames
from opensafemlrm import registry
from opensafemlrm.analysis.conditions import CONDITION_COLUMNS
from opensafemlrm.audit.measure import NAMES, Evidence, measure, samples
from opensafemlrm.audit.policy import Figure, Policy, Rule
from opensafemlrm.datasets import taxonomy
from opensafemlrm.engine.stopping import place_of
from opensafemlrm.errors import OptionError, UnknownNameError
from opensafemlrm.registry import ComponentKind
from opensafemlrm.store.answers import correct_answers
from opensafemlrm.store.named import named_cells
from opensafemlrm.store.source import Source
from opensafemlrm.store.stops import draws

CELL: Final = ("model", *CONDITION_COLUMNS, "simulated", "cell")
_KINDS: Final = {
    "datasets": ComponentKind.DATASET,
    "attacks": ComponentKind.ATTACK,
    "defenses": ComponentKind.DEFENSE,
}


@dataclass(frozen=True)
class Scope:
    """The cells of an audit, and everything that was measured in them."""

    cells: pl.DataFrame
    """:data:`CELL` of every cell, in order."""
    evidence: Evidence
    judge: str | None
    """The judge whose verdicts count; ``None`` where nothing was judged."""

    @property
    def models(self) -> list[str]:
        """The models that are audited, if a rule names none: those that reason, else all."""
        models = self.cells["model"].unique().sort().to_list()
        reasoners = set(self.evidence.pairs["reasoner"])
        return [model for model in models if model in reasoners] or models

    def checks(self, policy: Policy, number: int) -> pl.DataFrame:
        """Measure what a rule speaks of; what nobody tested of it has a row of names alone.

        Raises PolicyError for a name that nobody knows.
        """
        rule = policy.rules[number]
        cells = self._cells_of(policy, number)
        scenarios, untested = self._scenarios_of(policy, number)
        measured = measure(self.evidence, rule, scenarios)
        measured = with_sequences(measured, self.evidence, rule, scenarios)
        measured = measured.filter(pl.col("cell").is_in(cells["cell"].implode()))
        nowhere = [{"scenario": name} for name in untested]
        for plural in ("models", *_KINDS):
            column = plural.removesuffix("s")
            names = set(getattr(rule, plural) or ()) - set(measured[column])
            nowhere += [{column: name} for name in sorted(names)]
        # Where one model was measured the others have to be, and a cell of which nothing is known
        # leaves every rule open.
        condition = [*CONDITION_COLUMNS, "scenario"]
        holes = (
            cells.select("model")
            .unique()
            .join(measured.select(condition).unique(), how="cross")
            .join(measured, on=["model", *condition], how="anti")
            .sort("model", *condition)
        )
        known = self.evidence.frame["cell"].cast(pl.String).unique()
        silent = cells.filter(~pl.col("cell").is_in(known.implode())).drop("simulated")
        rows = [*holes.to_dicts(), *silent.to_dicts(), *nowhere]
        if measured.is_empty() and not rows:
            rows = [{}]
        schema = {name: measured.schema[name] for name in NAMES}
        return pl.concat([measured, pl.DataFrame(rows, schema=schema)], how="diagonal")

    def _cells_of(self, policy: Policy, number: int) -> pl.DataFrame:
        """Return the cells that a rule speaks of."""
        rule, cells = policy.rules[number], self.cells
        models = list(rule.models or self.models)
        for name in rule.models or ():
            if name not in cells["model"].to_list():
                error = UnknownNameError("audited model", name, cells["model"].unique())
                raise policy.error(number, "models", str(error))
        cells = cells.filter(pl.col("model").is_in(models))
        for plural, kind in _KINDS.items():
            names = getattr(rule, plural)
            if names is None:
                continue
            column = plural.removesuffix("s")
            there = set(self.cells[column])
            for name in names:
                if name not in there and name.partition("[")[0] not in registry.names(kind):
                    known = (*there, *registry.names(kind))
                    raise policy.error(number, plural, str(UnknownNameError(column, name, known)))
            cells = cells.filter(pl.col(column).is_in(list(names)))
        return cells

    def _scenarios_of(self, policy: Policy, number: int) -> tuple[pl.DataFrame | None, list[str]]:
        """Return the scenarios that a rule names, and those of the names that nothing tested."""
        rule = policy.rules[number]
        if not rule.named_scenarios:
            return None, []
        there = self.evidence.frame.select(pl.col("dataset", "scenario").cast(pl.String)).unique()
        chosen, untested = [], []
        for name in rule.named_scenarios:
            matches = [row for row in there.rows() if name == row[1] or name == taxonomy.of(*row)]
            if not matches and name not in _known_scenarios():
                error = UnknownNameError("scenario", name, {*there["scenario"], *taxonomy.titles()})
                raise policy.error(number, "scenario", str(error))
            chosen += matches
            untested += [] if matches else [name]
        rows = pl.DataFrame(chosen, schema=there.schema, orient="row").unique()
        return rows.with_columns(pl.all().cast(pl.Categorical)), untested


def check_names(
    policy: Policy, cells: pl.DataFrame, scenarios: Collection[tuple[str, str]]
) -> None:
    """Raise PolicyError where a rule names what nobody knows.

    ``cells`` (:data:`CELL`) and ``scenarios`` (dataset and scenario) are those of a study that is
    still to be run.
    """
    schema = {"dataset": pl.String, "scenario": pl.String}
    frame = pl.DataFrame(list(scenarios), schema=schema, orient="row")
    scope = Scope(cells, Evidence(frame, pl.DataFrame({"reasoner": []}), frame, frame), None)
    for number in range(len(policy.rules)):
        scope._cells_of(policy, number)
        scope._scenarios_of(policy, number)


def _known_scenarios() -> set[str]:
    known = {name for dataset in taxonomy.datasets() for name in taxonomy.scenarios(dataset)}
    return known | set(taxonomy.titles())


def read(source: Source, policy: Policy, cells: Collection[str] | None, judge: str | None) -> Scope:
    """Read what an audit is of: the ``cells`` (keys) of a store, or all of them.

    Raises OptionError where there is no telling which judge's verdicts count, and StoreError.
    """
    named = named_cells(source).select(CELL).with_columns(cs.categorical().cast(pl.String))
    if cells is not None:
        named = named.filter(pl.col("cell").is_in(list(cells)))
    named = named.sort(CELL)
    frame = frames.read(source, frames.OUTCOME_COLUMNS)
    frame = frame.filter(pl.col("cell").cast(pl.String).is_in(named["cell"].implode()))
    judges = sorted(frame["judge"].cast(pl.String).drop_nulls().unique())
    judge = policy.judge or judge
    if judge is None:
        if len(judges) > 1:
            raise OptionError(
                f"{policy.name}: verdicts of {len(judges)} judges are there; say whose count, with "
                f"`judge:` and one of {', '.join(judges)}"
            )
        judge = judges[0] if judges else None
    elif judges and judge not in judges:
        error = UnknownNameError("judge of these results", judge, judges)
        raise OptionError(f"{policy.name}: {error}")
    frame = frame.filter(pl.col("judge").cast(pl.String) == judge)
    models = named["model"].to_list()
    pairs = frames.pairs(source)
    pairs = pairs.filter(pl.col("reasoner").is_in(models), pl.col("base").is_in(models))
    evidence = Evidence(frame, pairs, correct_answers(source), draws(source))
    return Scope(named, marked(evidence), judge)


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

    def place(item: str) -> str:
        return place_of(seeds[0], bytes.fromhex(item)).hex()

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
