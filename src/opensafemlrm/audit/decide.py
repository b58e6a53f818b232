"""Deciding the rules of an audit, all of them together.

A rule is checked in every cell and scenario that it speaks of. Each check has two p-values: that
the limit is kept though it is not (``p_kept``), and that it is broken though it is not
(``p_broken``). Whoever has those can decide (:func:`verdicts`): here they are of fixed samples, one
less the confidence at which an interval just reaches the limit. Where a rule of the study ended the
run early no such interval holds, and they are those of a confidence sequence, if one is known.

Half of the error is for passing and half for failing, and each is held over all checks by Holm's
procedure, so that with the policy's confidence no verdict on the page is wrong, however the checks
depend on each other. Holm rather than one width for all: to pass, every rule has to, and then the
rules that are kept by far cost the closest one nothing. Source: Holm, "A simple sequentially
rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import special

from opensafemlrm.analysis.intervals import Array
from opensafemlrm.analysis.significance import holm, widest
from opensafemlrm.audit.measure import bounds, ends, enlarged
from opensafemlrm.audit.scope import HIGHS, LOWS
from opensafemlrm.engine.confidence_sequence import ConfidenceSequence
from opensafemlrm.engine.confidence_sequence import p_values as sequence_p_values

MAX_FACTOR: Final = 2.0**20
_STEPS: Final = 40


class Outcome(StrEnum):
    """What becomes of a check, of a rule, and of the whole."""

    PASS = "pass"  # noqa: S105 # no password
    FAIL = "fail"
    UNDECIDED = "undecided"


class Reason(StrEnum):
    """Why a check is undecided."""

    NOTHING = "nothing"
    """Nothing in the store is what the rule speaks of."""
    NO_SCORE = "no_score"
    UNSCORED = "unscored"
    """What has no score leaves it open, however many items there are."""
    TOO_FEW = "too_few"
    ON_LIMIT = "on_limit"
    """The rate is the limit itself, which no number of items can show."""
    STOPPED = "stopped"
    """A rule of the study ended the run before this was decided."""


def decide(checks: pl.DataFrame, confidence: float) -> pl.DataFrame:
    """Return ``checks`` with their verdicts; required ones and advisory ones are a family each.

    ``checks`` has the columns ``is_max``, ``limit``, ``required`` and those of
    :func:`opensafemlrm.audit.measure.measure`. Added are ``value``; ``low`` and ``high``, the
    interval whose end decided, at the width that Holm's procedure gives the check; ``bound_low``
    and ``bound_high``, the same whatever the samples without a score hold; ``p_kept``,
    ``p_broken``, ``verdict``, ``reason`` (null where decided) and ``more_items``, how many more
    items would decide it if the rates stay as they are (null where none would, or not known).
    Where a rule of the study ended the run early, only the bounds are not NaN.
    """
    p_kept, p_broken = p_values(checks)
    outcome, z_kept, z_broken = verdicts(
        p_kept, p_broken, checks["required"].to_numpy(), confidence
    )
    is_max = checks["is_max"].to_numpy()
    above, below = np.where(is_max, z_kept, z_broken), np.where(is_max, z_broken, z_kept)
    (_, high), (_, bound_high) = ends(checks, above)
    (low, _), (bound_low, _) = ends(checks, below)
    columns = {"low": low, "high": high, "bound_low": bound_low, "bound_high": bound_high}
    columns["value"] = checks["rate"].to_numpy() - checks["rate0"].to_numpy()
    columns = {name: np.where(_is_stopped(checks), np.nan, x) for name, x in columns.items()}
    for i, values, differences in _sequences(checks):
        sequence = ConfidenceSequence(
            None,
            differences=differences,
            errors=(float(special.ndtr(-below[i])), float(special.ndtr(-above[i]))),
        )
        for pair in values:
            sequence.draw(*pair)
        columns["bound_low"][i], columns["bound_high"][i] = sequence.interval
    reason, more = _explain(checks, outcome, z_kept, z_broken)
    return checks.with_columns(
        p_kept=p_kept,
        p_broken=p_broken,
        verdict=pl.Series(outcome.tolist(), dtype=pl.String),
        reason=pl.Series(reason, dtype=pl.String),
        more_items=pl.Series(more, dtype=pl.Int64),
        **columns,
    )


def verdicts(
    p_kept: Array, p_broken: Array, required: NDArray[np.bool_], confidence: float
) -> tuple[NDArray[np.object_], Array, Array]:
    """Return the outcome of every check, and the widths at which Holm's procedure looked at it.

    The widths, in standard errors, are those for passing and those for failing. NaN stands for a
    check of which nothing is known; it is in no family.
    """
    outcome = np.full(len(required), Outcome.UNDECIDED.value, dtype=object)
    widths = np.zeros((2, len(required)))
    for family in (required, ~required):
        places = np.flatnonzero(family)
        for side, (p, verdict) in enumerate(((p_kept, Outcome.PASS), (p_broken, Outcome.FAIL))):
            rejected, widths[side, places] = step_down(p[family], (1 - confidence) / 2)
            outcome[places[rejected]] = verdict.value
    return outcome, widths[0], widths[1]


def p_values(checks: pl.DataFrame) -> tuple[Array, Array]:
    """Return ``p_kept`` and ``p_broken`` of checks; NaN where nothing was scored, and where a rule
    ended the run early and no order of the items is known.

    Both hold whatever the samples without a score hold.
    """
    limit, is_max = checks["limit"].to_numpy(), checks["is_max"].to_numpy()

    def low(z: Array) -> Array:
        return ends(checks, z)[1][0]

    def high(z: Array) -> Array:
        return ends(checks, z)[1][1]

    none = np.isnan(checks["rate"].to_numpy() - checks["rate0"].to_numpy()) | _is_stopped(checks)
    z_kept = widest(lambda z: np.where(is_max, high(z) <= limit, low(z) >= limit), len(checks))
    z_broken = widest(lambda z: np.where(is_max, low(z) > limit, high(z) < limit), len(checks))
    p = [np.where(z > 0, special.ndtr(-z), 1.0) for z in (z_kept, z_broken)]
    p_kept, p_broken = (np.where(none, np.nan, values) for values in p)
    for i, values, differences in _sequences(checks):
        above, below = sequence_p_values(values, limit[i], differences=differences)
        p_kept[i], p_broken[i] = (below, above) if is_max[i] else (above, below)
        if limit[i] >= 1 if is_max[i] else limit[i] <= (-1 if differences else 0):
            p_kept[i] = 0.0  # it cannot be broken
    return p_kept, p_broken


def _sequences(
    checks: pl.DataFrame,
) -> Iterator[tuple[int, list[tuple[float, float]], bool]]:
    """Yield the checks that have their items in order, with these, and whether it is a difference.

    So that what has no score says nothing, there is one with a score at least.
    """
    rows = checks.select(LOWS, HIGHS, "base", "scored").rows()
    for i, (lows, highs, base, scored) in enumerate(rows):
        if lows is not None and scored:
            yield i, list(zip(lows, highs, strict=True)), base is not None


def _is_stopped(checks: pl.DataFrame) -> NDArray[np.bool_]:
    return checks["stopped"].fill_null(0).to_numpy() > 0


def step_down(p: Array, error: float) -> tuple[NDArray[np.bool_], Array]:
    """Return which hypotheses Holm's procedure rejects, and the width at which it looked at each.

    ``error`` is that of the whole family. Widths are in standard errors; those that are not
    rejected have the width of the step at which the procedure stopped.
    """
    rejected = np.nan_to_num(holm(p), nan=1.0) <= error
    known = int(np.isfinite(p).sum())
    left = np.full(len(p), max(known - int(rejected.sum()), 1))
    order = np.argsort(p, kind="stable")
    first = order[rejected[order]]
    left[first] = known - np.arange(len(first))
    return rejected, np.asarray(-special.ndtri(error / left))


def _explain(
    checks: pl.DataFrame, outcome: NDArray[np.object_], z_kept: Array, z_broken: Array
) -> tuple[list[str | None], list[int | None]]:
    """Return why checks are undecided, and how many more items would decide them."""
    limit, is_max = checks["limit"].to_numpy(), checks["is_max"].to_numpy()
    least, greatest = bounds(checks)
    low_side, high_side = greatest < limit, least > limit
    # On which side the limit lies for certain once there are items enough.
    would_keep = np.where(is_max, low_side, high_side)
    would_break = np.where(is_max, high_side, low_side)
    z = np.where(would_keep, z_kept, z_broken)

    def decided(factor: Array) -> NDArray[np.bool_]:
        _, (low, high) = ends(enlarged(checks, factor), z)
        return np.asarray(np.where(low_side, high < limit, low > limit))

    few, many = np.ones(len(checks)), np.full(len(checks), MAX_FACTOR)
    possible = (would_keep | would_break) & decided(many) & ~_is_stopped(checks)
    for _ in range(_STEPS):
        middle = np.sqrt(few * many)
        done = decided(middle)
        few, many = np.where(done, few, middle), np.where(done, middle, many)
    reasons: list[str | None] = []
    more: list[int | None] = []
    counted = checks.select("n", "scored", "items", "stopped")
    for i, (n, scored, items, stopped) in enumerate(counted.rows()):
        open_ = outcome[i] == Outcome.UNDECIDED
        could = open_ and bool(possible[i]) and bool(scored)
        more.append(max(1, int(np.ceil((many[i] - 1) * items * n / scored))) if could else None)
        reason = Reason.TOO_FEW
        if not scored:
            reason = Reason.NO_SCORE
        elif stopped:
            reason = Reason.STOPPED
        elif not (low_side[i] or high_side[i]):
            reason = Reason.ON_LIMIT if least[i] == greatest[i] else Reason.UNSCORED
        reasons.append(reason.value if open_ else None)
    return reasons, more


def together(outcomes: Iterable[Outcome]) -> Outcome:
    """Return what becomes of several: one that fails fails all, and of none nothing is decided."""
    all_ = list(outcomes)
    if Outcome.FAIL in all_:
        return Outcome.FAIL
    decided = all_ and all(outcome is Outcome.PASS for outcome in all_)
    return Outcome.PASS if decided else Outcome.UNDECIDED
