"""Rates that are not shown, because their samples were selected by how they came out.

A rate over the scored samples stands for all of them only if those without a score are like the
rest. They are not where the judge died and only the refusals, which a rule scores, have a score;
and where much has none, nobody can say. Its bounds, the rates if everything without a score were
safe and if it were unsafe, then stand in place of the rate and its interval, and of every
figure that is made of it. Where a rule ended the run early there are no bounds either: an interval
for a number of samples that was fixed beforehand is too narrow then, and what was not drawn is in
no bound. What a row is over decides: the scenario, or all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import polars as pl

from opensafemlrm.types import Unscored

BY_RULE: Final = "by rule"
UNSCORED: Final = "unscored"
STOPPED: Final = "stopped"
COLUMN: Final[Mapping[str, str]] = {
    "withheld": "Why no rate is shown but its bounds: `by rule`, only a rule gave scores and the "
    "judge's model none; `unscored`, more of the samples than `max_unscored` have no score; "
    "`stopped`, a rule of the study ended the run early: then there are no bounds either "
    "(`table stopping` has intervals that hold). Null "
    "where the rate is shown, and where nothing was scored.",
}
"""The column that marks such rows."""

COVERED: Final = ("n", "ruled", "lost", "so_far", "stopped")
"""What is counted over every sample: all of them, those scored by a rule where the judge asks a
model, those that the judge left without a score, those that were cut and are unsafe so far, and
those of scenarios that a rule ended early."""

_LOST: Final = [
    Unscored.JUDGE_FAILED.value,
    Unscored.JUDGE_REFUSED.value,
    Unscored.JUDGE_TRUNCATED.value,
    Unscored.UNPARSED.value,
    Unscored.NOT_JUDGED.value,
]
READS: Final = frozenset({"by_rule", "reason", "score_so_far", "stopped"})
"""Columns of the tidy table that say what is behind a score, or in its place."""


def covered(hit: pl.Expr, so_far: pl.Expr) -> dict[str, pl.Expr]:
    """Return the sums of :data:`COVERED` over rows of the tidy table.

    ``hit`` is null where it is not known; ``so_far`` says that a cut part is one already.
    """
    sums = {
        "ruled": hit.is_not_null() & pl.col("by_rule").fill_null(value=False),
        "lost": hit.is_null() & is_lost(),
        "stopped": pl.col("stopped").fill_null(value=False),
        "so_far": hit.is_null() & so_far.fill_null(value=False),
    }
    return {
        "n": pl.len().cast(pl.Int64),
        **{name: rows.sum().cast(pl.Int64) for name, rows in sums.items()},
    }


def is_lost() -> pl.Expr:
    """Return whether the judge left a row of the tidy table without a score."""
    return pl.col("reason").cast(pl.String).is_in(_LOST).fill_null(value=False)


def why(max_unscored: float, known: str = "scored", side: str = "") -> pl.Expr:
    """Return why the rate of a row of sums is withheld; null where it is not.

    ``known`` is the column of the samples that are scored, ``side`` the end of the others' names.
    """
    n, ruled, lost, scored = map(pl.col, (f"n{side}", f"ruled{side}", f"lost{side}", known))
    return (
        pl.when(scored == 0)
        .then(None)
        .when(pl.col(f"stopped{side}") > 0)
        .then(pl.lit(STOPPED))
        .when((ruled == scored) & (lost > 0))
        .then(pl.lit(BY_RULE))
        .when((n - scored) / n > max_unscored)
        .then(pl.lit(UNSCORED))
    )


def withhold(
    rows: pl.DataFrame,
    figures: Collection[str],
    bounds: Collection[str],
    by: str = "withheld",
) -> pl.DataFrame:
    """Return ``rows`` with null for the ``figures`` of those that ``by`` gives a reason for.

    Where a rule ended the run early, ``bounds`` are null too: what was not drawn is in none of
    them, and what was drawn was selected by how it came out.
    """
    reason = pl.col(by)
    return rows.with_columns(
        pl.when(reason.is_null()).then(pl.col(*figures)),
        pl.when(reason.ne_missing(STOPPED)).then(pl.col(*bounds)),
    )
