"""What an evaluation found: the tidy table, the replies, the figures, the charts, the report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import polars as pl

    from opensafemlrm.plots import Plots
    from opensafemlrm.report.page.write import Written
    from opensafemlrm.store import Store
    from opensafemlrm.store.sink_queries import SinkResults

By: TypeAlias = Literal["scenario"] | None
"""What a table has a row for; ``None`` for all together."""
Choice: TypeAlias = str | Sequence[str] | None
"""One name, several of them, or ``None`` for all."""


def open(path: Path | str) -> Results:  # noqa: A001 # as opensafemlrm.open
    """Open what a run wrote: a store, or a folder or address of Parquet files.

    Raises StoreError where there is neither.
    """
    from opensafemlrm.store.connecting import require_store
    from opensafemlrm.store.sink import is_sink

    if not is_sink(path):
        require_store(Path(path))
    return Results(path)


class Results:
    """What a store, or a folder or address of Parquet files, holds.

    It is read when it is first needed: open it again to see what a later run added. StoreError says
    that it cannot be read. Tables are frames of polars; to make one of pandas, call its
    ``to_pandas()``, which needs ``pip install 'opensafemlrm[pandas]'``.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)

    def __repr__(self) -> str:
        return f"Results({self.path!r})"

    def frame(self) -> pl.DataFrame:
        """Return the tidy table: a row a sample, part and judge.

        Every figure is a function of it. Columns: see :mod:`opensafemlrm.frame`.
        """
        return self._frame

    @cached_property
    def _frame(self) -> pl.DataFrame:
        from opensafemlrm import frame as frames

        with self._source() as source:
            return frames.read(source)

    def pairs(self) -> pl.DataFrame:
        """Return the study's pairs: the columns ``reasoner`` and ``base``."""
        from opensafemlrm import frame as frames

        with self._source() as source:
            return frames.pairs(source)

    # Figures. Rates are fractions, and differences of rates are too.

    def asr(
        self, *, by: By = None, part: str | None = None, threshold: float | None = None
    ) -> pl.DataFrame:
        """Return attack success rates with intervals, and bounds for what has no score.

        ``by="scenario"`` gives a row for each scenario. ``part`` (``reasoning``, ``answer`` or
        ``full``) and ``threshold`` of the judge leave the other rows out. So do those of the
        methods below.
        """
        from opensafemlrm.analysis.asr import asr

        return asr(self._frame, by=by, part=part, threshold=threshold)

    def tax(
        self, *, by: By = None, part: str | None = None, threshold: float | None = None
    ) -> pl.DataFrame:
        """Return the reasoning tax: how much more often a model is unsafe than its base."""
        from opensafemlrm.analysis.tax import tax

        return tax(self._frame, self.pairs(), by=by, part=part, threshold=threshold)

    def blindspots(
        self, *, part: str | None = None, threshold: float | None = None
    ) -> pl.DataFrame:
        """Return what each pair lost by scenario, against its base and its other scenarios."""
        from opensafemlrm.analysis.blindspots import blindspots

        return blindspots(self._frame, self.pairs(), part=part, threshold=threshold)

    def grouped(
        self,
        models: Sequence[str],
        bases: Sequence[str],
        *,
        part: str | None = None,
        threshold: float | None = None,
    ) -> pl.DataFrame:
        """Return, scenario by scenario, the mean of some models over the mean of their bases."""
        from opensafemlrm.analysis.grouped import grouped

        return grouped(self._frame, models, bases, part=part, threshold=threshold)

    def consistency(self) -> pl.DataFrame:
        """Return how alike pairs, attacks and datasets rank the scenarios."""
        import polars as pl

        from opensafemlrm.analysis.consistency import consistency

        return pl.DataFrame(consistency(self.blindspots()), infer_schema_length=None)

    def self_correction(self, *, by: By = None, threshold: float | None = None) -> pl.DataFrame:
        """Return how often unsafe reasoning ends in a safe answer, and safe reasoning in an unsafe
        one."""
        from opensafemlrm.analysis.correction import correction

        return correction(self._frame, by=by, threshold=threshold)

    def over_refusal(self, *, by: By = None, part: str | None = None) -> pl.DataFrame:
        """Return how often benign items were refused."""
        from opensafemlrm.analysis.overrefusal import overrefusal

        return overrefusal(self._frame, by=by, part=part)

    def balance(self, *, part: str | None = None, threshold: float | None = None) -> pl.DataFrame:
        """Return safety on harmful items beside helpfulness on benign ones."""
        from opensafemlrm.analysis.overrefusal import balance

        return balance(self._frame, part=part, threshold=threshold)

    def defense(self, *, part: str | None = None, threshold: float | None = None) -> pl.DataFrame:
        """Return what each defense changes, and what it costs."""
        from opensafemlrm.analysis.defense import defense_effects

        return defense_effects(self._frame, part=part, threshold=threshold)

    def calibrated(
        self, *, by: By = None, part: str | None = None, threshold: float | None = None
    ) -> pl.DataFrame:
        """Return rates corrected by the judge's measured errors, where it was calibrated."""
        from opensafemlrm import frame as frames
        from opensafemlrm.analysis.corrected import corrected_asr

        with self._source() as source:
            known = frames.calibrations(source)
        return corrected_asr(self._frame, known, by=by, part=part, threshold=threshold)

    def scores(self) -> pl.DataFrame:
        """Return how the scores of each part are spread."""
        from opensafemlrm.analysis.scores import scores

        return scores(self._frame)

    def coverage(self) -> pl.DataFrame:
        """Return how every reply ended: what was not measured is no rate's denominator."""
        from opensafemlrm.analysis.coverage import reply_outcomes

        return reply_outcomes(self._frame)

    def verdict_coverage(self) -> pl.DataFrame:
        """Return how every verdict ended."""
        from opensafemlrm.analysis.coverage import verdict_outcomes

        return verdict_outcomes(self._frame)

    def not_applicable(self) -> pl.DataFrame:
        """Return what was never sent, since an attack or a defense cannot be applied to it."""
        from opensafemlrm import frame as frames
        from opensafemlrm.analysis.coverage import not_applicable

        with self._source() as source:
            return not_applicable(frames.not_sent(source))

    def detected_formats(self) -> list[str]:
        """Return the models whose reasoning format was not known, and so detected by reply."""
        from opensafemlrm import frame as frames

        with self._source() as source:
            return frames.detected(source)

    def cost(self) -> pl.DataFrame:
        """Return requests, tokens and times."""
        from opensafemlrm.analysis.cost import cost

        return cost(self._frame)

    def agreement(self) -> pl.DataFrame:
        """Return how far every two judges agree, part by part."""
        from opensafemlrm.analysis.raters import judge_pairs

        return judge_pairs(self._frame)

    # Texts, charts and the report.

    @cached_property
    def plot(self) -> Plots:
        """The report's charts as objects of altair, such as ``results.plot.tax()``."""
        from opensafemlrm.plots import Plots

        with self._store() as store:
            return Plots(store)

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
        unsafe: Choice = None,
    ) -> pl.DataFrame:
        """Return the replies with their verdicts, a row a sample. The texts may be harmful.

        Names are those of the tidy table. ``unsafe`` names parts (``reasoning``, ``answer``,
        ``full``): only samples of which a judge found one of them unsafe. Columns: see
        :mod:`opensafemlrm.replies`.
        """
        from opensafemlrm.replies import replies

        chosen = {
            "model": model,
            "dataset": dataset,
            "attack": attack,
            "defense": defense,
            "scenario": scenario,
            "item": item,
            "status": status,
        }
        frame = self._frame
        with self._store() as store:
            for column, names in chosen.items():
                if names is not None:
                    frame = frame.filter(frame[column].is_in(_as_list(names)))
            if unsafe is not None:
                of_part = frame["part"].is_in(_as_list(unsafe)) & (frame["label"] == "unsafe")
                frame = frame.filter(frame["sample"].is_in(frame["sample"].filter(of_part)))
            return replies(store, frame)

    def report(self, out: Path | str, *, with_examples: bool = False) -> Written:
        """Write the report to a folder: a page, its figures and its tables.

        ``with_examples`` puts replies on the page, hidden until asked for. Raises ReportError where
        the files cannot be written.
        """
        from opensafemlrm.report.page import write_report

        with self._store() as store:
            return write_report(store, Path(out), with_examples=with_examples)

    @contextlib.contextmanager
    def _source(self) -> Iterator[Store | SinkResults]:
        """Open what the tidy table is read from."""
        from opensafemlrm.store.sink import is_sink

        if is_sink(self.path):
            from opensafemlrm.store.sink_queries import SinkResults

            yield SinkResults(self.path)
        else:
            from opensafemlrm.store import Store

            with Store.open(self.path) as store:
                yield store

    @contextlib.contextmanager
    def _store(self) -> Iterator[Store]:
        """Open the store to read it; Parquet files are brought into a temporary one first."""
        from opensafemlrm.store.sink_reader import opened

        with opened(self.path) as store:
            yield store


def _as_list(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
