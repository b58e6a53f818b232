"""Settings: the conditions and the judge that rows share, and what a reader calls them."""

from __future__ import annotations

from typing import Final

import polars as pl

from opensafemlrm.report.tables import SIMULATED

KEYS: Final = ("dataset", "attack", "defense", "judge", "sampling")
"""Columns of a setting. Verdicts of several judges are never mixed in one chart."""


def settings_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the settings in ``rows``: :data:`KEYS`, and ``setting``, the name; undefended first.

    A setting is named by what it differs in from the others, and always by the attack.
    """
    settings = rows.select(KEYS).unique()
    settings = settings.sort(
        pl.col("defense") != "none", "dataset", pl.col("attack") != "direct", *KEYS
    )
    differ = [name for name in KEYS if name == "attack" or settings[name].n_unique() > 1]
    defense = pl.when(pl.col("defense") != "none").then("defense")
    parts = [defense if name == "defense" else pl.col(name) for name in differ]
    return settings.with_columns(setting=pl.concat_str(parts, separator=" · ", ignore_nulls=True))


def main_judge(rates: pl.DataFrame) -> str | None:
    """Return the judge with the most scores in ``rates`` (rows of ``asr``)."""
    scored = rates.group_by("judge").agg(pl.col("scored").sum())
    judges = scored.sort("scored", "judge", descending=[True, False])["judge"].to_list()
    return judges[0] if judges else None


def in_settings(rows: pl.DataFrame, settings: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of ``settings`` with the name of theirs, one setting after another."""
    places = settings.with_row_index("place")
    found = rows.join(places, on=KEYS, maintain_order="left")
    return found.sort("place", maintain_order=True).drop("place")


def marked(model: str, simulated: pl.Expr) -> pl.Expr:
    """Return a column of models as readers see it: simulated ones say so wherever they stand."""
    return pl.col(model) + pl.when(simulated).then(pl.lit(SIMULATED)).otherwise(pl.lit(""))
