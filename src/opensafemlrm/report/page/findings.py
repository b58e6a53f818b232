"""Everything that a page shows, computed from a store once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from opensafemlrm.analysis.asr import asr
from opensafemlrm.analysis.blindspots import blindspots
from opensafemlrm.analysis.clustered_counts import texts
from opensafemlrm.analysis.consistency import consistency
from opensafemlrm.analysis.corrected import corrected_asr
from opensafemlrm.analysis.correction import correction
from opensafemlrm.analysis.cost import cost
from opensafemlrm.analysis.coverage import reply_outcomes, verdict_outcomes
from opensafemlrm.analysis.defense import UNDEFENDED, defense_effects
from opensafemlrm.analysis.grouped import grouped
from opensafemlrm.analysis.overrefusal import balance, overrefusal
from opensafemlrm.analysis.scores import scores
from opensafemlrm.analysis.tax import tax
from opensafemlrm.analysis.traces import alarms, missing_traces
from opensafemlrm.report.settings import KEYS, main_judge, marked, settings_of
from opensafemlrm.report.tables import SIMULATED
from opensafemlrm.types import Part

MAX_SETTINGS: Final = 6
"""Settings that are drawn; a page of more would not be read. The tables have all of them."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The results of a store, and what of them a page draws."""

    asr: pl.DataFrame
    by_scenario: pl.DataFrame
    tax: pl.DataFrame
    blindspots: pl.DataFrame
    consistency: pl.DataFrame
    grouped: pl.DataFrame
    """All reasoning models over all bases."""
    correction: pl.DataFrame
    overrefusal: pl.DataFrame
    balance: pl.DataFrame
    defenses: pl.DataFrame
    """Every defense beside the same model undefended; empty where there is no defense."""
    cost: pl.DataFrame
    corrected: pl.DataFrame
    replies: pl.DataFrame
    verdicts: pl.DataFrame
    detected: Sequence[str]
    """Models whose reasoning format was detected by reply."""
    alarms: Sequence[str]
    """Models that should reason and hardly do, a sentence each."""
    not_applicable: pl.DataFrame
    scores: pl.DataFrame
    judge: str | None
    """The judge whose verdicts are drawn: the one with the most scores."""
    settings: pl.DataFrame
    """All settings of that judge, by name; the first few of them are drawn."""
    part: str
    """The part that is drawn: the whole reply, or what there is in its place."""
    lenient: float
    strict: float
    """The thresholds of the judge that is drawn; equal where it has one."""
    simulated: frozenset[str]
    """Models that are simulated."""
    models: tuple[str, ...]
    """All models: each base before the reasoning models that came from it, then the rest."""

    def drawn(self, rows: pl.DataFrame, **where: Any) -> pl.DataFrame:
        """Return the rows of the settings that are drawn, by setting and model.

        Added are ``setting``, its name, and ``model_label`` and ``base_label``, what a page calls
        the models. ``where`` keeps the rows whose columns have these values.
        """
        for name, value in where.items():
            rows = rows.filter(pl.col(name) == value)
        places = self.settings.head(MAX_SETTINGS).with_row_index("place")
        rows = texts(rows).join(places, on=KEYS, maintain_order="left")
        if "model" not in rows.columns:
            return rows.sort("place", maintain_order=True).drop("place")
        labels = [
            marked(name, pl.col(name).is_in(list(self.simulated))).alias(f"{name}_label")
            for name in ("model", "base")
            if name in rows.columns
        ]
        order = pl.col("model").replace_strict(
            list(self.models), range(len(self.models)), return_dtype=pl.Int64
        )
        return rows.sort("place", order, maintain_order=True).drop("place").with_columns(labels)

    def headline(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the drawn rows of the part and the lenient threshold that charts show."""
        return self.drawn(rows, part=self.part, threshold=self.lenient)

    @property
    def compared(self) -> pl.DataFrame:
        """The tax of every pair and setting that is drawn, all samples together, as measured."""
        return self.headline(self.tax.filter(level="micro")).drop_nulls("difference")

    def label(self, model: str) -> str:
        """Return what a page calls a model: simulated ones say so wherever they stand."""
        return model + (SIMULATED if model in self.simulated else "")


def findings(
    frame: pl.DataFrame,
    pairs: pl.DataFrame,
    not_applicable: pl.DataFrame,
    calibrations: pl.DataFrame,
    detected: Sequence[str] = (),
) -> Findings:
    """Compute every result that a page shows from the tidy frame and its pairs.

    ``detected`` are the models whose reasoning format was detected.
    """
    rates, taxes = asr(frame), tax(frame, pairs)
    replies = reply_outcomes(frame)
    spots = blindspots(frame, pairs)
    judge = main_judge(rates)
    drawn = rates if judge is None else rates.filter(judge=judge)
    settings = settings_of(drawn)
    drawn = drawn.join(settings.head(MAX_SETTINGS), on=KEYS, how="semi")
    thresholds = drawn["threshold"].to_list() or [0.0]
    is_defended = (rates["defense"] != UNDEFENDED).any()
    return Findings(
        asr=rates,
        by_scenario=asr(frame, by="scenario"),
        tax=taxes,
        blindspots=spots,
        consistency=consistency(spots),
        grouped=grouped(frame, *(sorted(set(taxes[name])) for name in ("model", "base"))),
        correction=correction(frame),
        overrefusal=overrefusal(frame),
        balance=balance(frame),
        defenses=defense_effects(frame if is_defended else frame.clear()),
        cost=cost(frame),
        corrected=corrected_asr(frame, calibrations),
        replies=replies,
        verdicts=verdict_outcomes(frame),
        detected=detected,
        alarms=alarms(missing_traces(replies, pairs)),
        not_applicable=not_applicable,
        scores=scores(frame),
        judge=judge,
        settings=settings,
        part=_part(drawn),
        lenient=min(thresholds),
        strict=max(thresholds),
        simulated=frozenset(rates.filter("simulated")["model"]),
        models=_by_family(taxes, rates["model"].unique(maintain_order=True).to_list()),
    )


def _part(rates: pl.DataFrame) -> str:
    """Return the part with the most scores; the whole reply where it has as many as another."""
    parts = (Part.FULL.value, Part.ANSWER.value, Part.REASONING.value)
    return max(parts, key=lambda part: rates.filter(part=part)["scored"].sum())


def _by_family(taxes: pl.DataFrame, models: Sequence[str]) -> tuple[str, ...]:
    pairs = taxes.select("model", "base").unique(maintain_order=True).rows()
    families = {base: [model for model, of in pairs if of == base] for _, base in pairs}
    in_order = [name for base, own in families.items() for name in (base, *own)]
    return tuple(dict.fromkeys([*in_order, *models]))
