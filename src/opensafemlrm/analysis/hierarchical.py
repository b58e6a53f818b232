"""One model of all pairs under a setting: scenarios, items, pairs and bases, each partly pooled.

The log odds that a reply is unsafe are a sum of effects: of the base, of the scenario, of both
together and of the item; and for a reasoning model those of its pair, of the scenario on all pairs,
and of both together. Each kind of effect has a normal distribution whose variance the data set, so
that a scenario with few samples is drawn towards what its pair, and the scenario elsewhere, make
likely. Bases that several pairs share and scenarios of a rate of 0 are then no special case, and
every blind spot has a ratio and a place with an interval.

Sources: Breslow & Clayton, "Approximate inference in generalized linear mixed models", JASA 88
(1993): penalised likelihood and Laplace's approximation; Dempster, Laird & Rubin, JRSS B 39 (1977),
for the variances, by steps of expectation and maximisation; Chung, Rabe-Hesketh et al., "A
nondegenerate penalized likelihood estimator for variance parameters in multilevel models",
Psychometrika 78 (2013), for a prior that keeps a variance of a few effects from being 0; Zeger,
Liang & Albert, Biometrics 44 (1988), for the rate over items.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import linalg, special

from opensafemlrm.analysis.agreement import SEED
from opensafemlrm.analysis.intervals import TAILS, Array

_STEPS: Final = 200
_TOLERANCE: Final = 1e-3
_FIXED_PRECISION: Final = 0.04
"""Of intercept and tax: a standard deviation of 5 on the logit, which says next to nothing."""
_SD: Final = (0.05, 3.0)
"""Between which standard deviations of effects are looked for."""
_SD_RATE: Final = 1.0
_FIXED_POINT_STEPS: Final = 20
_DRAWS: Final = 2_000
_LOGISTIC: Final = (16 * 3**0.5 / (15 * np.pi)) ** 2

FIGURES: Final = (
    *("shrunken_model", "shrunken_base", "shrunken_difference", "shrunken_low", "shrunken_high"),
    *("shrunken_ratio", "shrunken_ratio_low", "shrunken_ratio_high"),
    *("rank", "rank_low", "rank_high"),
)
"""What :func:`blind_spots` says of every pair and scenario."""

Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fit:
    """Effects at their most likely, and how sure they are.

    ``effects`` are those of the columns of the design: first the fixed ones, then every kind one
    after the other. ``covariance`` is theirs; ``deviations`` are the standard deviations of the
    kinds, and ``item_deviation`` that of items (0 where there are none).
    """

    effects: Array
    covariance: Array
    deviations: Array
    item_deviation: float


@dataclass(frozen=True, slots=True)
class Rows:
    """What was seen: ``hits`` of ``n`` in each row, of which cell and of which item it is.

    ``design`` has a row a cell, which is a model and a scenario: their rows differ in the item
    alone. ``items`` is ``None`` where items are not known.
    """

    hits: Array
    n: Array
    design: Array
    cells: Codes
    items: Codes | None = None


def fit(rows: Rows, fixed: int, sizes: Sequence[int]) -> Fit:
    """Fit log odds by penalised likelihood, with the variances by expectation and maximisation.

    The first ``fixed`` columns of the design are fixed effects, then come as many of each kind as
    ``sizes`` says.
    """
    ends = fixed + np.cumsum([0, *sizes])
    kinds = [slice(start, end) for start, end in itertools.pairwise(ends)]
    many = rows.design.shape[1]
    precision = np.full(many, _FIXED_PRECISION)
    deviations = np.ones(len(kinds))
    item_deviation = 0.0 if rows.items is None else 1.0
    effects, covariance = np.zeros(many), np.zeros((many, many))
    item_effects = np.zeros(0 if rows.items is None else int(rows.items.max()) + 1)
    for _ in range(_STEPS):
        for kind, deviation in zip(kinds, deviations, strict=True):
            precision[kind] = deviation**-2
        effects, item_effects, covariance, item_variance = _newton(
            rows, effects, item_effects, precision, item_deviation
        )
        variance = covariance.diagonal()
        squares = [float((effects[k] ** 2 + variance[k]).sum()) for k in kinds]
        likely = [_deviation(s, size) for s, size in zip(squares, sizes, strict=True)]
        change = np.abs(np.log(np.array(likely) / deviations)).max(initial=0.0)
        deviations = np.array(likely)
        if rows.items is not None:
            square = float((item_effects**2 + item_variance).sum())
            new = _deviation(square, len(item_effects))
            change = max(change, abs(np.log(new / item_deviation)))
            item_deviation = new
        if change < _TOLERANCE:
            break
    return Fit(effects, covariance, deviations, item_deviation)


def _deviation(square: float, size: int) -> float:
    """Return the standard deviation that makes effects most likely, with the prior of Chung et al.

    It is a gamma distribution of shape 2, which takes one effect from their number; its rate keeps
    a deviation that the data say nothing of, where harm is rare, from growing without end.
    """
    deviation = (square / max(size - 1, 1)) ** 0.5
    for _ in range(_FIXED_POINT_STEPS):
        deviation = (square / (max(size - 1, 1) + _SD_RATE * deviation)) ** 0.5
    return float(min(max(deviation, _SD[0]), _SD[1]))


def _newton(
    rows: Rows, effects: Array, item_effects: Array, precision: Array, item_deviation: float
) -> tuple[Array, Array, Array, Array]:
    """Take a step towards the most likely effects; returns these, their covariance, and items'."""
    design, cells, items = rows.design, rows.cells, rows.items
    log_odds = (design @ effects)[cells] + (0 if items is None else item_effects[items])
    rate = special.expit(log_odds)
    weight = rows.n * rate * (1 - rate)
    left = rows.hits - rows.n * rate
    many = design.shape[0]
    slope = design.T @ np.bincount(cells, left, many) - precision * effects
    # What all rows of a cell weigh together: a design has far fewer cells than rows.
    of_cell = design * np.bincount(cells, weight, many)[:, None]
    curvature = design.T @ of_cell + np.diag(precision)
    if items is None:
        covariance = np.asarray(np.linalg.inv(curvature), np.float64)
        return effects + _bounded(covariance @ slope), item_effects, covariance, item_effects
    # Items touch each other by the other effects alone: their block is diagonal.
    count = len(item_effects)
    diagonal = np.bincount(items, weight, count) + item_deviation**-2
    weights = np.bincount(cells * count + items, weight, many * count).reshape(many, count)
    between = design.T @ weights
    item_slope = np.bincount(items, left, count) - item_effects * item_deviation**-2
    scaled = between / diagonal
    covariance = np.asarray(np.linalg.inv(curvature - scaled @ between.T), np.float64)
    step = _bounded(covariance @ (slope - scaled @ item_slope))
    item_step = _bounded(item_slope / diagonal - scaled.T @ step)
    variance = 1 / diagonal + ((covariance @ scaled) * scaled).sum(axis=0)
    return effects + step, item_effects + item_step, covariance, variance


