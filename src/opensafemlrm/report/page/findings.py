"""Everything that a page shows, computed from a store when it is asked for, and once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias, cast

import polars as pl

from opensafemlrm import frame as frames
from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.analysis.alarms import alarms, missing_traces, sent_otherwise
from opensafemlrm.analysis.asr import asr
from opensafemlrm.analysis.blindspots import blindspots, consistency
from opensafemlrm.analysis.clustered_counts import texts
from opensafemlrm.analysis.comprehension import comprehension, comprehension_tax
from opensafemlrm.analysis.conditions import THRESHOLDS
from opensafemlrm.analysis.corrected import corrected_asr, corrected_tax
from opensafemlrm.analysis.correction import correction, with_noise_floor
from opensafemlrm.analysis.cost import cost
from opensafemlrm.analysis.coverage import not_applicable, reply_outcomes, scores, verdict_outcomes
from opensafemlrm.analysis.defense import UNDEFENDED, defense_effects
from opensafemlrm.analysis.drift import Drift, drift
from opensafemlrm.analysis.grouped import grouped
from opensafemlrm.analysis.overrefusal import balance, overrefusal
from opensafemlrm.analysis.tax import Mean, tax
from opensafemlrm.datasets.canary import Canary
from opensafemlrm.models.demo.organism import Organism
from opensafemlrm.report.notes import finished
from opensafemlrm.report.settings import KEYS, main_judge, marked, settings_of
from opensafemlrm.report.tables import SIMULATED, Table
from opensafemlrm.selection import ALL_ROWS, EVERYTHING, RowChoice, Selection, place, plain_name
from opensafemlrm.store.answers import correct_answers
from opensafemlrm.store.named import read_table
from opensafemlrm.store.ratings import people_labels
from opensafemlrm.store.requests import SCHEMA as REQUESTS
from opensafemlrm.store.requests import requests
from opensafemlrm.store.series import SERIES, series
from opensafemlrm.store.source import Source
from opensafemlrm.store.stops import COLUMNS as STOPS
from opensafemlrm.store.stops import stops
from opensafemlrm.types import Part

MAX_SETTINGS: Final = 6
"""Settings that are drawn; a page of more would not be read. The tables have all of them."""


By: TypeAlias = Literal["scenario"] | None


def _result(compute: Callable[[Any], pl.DataFrame]) -> cached_property[pl.DataFrame]:
    """Return a property that is computed once, of the rows that are chosen."""
    return cached_property(lambda self: self.rows.choose(compute(self)))


@dataclass(frozen=True, eq=False)
class Findings:
    """The results of a store, each computed when it is first asked for, and what a page draws."""

    frame: pl.DataFrame = field(repr=False)
    """The tidy table."""
    pairs: pl.DataFrame
    not_applicable: pl.DataFrame
    calibrations: pl.DataFrame
    labels: pl.DataFrame | None = None
    """What people say of replies."""
    correct: pl.DataFrame | None = None
    """Which replies to items of accuracy sets are right."""
    formats: Sequence[tuple[str, str]] = ()
    """Models with the reasoning formats their replies were parsed by."""
    max_unscored: float = MAX_UNSCORED
    """The share without a score from which bounds stand in a rate's place."""
    requests: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REQUESTS))
    """What was asked for, and who answered."""
    stops: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=list(STOPS)))
    """Where a rule ended the run."""
    series: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SERIES))
    """Versions of models in their order."""
    selection: Selection = EVERYTHING
    """What of the store it is about, by its labels."""
    organisms: frozenset[str] = frozenset()
    """Models that are organisms: tiny, and trained by this project."""
    rows: RowChoice = ALL_ROWS
    """Which rows of its tables there are. With no mean of the tax both are; micro is drawn."""
    undefended: pl.DataFrame | None = field(default=None, repr=False)
    """The tidy table with replies without a defense, where defenses are chosen and it has none."""

    # Each result by the name of its analysis.
    asr = _result(lambda self: asr(self.frame, max_unscored=self.max_unscored))
    by_scenario = _result(
        lambda self: asr(self.frame, by="scenario", max_unscored=self.max_unscored)
    )
    tax = _result(lambda self: self._tax())
    averages = cached_property(lambda self: self.tax.filter(level=self.rows.mean or "micro"))
    """The tax by the mean that is drawn."""
    blindspots = _result(
        lambda self: blindspots(self.frame, self.pairs, max_unscored=self.max_unscored)
    )
    consistency = cached_property(lambda self: consistency(self.blindspots))
    overrefusal = _result(lambda self: self._overrefusal())
    balance = _result(lambda self: balance(self.frame, max_unscored=self.max_unscored))
    cost = _result(lambda self: cost(self.frame))
    comprehension = _result(lambda self: comprehension(self.frame, max_unscored=self.max_unscored))
    comprehension_tax = _result(
        lambda self: comprehension_tax(self.frame, self.pairs, max_unscored=self.max_unscored)
    )
    replies = _result(lambda self: reply_outcomes(self.frame))
    verdicts = _result(lambda self: verdict_outcomes(self.frame))
    scores = _result(lambda self: scores(self.frame))
    correction = _result(lambda self: self._correction())
    """Reasoning beside answer; none where one part is chosen, as it is of two."""
    corrected = _result(lambda self: self._corrected())
    """Rates corrected by people's labels."""

    def by_files(self, name: str) -> pl.DataFrame:
        """Return a result as files have it: with a row for each scenario, where that is chosen."""
        if self.rows.by != "scenario":
            whole: pl.DataFrame = getattr(self, name)
            return whole
        return self.rows.choose(getattr(self, f"_{name}")("scenario"))

    def _tax(self, by: By = None) -> pl.DataFrame:
        limit = self.max_unscored
        return tax(self.frame, self.pairs, by=by, mean=self.mean, max_unscored=limit)

    def _overrefusal(self, by: By = None) -> pl.DataFrame:
        return overrefusal(self.frame, by=by, max_unscored=self.max_unscored)

    def _correction(self, by: By = None) -> pl.DataFrame:
        frame = self.frame if self.rows.part is None else self.frame.clear()
        rows = correction(frame, by=by, max_unscored=self.max_unscored)
        return with_noise_floor(rows, self.calibrations)

    def _corrected(self, by: By = None) -> pl.DataFrame:
        known = (self.frame, self.calibrations, self.labels)
        return corrected_asr(*known, by=by, max_unscored=self.max_unscored)

    @property
    def mean(self) -> Mean | None:
        """The only mean of the tax that there is."""
        return cast("Mean | None", self.rows.mean)

    @cached_property
    def grouped(self) -> pl.DataFrame:
        """All reasoning models over all bases."""
        models, bases = (sorted(set(self.tax[name])) for name in ("model", "base"))
        rows = grouped(self.frame, models, bases, max_unscored=self.max_unscored)
        return self.rows.choose(rows)

    @cached_property
    def drift(self) -> Drift:
        """The versions of each series, and what changed."""
        series = self.series
        frame = self.frame if len(series) else self.frame.clear()
        whole = drift(frame, series, max_unscored=self.max_unscored)
        return Drift(self.rows.choose(whole.trend), self.rows.choose(whole.changes))

    @cached_property
    def defenses(self) -> pl.DataFrame:
        """Every defense beside the same model undefended; empty where there is no defense."""
        is_defended = (self.asr["defense"] != UNDEFENDED).any()
        whole = self.frame if self.undefended is None else self.undefended
        frame = whole if is_defended else whole.clear()
        rows = defense_effects(frame, self.correct, max_unscored=self.max_unscored)
        return self.rows.choose(rows)

    @cached_property
    def corrected_tax(self) -> pl.DataFrame:
        """The tax corrected by them."""
        known = (self.pairs, self.calibrations, self.labels)
        rows = corrected_tax(self.frame, *known, max_unscored=self.max_unscored)
        return self.rows.choose(rows)

    @cached_property
    def alarms(self) -> Sequence[str]:
        """What makes the figures doubtful, as :meth:`opensafemlrm.Results.alarms` has it."""
        hardly_reason = missing_traces(self.replies, self.pairs, self.formats)
        return alarms(hardly_reason, self.requests)

    @cached_property
    def sampling_notes(self) -> Mapping[str, str]:
        """What was not asked as the study says, by its name: a sentence each."""
        return sent_otherwise(self.requests)

    def finished(self, tables: Iterable[Table]) -> list[Table]:
        """Return tables with what stands below them, and their rows as they were asked for."""
        return finished(tables, self.sampling_notes, self.selection, self.rows)

    @property
    def place(self) -> str:
        """Where a sentence says that something is not."""
        return place(self.selection, self.rows)

    @property
    def detected(self) -> list[str]:
        """Models whose reasoning format was detected by reply."""
        return [model for model, form in self.formats if form == "auto"]

    @cached_property
    def judge(self) -> str | None:
        """The judge whose verdicts are drawn: the one with the most scores."""
        return main_judge(self.asr)

    @cached_property
    def settings(self) -> pl.DataFrame:
        """All settings of that judge, by name; the first few of them are drawn."""
        return settings_of(self.asr if self.judge is None else self.asr.filter(judge=self.judge))

    @cached_property
    def _in_settings(self) -> pl.DataFrame:
        return self.asr.join(self.settings.head(MAX_SETTINGS), on=KEYS, how="semi")

    @cached_property
    def part(self) -> str:
        """The part that is drawn: the one with the most scores, the whole reply before others."""
        if self.rows.part is not None:
            return str(self.rows.part)
        parts = (Part.FULL.value, Part.ANSWER.value, Part.REASONING.value)
        return max(parts, key=lambda part: self._in_settings.filter(part=part)["scored"].sum())

    @property
    def lenient(self) -> float:
        """The lower threshold of the judge that is drawn."""
        return float(min(self._in_settings["threshold"].to_list(), default=0.0))

    @property
    def strict(self) -> float:
        """The higher threshold; the same where the judge has one."""
        return float(max(self._in_settings["threshold"].to_list(), default=0.0))

    @cached_property
    def simulated(self) -> frozenset[str]:
        """Models that are simulated."""
        return frozenset(self.asr.filter("simulated")["model"])

    @cached_property
    def is_harmless(self) -> bool:
        """Whether all of it is of the bundled benchmark, which asks nothing harmful."""
        datasets = self.asr["dataset"].unique().to_list()
        return bool(datasets) and {plain_name(dataset) for dataset in datasets} == {Canary.name}

    @property
    def role(self) -> pl.Expr:
        """The colour of the column ``model``: of reasoning models, of bases, of others."""
        reasoners, bases = (self.tax[name].unique().implode() for name in ("model", "base"))
        as_reasoner = pl.when(pl.col("model").is_in(reasoners)).then(pl.lit("reasoner"))
        return (
            as_reasoner.when(pl.col("model").is_in(bases))
            .then(pl.lit("base"))
            .otherwise(pl.lit("ink"))
        )

    @cached_property
    def models(self) -> tuple[str, ...]:
        """All models: each base before the reasoning models that came from it, then the rest."""
        return _by_family(self.tax, self.asr["model"].unique(maintain_order=True).to_list())

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
    def parts(self) -> list[str]:
        """The part that is drawn, and the answer beside it: a base has nothing but an answer."""
        return [self.part] if self.rows.part else [*dict.fromkeys([self.part, Part.ANSWER.value])]

    def of_parts(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the drawn rows of these parts at the lenient threshold, the drawn part first."""
        drawn = [self.drawn(rows, part=part, threshold=self.lenient) for part in self.parts]
        return pl.concat(drawn, how="vertical")

    @property
    def compared_parts(self) -> pl.DataFrame:
        """As ``compared``, of the part that is drawn and of the answer."""
        return self.of_parts(self.averages).drop_nulls("difference")

    @property
    def compared(self) -> pl.DataFrame:
        """The tax of every pair and setting that is drawn, scenarios together, as measured."""
        return self.headline(self.averages).drop_nulls("difference")

    @property
    def withheld(self) -> pl.DataFrame:
        """The comparisons of ``compared``'s kind of which only bounds are shown."""
        return self.headline(self.averages).drop_nulls("withheld")

    def label(self, model: str) -> str:
        """Return what a page calls a model: simulated ones say so wherever they stand."""
        return model + (SIMULATED if model in self.simulated else "")


def _by_family(taxes: pl.DataFrame, models: Sequence[str]) -> tuple[str, ...]:
    pairs = taxes.select("model", "base").unique(maintain_order=True).rows()
    families = {base: [model for model, of in pairs if of == base] for _, base in pairs}
    in_order = [name for base, own in families.items() for name in (base, *own)]
    return tuple(dict.fromkeys([*in_order, *models]))


def read_findings(
    source: Source,
    max_unscored: float = MAX_UNSCORED,
    selection: Selection = EVERYTHING,
    rows: RowChoice = ALL_ROWS,
) -> Findings:
    """Read what a page is made of.

    Raises StoreError where the store cannot be read, UnknownNameError where it has no component of
    a name in ``selection``, OptionError where no judge has the threshold of ``rows``.
    """
    frame, pairs, unsent = frames.read(source), frames.pairs(source), frames.not_applicable(source)
    chosen = selection.of_frame(frame, pairs, unsent)
    own = chosen.rows(frame)
    rows.check_threshold([own.select(threshold=name) for name in THRESHOLDS])
    return Findings(
        own,
        pairs,
        not_applicable(chosen.rows(unsent)),
        chosen.rows(frames.calibrations(source)),
        people_labels(source),
        correct_answers(source),
        [(model, form) for model, form in frames.formats(source) if chosen.has("model", model)],
        max_unscored,
        chosen.of_requests(requests(source)),
        chosen.rows(stops(source)),
        chosen.rows(series(source)),
        chosen,
        _organisms(source, frame),
        rows,
        chosen.also("defense", UNDEFENDED).rows(frame) if chosen.defense else None,
    )


def _organisms(source: Source, frame: pl.DataFrame) -> frozenset[str]:
    """Return which models of the tidy table are organisms."""
    components = read_table(source, "components", "kind", "identity", id="key")
    keys = [
        key.hex().upper()
        for key, identity in components.filter(kind="model").select("id", "identity").iter_rows()
        if json.loads(identity).get("name") == Organism.name
    ]
    models = frame.filter(pl.col("model_key").cast(pl.String).is_in(keys))["model"]
    return frozenset(models.cast(pl.String).unique())
