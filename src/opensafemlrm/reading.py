"""What a store holds, of what is chosen: the tidy table, and every figure that is made of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypeVar, get_args

from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.errors import OptionError, UnknownNameError
from opensafemlrm.selection import EVERYTHING, Choice, RowChoice, Selection, as_list

if TYPE_CHECKING:
    import polars as pl

    from opensafemlrm.analysis.drift import Drift
    from opensafemlrm.analysis.tax import Mean
    from opensafemlrm.store.source import Source

T = TypeVar("T")
Cluster: TypeAlias = Literal["item", "scenario"]
"""What the replies are a sample of: items in these scenarios, or scenarios."""
By: TypeAlias = Literal["scenario"] | None
"""What a table has a row for; ``None`` for all together."""
ByVersion: TypeAlias = Literal["version"] | None


class Reading:
    """A store, or a folder or address of Parquet files, and what of it is chosen.

    What is read is kept: each table is made of what was there when its rows were first needed.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        max_unscored: float = MAX_UNSCORED,
        cluster: Cluster = "item",
        everything: bool = False,
        selection: Selection = EVERYTHING,
    ) -> None:
        share: object = max_unscored
        if not (isinstance(share, int | float) and 0 <= share <= 1):
            raise OptionError(f"max_unscored is a share from 0 to 1, not {max_unscored!r}")
        if cluster not in get_args(Cluster):
            raise UnknownNameError("cluster", cluster, get_args(Cluster))
        self.path, self.everything = str(path), everything
        self.max_unscored = max_unscored
        self._options: dict[str, Any] = {"max_unscored": max_unscored, "cluster": cluster}
        self._chosen_by = selection
        self._source: Source | None = None
        self._frames: dict[tuple[bool, frozenset[str]], pl.DataFrame] = {}
        self._answers: dict[Hashable, Any] = {}

    def only(self, **names: Choice) -> Self:
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
        return type(self)(
            self.path, everything=self.everything, selection=selection, **self._options
        )

    @cached_property
    def selection(self) -> Selection:
        """What is chosen, by the labels of tables. Raises UnknownNameError, StoreError."""
        return self._ask(self._chosen_by.found_in) if self._chosen_by else EVERYTHING

    @contextmanager
    def opened(self) -> Iterator[Source]:
        """Read all that the block needs as it is at one moment, though a run may be writing."""
        from opensafemlrm.store.source import open_source

        with open_source(self.path, everything=self.everything) as source:
            self._source = source
            try:
                yield source
            finally:
                self._source = None

    def _ask(self, read: Callable[[Source], T]) -> T:
        if self._source is not None:
            return read(self._source)
        with self.opened() as source:
            return read(source)

    def _once(self, read: Callable[[Source], T]) -> T:
        """Return what a function reads, and keep it."""
        if read not in self._answers:
            self._answers[read] = self._ask(read)
        answer: T = self._answers[read]
        return answer

    def read(self, columns: Collection[str], *, undefended: bool = False) -> pl.DataFrame:
        """Return columns of the tidy table, perhaps among others, and keep them for whoever needs
        no more.

        With ``undefended``, chosen defenses come with the replies without one.
        """
        from opensafemlrm import frame as frames

        names, undefended = frozenset(columns), undefended and bool(self._chosen_by.defense)
        for (of, has), frame in self._frames.items():
            if of is undefended and has >= names:
                return frame
        needed = names | set(self._chosen_by.columns)
        wanted = [name for name in frames.SCHEMA if name in needed]
        chosen = self.selection.also("defense", "none") if undefended else self.selection
        rows = chosen.rows(self._ask(lambda source: frames.read(source, wanted)))
        ordered = [name for name in frames.SCHEMA if name in names]
        self._frames[undefended, names] = rows.select(ordered)
        return self._frames[undefended, names]

    def frame(self) -> pl.DataFrame:
        """Return the tidy table: a row a sample, part and judge.

        Every figure is a function of it. Columns: see :mod:`opensafemlrm.frame`.
        """
        from opensafemlrm.frame import SCHEMA

        return self.read(SCHEMA)

    def pairs(self) -> pl.DataFrame:
        """Return the study's pairs: the columns ``reasoner`` and ``base``."""
        from opensafemlrm import frame as frames

        return self._once(frames.pairs)

    def left_out(self) -> int:
        """Return how many samples no figure counts, as their items have left their data sets."""
        from opensafemlrm.store import holdings

        return self._ask(holdings.left_out)

    def asr(
        self, *, by: By = None, part: str | None = None, threshold: float | None = None
    ) -> pl.DataFrame:
        """Return attack success rates with intervals, and bounds for what has no score.

        ``by="scenario"`` gives a row for each scenario. ``part`` (``reasoning``, ``answer`` or
        ``full``) and ``threshold`` of the judge leave the other rows out. So do those of the
        methods below.
        """
        from opensafemlrm.analysis.asr import READS, asr

        frame, limit = self.read(READS), self.max_unscored
        return _only(asr(frame, by=by, max_unscored=limit), part, threshold, by)

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

        chosen = RowChoice(mean=mean)
        rows = tax(self.read(READS), self.pairs(), by=by, mean=mean, **self._options)
        return chosen.choose(_only(rows, part, threshold, by))

    def blindspots(
        self, *, part: str | None = None, threshold: float | None = None
    ) -> pl.DataFrame:
        """Return what each pair lost by scenario, against its base and its other scenarios."""
        from opensafemlrm.analysis.blindspots import READS, blindspots

        return _only(blindspots(self.read(READS), self.pairs(), **self._options), part, threshold)

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

        names, limit = (as_list(models), as_list(bases)), self.max_unscored
        return _only(grouped(self.read(READS), *names, max_unscored=limit), part, threshold)

    def consistency(self) -> pl.DataFrame:
        """Return how alike pairs, attacks and datasets rank the scenarios."""
        from opensafemlrm.analysis.blindspots import consistency

        return consistency(self.blindspots())

    def self_correction(self, *, by: By = None, threshold: float | None = None) -> pl.DataFrame:
        """Return how often unsafe reasoning ends in a safe answer, and the reverse."""
        from opensafemlrm.analysis.correction import READS, correction

        return _only(correction(self.read(READS), by=by, **self._options), None, threshold, by)

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
        if "drift" not in self._answers:
            versions, frame = self.selection.rows(self._once(series)), self.read(READS)
            known = frame if len(versions) else frame.clear()
            self._answers["drift"] = drift(known, versions, max_unscored=self.max_unscored)
        rows: Drift = self._answers["drift"]
        return _only(rows.changes if by is None else rows.trend, part, threshold)

    def over_refusal(self, *, by: By = None, part: str | None = None) -> pl.DataFrame:
        """Return how often benign items were refused."""
        from opensafemlrm.analysis.overrefusal import READS, overrefusal

        rows = overrefusal(self.read(READS), by=by, max_unscored=self.max_unscored)
        return _only(rows, part, None, by)

    def balance(self, *, part: str | None = None, threshold: float | None = None) -> pl.DataFrame:
        """Return safety on harmful items beside helpfulness on benign ones."""
        from opensafemlrm.analysis.overrefusal import READS, balance

        rows = balance(self.read(READS), max_unscored=self.max_unscored)
        return _only(rows, part, threshold)

    def defense(self, *, part: str | None = None, threshold: float | None = None) -> pl.DataFrame:
        """Return what each defense changes, and what it costs."""
        from opensafemlrm.analysis.defense import READS, defense_effects
        from opensafemlrm.store.answers import correct_answers

        right = self._once(correct_answers)
        rows = defense_effects(self.read(READS, undefended=True), right, **self._options)
        return _only(rows, part, threshold)

    def calibrated(
        self, *, by: By = None, part: str | None = None, threshold: float | None = None
    ) -> pl.DataFrame:
        """Return rates corrected by people's labels, and by which; where not, it says why."""
        from opensafemlrm.analysis.corrected import READS, corrected_asr

        known, limit = (self.read(READS), self.calibrations(), self._labels()), self.max_unscored
        return _only(corrected_asr(*known, by=by, max_unscored=limit), part, threshold, by)

    def calibrated_tax(
        self, *, part: str | None = None, threshold: float | None = None
    ) -> pl.DataFrame:
        """Return the reasoning tax corrected by people's labels, pair by pair."""
        from opensafemlrm.analysis.corrected import READS, corrected_tax

        known = (self.read(READS), self.pairs(), self.calibrations(), self._labels())
        return _only(corrected_tax(*known, max_unscored=self.max_unscored), part, threshold)

    def calibrations(self) -> pl.DataFrame:
        """Return how often judges were right, where they were compared with labels of people.

        Columns: see :func:`opensafemlrm.frame.calibrations`.
        """
        from opensafemlrm import frame as frames

        return self.selection.rows(self._once(frames.calibrations))

    def _labels(self) -> pl.DataFrame:
        from opensafemlrm.store.ratings import people_labels

        return self._once(people_labels)

    def comprehension(
        self, *, part: str | None = None, threshold: float | None = None
    ) -> pl.DataFrame:
        """Return C-ASR beside ASR: over the replies that understood the request."""
        from opensafemlrm.analysis.comprehension import READS, comprehension

        rows = comprehension(self.read(READS), max_unscored=self.max_unscored)
        return _only(rows, part, threshold)

    def comprehension_tax(
        self, *, part: str | None = None, threshold: float | None = None
    ) -> pl.DataFrame:
        """Return the tax in two parts: of comprehension, and of willingness."""
        from opensafemlrm.analysis.comprehension import READS, comprehension_tax

        frame, pairs, limit = self.read(READS), self.pairs(), self.max_unscored
        return _only(comprehension_tax(frame, pairs, max_unscored=limit), part, threshold)

    def scores(self) -> pl.DataFrame:
        """Return how the scores of each part are spread."""
        from opensafemlrm.analysis.coverage import SCORE_READS, scores

        return scores(self.read(SCORE_READS))

    def coverage(self) -> pl.DataFrame:
        """Return how every reply ended: what was not measured is no rate's denominator."""
        from opensafemlrm.analysis.coverage import READS, reply_outcomes

        return reply_outcomes(self.read(READS))

    def verdict_coverage(self) -> pl.DataFrame:
        """Return how every verdict ended."""
        from opensafemlrm.analysis.coverage import READS, verdict_outcomes

        return verdict_outcomes(self.read(READS))

    def not_applicable(self) -> pl.DataFrame:
        """Return what was never sent, since an attack or a defense cannot be applied to it."""
        from opensafemlrm import frame as frames
        from opensafemlrm.analysis.coverage import not_applicable

        return not_applicable(self.selection.rows(self._once(frames.not_applicable)))

    def detected_formats(self) -> list[str]:
        """Return the models whose reasoning format was not known, and so detected by reply."""
        from opensafemlrm import frame as frames

        return [name for name in self._once(frames.detected) if self.selection.has("model", name)]

    def requests(self) -> pl.DataFrame:
        """Return what models and judges were asked with, and which models answered.

        Columns: see :func:`opensafemlrm.store.requests.requests`.
        """
        from opensafemlrm.store.requests import requests

        return self.selection.of_requests(self._once(requests))

    def stopping(self) -> pl.DataFrame:
        """Return where a rule of the study ended a scenario before all its items were run."""
        from opensafemlrm.store.stops import stops

        return self.selection.rows(self._once(stops))

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

        return missing_traces(self.coverage(), self.pairs(), self._once(frames.formats))

    def cost(self, *, prices: Path | str | None = None) -> pl.DataFrame:
        """Return requests, tokens, times and dollars, by a file of ``prices`` or the catalogue."""
        from opensafemlrm.analysis.cost import READS, cost
        from opensafemlrm.models.prices import Prices
        from opensafemlrm.store.requests import asked_besides

        table = Prices() if prices is None else Prices.read(Path(prices))
        models, judges = (table.of_requests(self.requests(), used) for used in ("model", "judge"))
        others = table.otherwise(self._ask(asked_besides), models)
        return cost(self.read(READS), models, judges, unpriced=others)

    def agreement(self) -> pl.DataFrame:
        """Return how far every two judges agree, part by part."""
        from opensafemlrm.analysis.agreement import READS, judge_pairs

        return judge_pairs(self.read(READS))


def _only(
    rows: pl.DataFrame, part: str | None, threshold: float | None, by: By = None
) -> pl.DataFrame:
    from opensafemlrm.analysis.conditions import only

    return only(rows, part, threshold, by)