def _bounded(step: Array) -> Array:
    """Return a step that does not leave where the likelihood is curved."""
    return np.asarray(step * min(1.0, 2.0 / max(float(np.abs(step).max(initial=0.0)), 1e-12)))


def blind_spots(counts: pl.DataFrame, pairs: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """Return the figures of every pair and scenario under one setting.

    ``counts`` has a row a model, scenario and item (null where items are not known): model,
    scenario, item, hits and n; hits may be a fraction, such as the mean of repeats.
    ``pairs`` are models and their bases. Columns: model, base, scenario and :data:`FIGURES`; a
    scenario that one of the two has no sample of has no row.
    """
    counts = counts.filter(pl.col("n") > 0)
    if not pairs or counts.is_empty():
        return pl.DataFrame(schema=_SCHEMA)
    counts = _with_prior(counts)
    layout = _Layout.of(counts, pairs)
    cells = list(counts.select("model", "scenario").iter_rows())
    there = {cell: place for place, cell in enumerate(dict.fromkeys(cells))}
    seen = Rows(
        counts["hits"].to_numpy().astype(np.float64),
        counts["n"].to_numpy().astype(np.float64),
        layout.design(*zip(*there, strict=True)),
        np.array([there[cell] for cell in cells]),
        _item_codes(counts["item"]),
    )
    fitted = fit(seen, _Layout.FIXED, layout.sizes)
    rows = [
        (model, base, scenario)
        for model, base in pairs
        for scenario in layout.scenarios
        if (model, scenario) in there and (base, scenario) in there
    ]
    if not rows:
        return pl.DataFrame(schema=_SCHEMA)
    models, bases, scenarios = (list(column) for column in zip(*rows, strict=True))
    sides = [layout.design(side, scenarios) for side in (models, bases)]
    shrink = 1 / np.sqrt(1 + _LOGISTIC * fitted.item_deviation**2)
    drawing = np.random.default_rng(SEED)
    root = linalg.cholesky(fitted.covariance, lower=True)
    draws = fitted.effects[:, None] + root @ drawing.standard_normal((len(root), _DRAWS))
    rate, rate0 = (special.expit(shrink * (side @ fitted.effects)) for side in sides)
    drawn, drawn0 = (special.expit(shrink * (side @ draws)) for side in sides)
    places = np.zeros_like(drawn)
    place = np.zeros(len(rows))
    for pair in dict.fromkeys(zip(models, bases, strict=True)):
        of_pair = np.array([(m, b) == pair for m, b, _ in rows])
        places[of_pair] = _places((drawn - drawn0)[of_pair])
        place[of_pair] = _places((rate - rate0)[of_pair])
    low, high = np.quantile(drawn - drawn0, TAILS, axis=1)
    ratio_low, ratio_high = np.quantile(drawn / drawn0, TAILS, axis=1)
    first, last = np.quantile(places, TAILS, axis=1, method="inverted_cdf")
    values = (rate, rate0, rate - rate0, low, high, rate / rate0, ratio_low, ratio_high)
    ranks = (place, np.minimum(first, place), np.maximum(last, place))
    return pl.DataFrame(
        {
            **{"model": models, "base": bases, "scenario": scenarios},
            **dict(zip(FIGURES, (*values, *ranks), strict=True)),
        },
        schema_overrides=dict.fromkeys(FIGURES[-3:], pl.Int64),
    )


def _with_prior(counts: pl.DataFrame) -> pl.DataFrame:
    """Add half an unsafe and half a safe reply to each model, over all that it wrote.

    That is Jeffreys' prior of its rate: without an unsafe reply the most likely log odds would have
    no lower end, and no curvature that an interval could be made of.
    """
    share = pl.col("n") / pl.col("n").sum().over("model")
    return counts.with_columns(hits=pl.col("hits") + share / 2, n=pl.col("n") + share)


_SCHEMA: Final = {
    **dict.fromkeys(("model", "base", "scenario"), pl.String),
    **dict.fromkeys(FIGURES, pl.Float64),
    **dict.fromkeys(FIGURES[-3:], pl.Int64),
}


def _places(differences: Array) -> Array:
    """Return the place of each row in every column: 1 is the greatest difference."""
    order = np.argsort(-differences, axis=0, kind="stable")
    return np.asarray(np.argsort(order, axis=0, kind="stable") + 1, dtype=np.float64)


def _item_codes(items: pl.Series) -> Codes | None:
    """Return the items as numbers; ``None`` where they are not known, or each has one row."""
    if items.null_count() or items.n_unique() == len(items):
        return None
    return np.asarray(items.rank("dense").cast(pl.Int64).to_numpy() - 1)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which columns of a design stand for what."""

    FIXED = 2
    """The intercept, and the tax that all pairs have in common."""

    scenarios: tuple[str, ...]
    bases: tuple[str, ...]
    base_of: Mapping[str, str]
    """The base of every reasoning model; of several the first."""

    @classmethod
    def of(cls, counts: pl.DataFrame, pairs: Sequence[tuple[str, str]]) -> _Layout:
        scenarios = tuple(counts["scenario"].unique().sort())
        base_of = dict(reversed(pairs))
        return cls(scenarios, tuple(dict.fromkeys(base for _, base in pairs)), base_of)

    @property
    def sizes(self) -> list[int]:
        """Effects of each kind: base, scenario, base and scenario; and the same of the tax."""
        s, b, p = len(self.scenarios), len(self.bases), len(self.base_of)
        return [b, s, b * s, p, s, p * s]

    def design(self, models: Sequence[str], scenarios: Sequence[str]) -> Array:
        """Return the design of rows of these models and scenarios."""
        scenario = {name: place for place, name in enumerate(self.scenarios)}
        base = {name: place for place, name in enumerate(self.bases)}
        pair = {name: place for place, name in enumerate(self.base_of)}
        starts = self.FIXED + np.cumsum([0, *self.sizes])
        many = len(self.scenarios)
        rows, columns = [], []
        for row, (model, name) in enumerate(zip(models, scenarios, strict=True)):
            s = scenario[name]
            # A base that is a reasoning model of another pair is what it is as a base.
            reasons = model not in base
            b = base[self.base_of[model] if reasons else model]
            places = [0, starts[0] + b, starts[1] + s, starts[2] + b * many + s]
            if reasons:
                p = pair[model]
                places += [1, starts[3] + p, starts[4] + s, starts[5] + p * many + s]
            rows += [row] * len(places)
            columns += places
        design = np.zeros((len(models), int(starts[-1])))
        design[rows, columns] = 1
        return design
