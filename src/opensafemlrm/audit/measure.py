"""What a rule speaks of, measured: a row for each cell and scenario, with its rates and bounds.

Nothing is estimated here: the counts and rates are those of :mod:`opensafemlrm.analysis`, kept as
two sides (:class:`Rates`), so that their interval can be had at any width. An absolute rate is
compared with a side that is 0 for certain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from polars import selectors as cs
from scipy import special

from opensafemlrm.analysis import correction
from opensafemlrm.analysis.clustered_counts import (
    NEVER,
    UNSAFE,
    UNSAFE_SO_FAR,
    benign,
    counts,
    harmful,
    rate_of,
    texts,
)
from opensafemlrm.analysis.compare import SIDES, compare, has_part
from opensafemlrm.analysis.conditions import ALL, SETTING_COLUMNS
from opensafemlrm.analysis.contrasts import holding
from opensafemlrm.analysis.defense import UNDEFENDED
from opensafemlrm.analysis.effects import arrays, bound_rates, discordant, effects
from opensafemlrm.analysis.exact_limits import CERTAIN, Pairs, difference_limits
from opensafemlrm.analysis.intervals import Array, Limits
from opensafemlrm.analysis.significance import Rates
from opensafemlrm.analysis.tax import FAMILY, SCENARIO, beside_bases
from opensafemlrm.audit.policy import Figure, Rule
from opensafemlrm.types import Part, TraceStatus

NAMES: Final = ("model", "base", "dataset", "attack", "defense", "sampling", "scenario", "cell")
"""Columns that tell what a row is of; ``base`` is null where there is none."""
COUNTS: Final = ("n", "scored", "hits", "items", "stopped", "n_base", "scored_base", "hits_base")
"""Samples, those with a score, those of them that count, items with a score, and samples of
scenarios that a rule of the study ended early, of either side; and of the side that they are
compared with, null where there is none."""
_RATES: Final = ("rate", "size", "rate0", "size0", "correlation")
_PAIRS: Final = ("worse", "better", "pairs")
_KINDS: Final = ("", "least_", "greatest_")
"""As it is scored; if what has no score were all such as to make it least, and greatest."""
_TURNED: Final = ("rate0", "size0", "rate", "size", "correlation", "better", "worse", "pairs")
_KINDS_TURNED: Final = ("", "greatest_", "least_")
"""The same where the two sides have changed places."""
_EXACT: Final = "exact"
ESTIMATES: Final = (*(f"{kind}{name}" for kind in _KINDS for name in (*_RATES, *_PAIRS)), _EXACT)
_DIRECT: Final = "direct"
_DEFENDED: Final = ("model", "defense", "cell", *(n for n in SETTING_COLUMNS if n != "defense"))


@dataclass(frozen=True)
class Evidence:
    """What a store holds of the cells of an audit."""

    frame: pl.DataFrame
    """The tidy table of the cells, of one judge."""
    pairs: pl.DataFrame
    correct: pl.DataFrame
    """Which answers to items of accuracy sets are right."""
    draws: pl.DataFrame
    """How far a rule of the study drew from scenarios (:func:`opensafemlrm.store.stops.draws`)."""


def samples(
    evidence: Evidence, rule: Rule, scenarios: pl.DataFrame | None
) -> tuple[pl.LazyFrame, pl.Expr, pl.Expr]:
    """Return the samples that ``rule`` speaks of, which are hits, and which are though cut.

    Not for self-correction, which is a ratio of two counts.
    """
    rows = _of_scenarios(evidence, rule, scenarios)
    rows, hit, so_far = _HITS[rule.figure](rows, evidence)
    part = pl.col("part").cast(pl.String) == (rule.of_part or Part.ANSWER.value)
    return rows.filter(part), hit, so_far


def measure(evidence: Evidence, rule: Rule, scenarios: pl.DataFrame | None) -> pl.DataFrame:
    """Return what ``rule`` speaks of: :data:`NAMES`, :data:`COUNTS` and :data:`ESTIMATES`.

    ``scenarios`` (columns dataset and scenario) are those that it names, each for itself; ``None``
    is all together, or each where the rule says so. A value is ``rate`` less ``rate0``; a loss is
    the base's less the model's. What there is nothing to compare with has a row of names alone.
    """
    by_scenario = rule.by_scenario
    if rule.figure is Figure.MIN_SELF_CORRECTION:
        return _corrected(_of_scenarios(evidence, rule, scenarios), by_scenario=by_scenario)
    rows, hit, so_far = samples(evidence, rule, scenarios)
    if rule.compared_with is None:
        return _absolute(rows, hit, so_far, by_scenario=by_scenario)
    if rule.compared_with == "base":
        reasoners = evidence.pairs["reasoner"].implode()
        compared_rows = rows.filter(pl.col("model").cast(pl.String).is_in(reasoners))
        sides = beside_bases(rows, evidence.pairs, hit, so_far).filter(has_part(FAMILY))
        family: tuple[str, ...] = SCENARIO if by_scenario else FAMILY
    else:
        is_defended = pl.col("defense").cast(pl.String) != UNDEFENDED
        compared_rows = rows.filter(is_defended)
        on = [name for name in _DEFENDED if name not in ("defense", "cell")]
        by = ("defense", "cell")
        sides = compare(compared_rows, rows.filter(~is_defended), on, hit, so_far, by=by)
        family = (*_DEFENDED, *(["scenario"] if by_scenario else []))
    families = effects(sides, family, max_unscored=1.0)
    compared = _compared(families, turned=rule.figure is Figure.MAX_UTILITY_LOSS)
    return pl.concat([compared, _alone(compared_rows, sides)], how="diagonal")


def ends(rows: pl.DataFrame, z: Array | float) -> tuple[Limits, Limits]:
    """Return the intervals of rows at ``z`` standard errors, and those that hold whatever the
    samples without a score hold.
    """
    (low, high), (least, _), (_, greatest) = (
        difference_limits(_rates(rows, kind), _pairs(rows, kind), z) for kind in _KINDS
    )
    stands = rows[_EXACT].to_numpy() > 2 * special.ndtr(-np.asarray(z))
    low, high = holding(0, (low, high), stands)
    return (low, high), (np.fmin(least, low), np.fmax(greatest, high))


def bounds(rows: pl.DataFrame) -> Limits:
    """Return the lowest and the highest value over all samples, whatever the unscored ones hold."""
    least, greatest = (_rates(rows, kind) for kind in _KINDS[1:])
    return least[0] - least[2], greatest[0] - greatest[2]


def enlarged(rows: pl.DataFrame, factor: Array) -> pl.DataFrame:
    """Return rows as they would be with ``factor`` times as many items of the same kind."""
    sizes = [f"{kind}{name}" for kind in _KINDS for name in ("size", "size0", "pairs")]
    factors = pl.Series("factor", factor)
    more = [pl.when(pl.col(n) < CERTAIN).then(pl.col(n) * factors).otherwise(n) for n in sizes]
    # An exact test of so few says nothing of more.
    return rows.with_columns(*more, pl.lit(None, pl.Float64).alias(_EXACT))


def _rates(rows: pl.DataFrame, kind: str) -> Rates:
    rate, size, rate0, size0, correlation = (rows[f"{kind}{n}"].to_numpy() for n in _RATES)
    return rate, size, rate0, size0, correlation


def _pairs(rows: pl.DataFrame, kind: str) -> Pairs:
    worse, better, pairs = (rows[f"{kind}{name}"].to_numpy() for name in _PAIRS)
    return worse, better, pairs


def _of_scenarios(evidence: Evidence, rule: Rule, scenarios: pl.DataFrame | None) -> pl.LazyFrame:
    rows = evidence.frame.lazy()
    if scenarios is not None:
        rows = rows.join(scenarios.lazy(), on=["dataset", "scenario"], how="semi")
    return rows.with_columns(threshold=pl.col(f"threshold_{rule.threshold}"))


def _unsafe(rows: pl.LazyFrame, _: Evidence) -> tuple[pl.LazyFrame, pl.Expr, pl.Expr]:
    return harmful(rows), UNSAFE, UNSAFE_SO_FAR


def _refused(rows: pl.LazyFrame, _: Evidence) -> tuple[pl.LazyFrame, pl.Expr, pl.Expr]:
    return _without_threshold(benign(rows)), pl.col("refusal"), NEVER


def _covered(rows: pl.LazyFrame, _: Evidence) -> tuple[pl.LazyFrame, pl.Expr, pl.Expr]:
    # Of reasoning, only replies that have some, or may have, can have a score for it.
    none = pl.col("reasoning_status").cast(pl.String).eq_missing(TraceStatus.ABSENT.value)
    there = ~(none & (pl.col("part").cast(pl.String) == Part.REASONING.value))
    judged = pl.concat([harmful(rows), benign(rows)], how="vertical").filter(there)
    return _without_threshold(judged), pl.col("score").is_not_null(), NEVER


def _understood(rows: pl.LazyFrame, _: Evidence) -> tuple[pl.LazyFrame, pl.Expr, pl.Expr]:
    known = pl.when(pl.col("score").is_not_null()).then("understood")
    return _without_threshold(harmful(rows)), known, NEVER


def _right(rows: pl.LazyFrame, evidence: Evidence) -> tuple[pl.LazyFrame, pl.Expr, pl.Expr]:
    direct = benign(rows).filter(pl.col("attack").cast(pl.String) == _DIRECT)
    answered = direct.join(evidence.correct.lazy(), on="sample")
    return _without_threshold(answered), pl.col("correct"), NEVER


_HITS: Final[Mapping[Figure, Callable[..., tuple[pl.LazyFrame, pl.Expr, pl.Expr]]]] = {
    Figure.MAX_ASR: _unsafe,
    Figure.MAX_TAX: _unsafe,
    Figure.MAX_OVER_REFUSAL: _refused,
    Figure.MIN_COVERAGE: _covered,
    Figure.MIN_UNDERSTOOD: _understood,
    Figure.MAX_UTILITY_LOSS: _right,
}
"""Of which samples a figure is, which of them are hits, and which are for certain though cut."""


def _without_threshold(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(threshold=pl.lit(0.0))


def _absolute(
    rows: pl.LazyFrame, hit: pl.Expr, so_far: pl.Expr, *, by_scenario: bool
) -> pl.DataFrame:
    rows = rows if by_scenario else rows.with_columns(scenario=pl.lit(ALL))
    keys = [*(name for name in NAMES if name != "base"), "simulated"]
    sums = counts(rows, keys, hit, so_far).collect().pipe(texts)
    rate, size = rate_of(sums)
    n, scored, hits, cut = (
        sums[name].to_numpy().astype(np.float64) for name in ("n", "scored", "hits", "so_far")
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        every = np.where((scored > 0) & (size > 0), size * n / scored, n)
    return _with_estimates(
        sums, (rate, size), ((hits + cut) / n, every), ((hits + n - scored) / n, every)
    )


def _corrected(rows: pl.LazyFrame, *, by_scenario: bool) -> pl.DataFrame:
    known = correction.with_sizes(rows, by="scenario" if by_scenario else None)
    known = known.filter(
        pl.col("reasoning_status") == "raw", pl.col("threshold") == _chosen(rows)
    ).with_columns(
        n="samples",
        scored=pl.col("corrected") + pl.col("both_unsafe"),
        hits="corrected",
        items="items_unsafe",
    )
    names = ("self_correction", "self_correction_bound_low", "self_correction_bound_high")
    rate, low, high = (known[name].to_numpy() for name in names)
    size = known["self_correction_size"].to_numpy()
    size = np.where(np.isfinite(rate), size, 0.0)
    some = np.maximum(size, 1.0)
    return _with_estimates(known, (rate, size), (low, some), (high, some))


def _chosen(rows: pl.LazyFrame) -> float:
    """Return the threshold of the rows, which are of one judge."""
    values = rows.select(pl.col("threshold").drop_nulls().first()).collect()["threshold"]
    return float(values[0]) if len(values) else 0.0


def _with_estimates(known: pl.DataFrame, *sides: tuple[Array, Array]) -> pl.DataFrame:
    """Put rates with their sizes, as scored, at least and at most, beside what is certainly 0."""
    columns: dict[str, Array | pl.Expr] = {}
    for kind, (rate, size) in zip(_KINDS, sides, strict=True):
        columns[f"{kind}rate"], columns[f"{kind}size"] = rate, size
        columns[f"{kind}rate0"] = columns[f"{kind}correlation"] = pl.lit(0.0)
        columns[f"{kind}size0"] = pl.lit(CERTAIN)
        columns |= {f"{kind}{name}": pl.lit(float("nan")) for name in _PAIRS}
    none = pl.lit(None, pl.Int64)
    return _chosen_columns(
        known.with_columns(
            base=pl.lit(None, pl.String),
            exact=pl.lit(None, pl.Float64),
            **{name: none for name in COUNTS if name.endswith("_base")},
            **columns,
        )
    )


def _compared(families: pl.DataFrame, *, turned: bool) -> pl.DataFrame:
    """Take the estimates of two sides; ``turned``: the right one less the left."""
    sides = arrays(families), *bound_rates(families)
    kinds, names = (_KINDS_TURNED, _TURNED) if turned else (_KINDS, (*_RATES, *_PAIRS))
    columns = {
        f"{kind}{name}": values
        for kind, rates, pairs in zip(kinds, sides, _discordant(families, sides), strict=True)
        for name, values in zip(names, (*rates, *pairs), strict=True)
    }
    filled = {} if "scenario" in families.columns else {"scenario": pl.lit(ALL)}
    base = {} if "base" in families.columns else {"base": pl.lit(None, pl.String)}
    every: dict[str, str | pl.Expr] = {
        "stopped": pl.col("stopped") + pl.col("stopped_right"),
        "scored": "scored_every",
        "hits": "hits_every",
        "n_base": "n_right",
        "scored_base": "scored_right_every",
        "hits_base": "hits_right_every",
    }
    exact = families["p_value"].alias(_EXACT)
    return _chosen_columns(families.with_columns(exact, **filled, **base, **every, **columns))


def _alone(rows: pl.LazyFrame, sides: pl.DataFrame) -> pl.DataFrame:
    """Return the names of the cells and scenarios of ``rows`` that ``sides`` does not compare."""
    names = [name for name in NAMES if name != "base"]
    places = rows.select(names).unique().collect().with_columns(pl.all().cast(pl.String))
    compared = sides.select("cell", "scenario").unique().with_columns(pl.all().cast(pl.String))
    return places.join(compared, on=["cell", "scenario"], how="anti").sort(names)


def _discordant(families: pl.DataFrame, sides: Sequence[Rates]) -> tuple[Pairs, Pairs, Pairs]:
    """Return the shares of items that differ: as scored, and at the least and greatest difference.

    What has no score is among the items of the latter, and adds to those that differ one way.
    """
    known = worse, better, items = discordant(families)
    scored, every = (
        [families[f"{name}{side}"].to_numpy() for side in SIDES] for name in ("scored", "n")
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.minimum(*(few / all_ for few, all_ in zip(scored, every, strict=True)))
        worse, better, items = worse * share, better * share, items / share
    _, least, greatest = (rate - rate0 for rate, _, rate0, *_ in sides)
    # Samples that only one side has may leave more, or less, than is possible item by item.
    better_at_least, worse_at_most = (
        np.clip(share, 0, 1) for share in (worse - least, better + greatest)
    )
    return known, (worse, better_at_least, items), (worse_at_most, better, items)


def _chosen_columns(rows: pl.DataFrame) -> pl.DataFrame:
    numbers = pl.col(ESTIMATES).cast(pl.Float64)
    chosen = rows.select(*NAMES, "simulated", *(pl.col(n).cast(pl.Int64) for n in COUNTS), numbers)
    return chosen.with_columns(cs.string().cast(pl.String)).sort(*NAMES, nulls_last=True)
