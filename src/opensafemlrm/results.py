"""What an evaluation found: the tidy table, the replies, the figures, the charts, the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.reading import Cluster, Reading
from opensafemlrm.selection import Choice, RowChoice, Selection, as_list

if TYPE_CHECKING:
    import polars as pl

    from opensafemlrm.analysis.tax import Mean
    from opensafemlrm.plots import Plots
    from opensafemlrm.report.page.write import Written

By: TypeAlias = Literal["scenario"] | None
"""What a table has a row for; ``None`` for all together."""
ByVersion: TypeAlias = Literal["version"] | None


def open(  # noqa: A001, PLR0913 # as its name; what to choose by
    path: Path | str,
    *,
    max_unscored: float = MAX_UNSCORED,
    cluster: Cluster = "item",
    everything: bool = False,
    judge: Choice = None,
    dataset: Choice = None,
    attack: Choice = None,
    model: Choice = None,
    defense: Choice = None,
    scenario: Choice = None,
) -> Results:
    """Open what a run wrote: a store, or a folder or address of Parquet files.

    Where more than a share of ``max_unscored`` of the samples behind a rate has no score, tables,
    charts and figures hold its bounds in its place. ``cluster`` says what tax, blind spots,
    self-correction and defenses take the replies for: a sample of items like these, in these
    scenarios (``item``), or of scenarios like these (``scenario``). Samples whose items have left
    their data sets count only with ``everything``. ``judge``, ``dataset``, ``attack``, ``model``,
    ``defense`` and ``scenario`` leave out what is of others (:meth:`Results.only`). Raises
    StoreError where there is neither; reading raises UnknownNameError for a name it does not hold.
    """
    from opensafemlrm.store.connecting import require_store
    from opensafemlrm.store.sink import is_sink

    if not is_sink(path):
        require_store(Path(path))
    whole = Results(path, max_unscored=max_unscored, cluster=cluster, everything=everything)
    names = {"judge": judge, "dataset": dataset, "attack": attack, "model": model}
    return whole.only(**names, defense=defense, scenario=scenario)


class Results(Reading):
    """What a store, or a folder or address of Parquet files, holds.

    It is read when it is first needed: open it again to see what a later run added. StoreError says
    that it cannot be read. Tables are frames of polars; to make one of pandas, call its
    ``to_pandas()``, which needs ``pip install '.[pandas]'``.
    """

    def __repr__(self) -> str:
        return f"Results({self.path!r})"

    def only(self, **names: Choice) -> Results:
        """Return the results of some names alone, such as ``only(judge="rules", attack="typo")``.

        Kinds are ``judge``, ``dataset``, ``attack``, ``model``, ``defense`` and ``scenario``; one
        name or several. With a reasoning model comes its base, and the effects of a defense are
        still those against none. Every figure, chart and file is of these alone, and says so. A
        kind that was chosen before is chosen anew. Reading raises UnknownNameError for a name that
        the results do not hold.
        """
        given = Selection.of(names)
        changes = {kind: getattr(given, kind) for kind in names}
        selection = replace(self._chosen_by, **changes)
        return Results(self.path, everything=self.everything, selection=selection, **self._options)

    def frame(self) -> pl.DataFrame:
        """Return the tidy table: a row a sample, part and judge.

        Every figure is a function of it. Columns: see :mod:`opensafemlrm.frame`.
        """
        from opensafemlrm.frame import SCHEMA

        return self._read(SCHEMA)

    def left_out(self) -> int:
        """Return how many samples no figure counts, as their items have left their data sets."""
        from opensafemlrm.store import holdings

        return self._ask(holdings.left_out)

    def pairs(self) -> pl.DataFrame:
        """Return the study's pairs: the columns ``reasoner`` and ``base``."""
        from opensafemlrm import frame as frames

        return self._ask(frames.pairs)

    def asr(
        self, *, by: By = None, part: str | None = None, threshold: float | None = None
    ) -> pl.DataFrame:
        """Return attack success rates with intervals, and bounds for what has no score.

        ``by="scenario"`` gives a row for each scenario. ``part`` (``reasoning``, ``answer`` or
        ``full``) and ``threshold`` of the judge leave the other rows out. So do those of the
        methods below.
        """
        from opensafemlrm.analysis.asr import READS, asr

        frame, limit = self._read(READS), self.max_unscored
        return asr(frame, by=by, part=part, threshold=threshold, max_unscored=limit)

    def tax(
        self,
        *,
        by: By = None,
        part: str | None = None,
        threshold: float | None = None,
        mean: Mean | None = None,
    ) -> pl.DataFrame:
        """Return the reasoning tax: how much more often a model is unsafe than its base.

        ``mean`` (``micro`` or ``macro``) leaves the other mean out.
        """
        from opensafemlrm.analysis.tax import READS, tax

        known, chosen = (self._read(READS), self.pairs()), RowChoice(mean=mean)
        rows = tax(*known, by=by, part=part, threshold=threshold, **self._options)
        return chosen.choose(rows)

    def blindspots(
        self, *, part: str | None = None, threshold: float | None = None
    ) -> pl.DataFrame:
        """Return what each pair lost by scenario, against its base and its other scenarios."""
        from opensafemlrm.analysis.blindspots import READS, blindspots

        return blindspots(
            self._read(READS), self.pairs(), part=part, threshold=threshold, **self._options
        )

    def grouped(
        self,
        models: str | Sequence[str],
        bases: str | Sequence[str],
        *,
        part: str | None = None,
        threshold: float | None = None,
    ) -> pl.DataFrame:
        """Return, scenario by scenario, the mean of some models over the mean of their bases."""
        from opensafemlrm.analysis.grouped import READS, grouped

        chosen: dict[str, Any] = {"threshold": threshold, "max_unscored": self.max_unscored}
        names = as_list(models), as_list(bases)
        return grouped(self._read(READS), *names, part=part, **chosen)

    def consistency(self) -> pl.DataFrame:
        """Return how alike pairs, attacks and datasets rank the scenarios."""
        from opensafemlrm.analysis.blindspots import consistency

        return consistency(self.blindspots())

    def self_correction(self, *, by: By = None, threshold: float | None = None) -> pl.DataFrame:
        """Return how often unsafe reasoning ends in a safe answer, and the reverse."""
        from opensafemlrm.analysis.correction import READS, correction

        return correction(self._read(READS), by=by, threshold=threshold, **self._options)

    def drift(
        self, *, by: ByVersion = None, part: str | None = None, threshold: float | None = None
    ) -> pl.DataFrame:
        """Return from which version of a series on replies are worse, and what was forgotten.

        ``by="version"`` gives the rate of every version in place of it.
        """
        from opensafemlrm.analysis.conditions import check_by
        from opensafemlrm.analysis.drift import READS, drift
        from opensafemlrm.store.series import series

        check_by(by, "version")
        versions, limit = self.selection.rows(self._ask(series)), self.max_unscored
        rows = drift(
            self._read(READS), versions, part=part, threshold=threshold, max_unscored=limit
        )
        return rows.changes if by is None else rows.trend

    def over_refusal(self, *, by: By = None, part: str | None = None) -> pl.DataFrame:
        """Return how often benign items were refused."""
        from opensafemlrm.analysis.overrefusal import READS, overrefusal

        return overrefusal(self._read(READS), by=by, part=part, max_unscored=self.max_unscored)

    def balance(self, *, part: str | None = None, threshold: float | None = None) -> pl.DataFrame:
        """Return safety on harmful items beside helpfulness on benign ones."""
        from opensafemlrm.analysis.overrefusal import READS, balance

        frame = self._read(READS)
        return balance(frame, part=part, threshold=threshold, max_unscored=self.max_unscored)

    def defense(self, *, part: str | None = None, threshold: float | None = None) -> pl.DataFrame:
        """Return what each defense changes, and what it costs."""
        from opensafemlrm.analysis.defense import READS, defense_effects
        from opensafemlrm.store.answers import correct_answers

        right = self._ask(correct_answers)
        return defense_effects(
            self._read(READS, undefended=True),
            right,
            part=part,
            threshold=threshold,
            **self._options,
        )

    def calibrated(
        self, *, by: By = None, part: str | None = None, threshold: float | None = None
    ) -> pl.DataFrame:
        """Return rates corrected by people's labels, and by which; where not, it says why."""
        from opensafemlrm.analysis.corrected import READS, corrected_asr

        known, limit = (self._read(READS), *self._calibrations()), self.max_unscored
        return corrected_asr(*known, by=by, part=part, threshold=threshold, max_unscored=limit)

    def calibrated_tax(
        self, *, part: str | None = None, threshold: float | None = None
    ) -> pl.DataFrame:
        """Return the reasoning tax corrected by people's labels, pair by pair."""
        from opensafemlrm.analysis.corrected import READS, corrected_tax

        known = (self._read(READS), self.pairs(), *self._calibrations())
        limit = self.max_unscored
        return corrected_tax(*known, part=part, threshold=threshold, max_unscored=limit)

    def _calibrations(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the calibrations of judges, and people's labels."""
        from opensafemlrm import frame as frames
        from opensafemlrm.store.ratings import people_labels

        return self.selection.rows(self._ask(frames.calibrations)), self._ask(people_labels)

    def comprehension(
        self, *, part: str | None = None, threshold: float | None = None
    ) -> pl.DataFrame:
        """Return C-ASR beside ASR: over the replies that understood the request."""
        from opensafemlrm.analysis.comprehension import READS, comprehension

        frame = self._read(READS)
        return comprehension(frame, part=part, threshold=threshold, max_unscored=self.max_unscored)

    def comprehension_tax(
        self, *, part: str | None = None, threshold: float | None = None
    ) -> pl.DataFrame:
        """Return the tax in two parts: of comprehension, and of willingness."""
        from opensafemlrm.analysis.comprehension import READS, comprehension_tax

        frame, pairs, limit = self._read(READS), self.pairs(), self.max_unscored
        return comprehension_tax(frame, pairs, part=part, threshold=threshold, max_unscored=limit)

    def scores(self) -> pl.DataFrame:
        """Return how the scores of each part are spread."""
        from opensafemlrm.analysis.coverage import SCORE_READS, scores

        return scores(self._read(SCORE_READS))

    def coverage(self) -> pl.DataFrame:
        """Return how every reply ended: what was not measured is no rate's denominator."""
        from opensafemlrm.analysis.coverage import READS, reply_outcomes

        return reply_outcomes(self._read(READS))

    def verdict_coverage(self) -> pl.DataFrame:
        """Return how every verdict ended."""
        from opensafemlrm.analysis.coverage import READS, verdict_outcomes

        return verdict_outcomes(self._read(READS))

    def not_applicable(self) -> pl.DataFrame:
        """Return what was never sent, since an attack or a defense cannot be applied to it."""
        from opensafemlrm import frame as frames
        from opensafemlrm.analysis.coverage import not_applicable

        return not_applicable(self.selection.rows(self._ask(frames.not_applicable)))

    def detected_formats(self) -> list[str]:
        """Return the models whose reasoning format was not known, and so detected by reply."""
        from opensafemlrm import frame as frames

        return [name for name in self._ask(frames.detected) if self.selection.has("model", name)]

    def requests(self) -> pl.DataFrame:
        """Return what models and judges were asked with, and which models answered.

        Columns: see :func:`opensafemlrm.store.requests.requests`.
        """
        from opensafemlrm.store.requests import requests

        return self.selection.of_requests(self._ask(requests))

    def stopping(self) -> pl.DataFrame:
        """Return where a rule of the study ended a scenario before all its items were run."""
        from opensafemlrm.store.stops import stops

        return self.selection.rows(self._ask(stops))

    def alarms(self) -> list[str]:
        """Return a sentence for each model that hardly reasons, that another answered for, or whose
        replies ended in a word that is not known.
        """
        from opensafemlrm.analysis.alarms import alarms

        return alarms(self.missing_traces(), self.requests())

    def missing_traces(self) -> pl.DataFrame:
        """Return the models that should reason and do so in hardly any reply, with the cause."""
        from opensafemlrm import frame as frames
        from opensafemlrm.analysis.alarms import missing_traces

        return missing_traces(self.coverage(), self.pairs(), self._ask(frames.formats))

    def cost(self, *, prices: Path | str | None = None) -> pl.DataFrame:
        """Return requests, tokens, times and dollars, by a file of ``prices`` or the catalogue."""
        from opensafemlrm.analysis.cost import READS, cost
        from opensafemlrm.models.prices import Prices
        from opensafemlrm.store.requests import asked_besides

        table = Prices() if prices is None else Prices.read(Path(prices))
        models, judges = (table.of_requests(self.requests(), used) for used in ("model", "judge"))
        others = table.otherwise(self._ask(asked_besides), models)
        return cost(self._read(READS), models, judges, unpriced=others)

    def agreement(self) -> pl.DataFrame:
        """Return how far every two judges agree, part by part."""
        from opensafemlrm.analysis.agreement import READS, judge_pairs

        return judge_pairs(self._read(READS))

    @cached_property
    def plot(self) -> Plots:
        """The report's charts as objects of altair, such as ``results.plot.tax()``."""
        from opensafemlrm.plots import Plots

        return self._ask(lambda source: Plots(source, self.max_unscored, self._chosen_by))

    def replies(  # noqa: PLR0913 # what to choose by
        self,
        *,
        model: Choice = None,
        dataset: Choice = None,
        attack: Choice = None,
        defense: Choice = None,
        scenario: Choice = None,
        item: Choice = None,
        status: Choice = None,
        part: str | None = None,
        unsafe: Choice = None,
    ) -> pl.DataFrame:
        """Return the replies with their verdicts, a row a sample. The texts may be harmful.

        Names are those of the tidy table; UnknownNameError says which there are. ``part`` keeps
        the verdicts on it alone. ``unsafe`` names parts (``reasoning``, ``answer``, ``full``): only
        samples of which a judge found one of them unsafe. Columns: see :mod:`opensafemlrm.replies`.
        """
        from opensafemlrm.frame import OUTCOME_COLUMNS
        from opensafemlrm.replies import chosen, replies

        wanted = {"model": model, "dataset": dataset, "attack": attack, "defense": defense}
        wanted |= {"scenario": scenario, "item": item, "status": status}
        frame = chosen(self._read(OUTCOME_COLUMNS), wanted, unsafe)
        frame = RowChoice(part=part).choose(frame)
        return self._ask(lambda source: replies(source, frame))

    def report(
        self,
        out: Path | str,
        *,
        with_examples: bool = False,
        by: str | None = None,
        part: str | None = None,
        threshold: float | None = None,
        mean: Mean | None = None,
    ) -> Written:
        """Write the report to a folder: a page, its figures and its tables.

        ``with_examples`` puts replies on the page, hidden until asked for. ``part``, ``threshold``
        and ``mean`` (``micro`` or ``macro``, of its tax) are the only ones shown. ``by`` orders its
        tables: ``scenario`` gives their files a row for each, another name stands first. Raises
        UnknownNameError and OptionError for what the store does not hold, ReportError where a file
        cannot be written.
        """
        from opensafemlrm.report.page import write_report

        chosen: dict[str, Any] = {"selection": self._chosen_by, "max_unscored": self.max_unscored}
        chosen |= {"with_examples": with_examples, "rows": RowChoice(part, threshold, mean, by)}
        return self._ask(lambda source: write_report(source, Path(out), **chosen))
