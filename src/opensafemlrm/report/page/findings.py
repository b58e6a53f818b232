"""Everything that a page tells, computed from a store once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

import polars as pl

from opensafemlrm.analysis.asr import asr
from opensafemlrm.analysis.blindspots import blindspots
from opensafemlrm.analysis.consistency import ConsistencyRow, consistency
from opensafemlrm.analysis.corrected import corrected_asr
from opensafemlrm.analysis.correction import correction
from opensafemlrm.analysis.cost import cost
from opensafemlrm.analysis.coverage import reply_outcomes, verdict_outcomes
from opensafemlrm.analysis.defense import UNDEFENDED, defense_effects
from opensafemlrm.analysis.grouped import grouped
from opensafemlrm.analysis.overrefusal import balance, overrefusal
from opensafemlrm.analysis.scores import scores
from opensafemlrm.analysis.tax import tax
from opensafemlrm.report.page.settings import Settings, settings_of
from opensafemlrm.report.tables import SIMULATED
from opensafemlrm.types import Part

MAX_SETTINGS: Final = 6
"""Settings that are drawn; a page of more would not be read. The tables have all of them."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The typed results of a store, and what of them a page draws."""

    results: dict[str, pl.DataFrame]
    asr: list[Any]
    by_scenario: list[Any]
    tax: list[Any]
    blindspots: list[Any]
    consistency: list[ConsistencyRow]
    grouped: list[Any]
    """All reasoning models over all bases."""
    correction: list[Any]
    overrefusal: pl.DataFrame
    balance: pl.DataFrame
    defenses: list[Any]
    """Every defense beside the same model undefended; empty where there is no defense."""
    cost: pl.DataFrame
    corrected: pl.DataFrame
    replies: pl.DataFrame
    verdicts: pl.DataFrame
    detected: Sequence[str]
    """Models whose reasoning format was detected by reply."""
    not_applicable: pl.DataFrame
    scores: pl.DataFrame
    settings: Settings
    part: str
    """The part that is drawn: the whole reply, or what there is in its place."""
    lenient: float
    strict: float
    """The thresholds of the judge that is drawn; equal where it has one."""
    simulated: frozenset[str]
    """Models that are simulated."""

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Reasoning models with their bases."""
        return list(dict.fromkeys((row.model, row.base) for row in self.tax))

    @property
    def models(self) -> list[str]:
        """All models: each base before the reasoning models that came from it, then the rest."""
        family = [name for base in self.bases for name in (base, *self._children(base))]
        return list(dict.fromkeys([*family, *(row.model for row in self.asr)]))

    @property
    def bases(self) -> list[str]:
        """Models that others came from."""
        return list(dict.fromkeys(base for _, base in self.pairs))

    @property
    def reasoners(self) -> list[str]:
        """Models that are compared with a base."""
        return list(dict.fromkeys(model for model, _ in self.pairs))

    def shown(self, model: str) -> str:
        """Return what a page calls a model: simulated ones say so wherever they stand."""
        return model + (SIMULATED if model in self.simulated else "")

    def _children(self, base: str) -> list[str]:
        return [model for model, of in self.pairs if of == base]


def findings(
    frame: pl.DataFrame,
    pairs: pl.DataFrame,
    not_applicable: pl.DataFrame,
    calibrations: pl.DataFrame,
    detected: Sequence[str] = (),
) -> Findings:
    """Compute every result that a page shows from the tidy frame.

    ``detected`` are the models whose reasoning format was detected.
    """
    results = {
        "asr": asr(frame),
        "by_scenario": asr(frame, by="scenario"),
        "tax": tax(frame, pairs),
        "blindspots": blindspots(frame, pairs),
        "correction": correction(frame),
        "defenses": defense_effects(frame),
    }
    models, bases = (sorted(set(results["tax"][name])) for name in ("model", "base"))
    results["grouped"] = grouped(frame, models, bases)
    rates = _rows(results["asr"])
    settings = settings_of(rates, MAX_SETTINGS)
    drawn = [row for row in rates if row in settings]
    return Findings(
        results=results,
        **{name: _rows(rows) for name, rows in results.items()},
        consistency=consistency(results["blindspots"]),
        overrefusal=overrefusal(frame),
        balance=balance(frame),
        cost=cost(frame),
        corrected=corrected_asr(frame, calibrations),
        replies=reply_outcomes(frame),
        verdicts=verdict_outcomes(frame),
        detected=detected,
        not_applicable=not_applicable,
        scores=scores(frame),
        settings=settings,
        part=_part(drawn),
        lenient=min((row.threshold for row in drawn), default=0),
        strict=max((row.threshold for row in drawn), default=0),
        simulated=frozenset(row.model for row in rates if row.simulated),
    )


def _rows(frame: pl.DataFrame) -> list[Any]:
    return [SimpleNamespace(**row) for row in frame.iter_rows(named=True)]


def frame_of(rows: Sequence[Any]) -> pl.DataFrame:
    """Return rows as the frame that tables are made of."""
    return pl.DataFrame([vars(row) for row in rows], infer_schema_length=None)


def is_defended(row: Any) -> bool:
    """Tell whether a rate is of a model under a defense."""
    return bool(row.defense != UNDEFENDED)


def _part(rows: list[Any]) -> str:
    """Return the part with the most scores; the whole reply where it has as many as another."""
    scored = {
        part.value: sum(row.scored for row in rows if row.part == part.value)
        for part in (Part.FULL, Part.ANSWER, Part.REASONING)
    }
    return max(scored, key=scored.__getitem__)
