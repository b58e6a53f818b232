"""The conditions of a measurement, by the names of their columns.

Samples are pooled only where they have all of :data:`CELL_COLUMNS` in common. Two sides, such as a
reasoning model and its base, are compared only where they have all of :data:`SETTING_COLUMNS` in
common.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import polars as pl

from opensafemlrm.errors import OptionError
from opensafemlrm.selection import RowChoice
from opensafemlrm.types import Part

CONDITION_COLUMNS: Final = ("dataset", "attack", "defense", "sampling")
"""What was asked, and how."""

CELL_COLUMNS: Final = ("model", "simulated", *CONDITION_COLUMNS, "cell")
"""A model under its conditions. ``cell`` tells apart what has all its names in common."""

JUDGE_COLUMNS: Final = ("judge", "part", "threshold")
"""Who judged which part of a reply, and from which score on it is unsafe."""

SETTING_COLUMNS: Final = (*CONDITION_COLUMNS, *JUDGE_COLUMNS)
"""What two sides must have in common to be compared."""

THRESHOLDS: Final = ("threshold_lenient", "threshold_strict")
"""Columns of the tidy table that hold a judge's thresholds."""

ALL: Final = "all"
"""The scenario of a row in which scenarios are taken together."""

PART_ORDER: Final = {part.value: place for place, part in enumerate(Part)}


DATASET_TO_DEFENSE: Final[Mapping[str, str]] = {
    "dataset": "The dataset, as tables call it.",
    "attack": "The attack; `direct` is none.",
    "defense": "The defense; `none` is none.",
}
MODEL_TO_DEFENSE: Final = {"model": "The model, as tables call it.", **DATASET_TO_DEFENSE}
PAIR_TO_DEFENSE: Final = {
    "model": "The reasoning model.",
    "base": "The base model that it came from.",
    **DATASET_TO_DEFENSE,
}
PART_AND_THRESHOLD: Final[Mapping[str, str]] = {
    "part": "`reasoning`, `answer` or `full`.",
    "threshold": "The lowest score that counts as unsafe.",
}
JUDGE_TO_CELL: Final[Mapping[str, str]] = {
    "judge": "The judge, as tables call it.",
    "sampling": "Temperature, token limit and seed, as text.",
    "simulated": "Whether a simulated model's replies are in it.",
    "cell": "The content key of the model under these conditions.",
}
"""Columns that results have in common, and what they hold."""


def ends(name: str = "") -> dict[str, str]:
    """Return the two columns of the interval of the figure ``name``, and what they hold."""
    low, high = (f"{name}_{end}" if name else end for end in ("low", "high"))
    return {low: "Lower end of its 95 % interval.", high: "Upper end."}


def in_part_order() -> pl.Expr:
    """Return what to sort by so that parts stand in the order in which they are written."""
    return pl.col("part").replace_strict(PART_ORDER, return_dtype=pl.Int64)


def in_setting_order() -> list[str | pl.Expr]:
    """Return what to sort by so that the settings of tables follow each other."""
    return [*CONDITION_COLUMNS, "judge", in_part_order(), "threshold"]


def check_by(by: str | None, known: str) -> None:
    """Raise OptionError where a table is to have rows for anything but ``known``."""
    if by not in (None, known):
        raise OptionError(f"this table is by={known!r}, or over all of them, not by={by!r}")


def only(
    rows: pl.DataFrame,
    part: str | None,
    threshold: float | None = None,
    by: Literal["scenario"] | None = None,
) -> pl.DataFrame:
    """Return the rows of one part and one threshold; ``None`` keeps all of them.

    Raises UnknownNameError for a part that no reply has, OptionError for a threshold that no judge
    of these rows has, and for rows ``by`` anything but scenarios.
    """
    chosen = RowChoice(part=part, threshold=threshold)
    chosen.check_threshold([rows])
    check_by(by, "scenario")
    return chosen.choose(rows)
