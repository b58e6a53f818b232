"""Everything that a page shows, computed from a store when it is asked for, and once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, cast

import polars as pl

from opensafemlrm.analysis.alarms import sent_otherwise
from opensafemlrm.analysis.blindspots import consistency
from opensafemlrm.analysis.clustered_counts import texts
from opensafemlrm.analysis.conditions import THRESHOLDS
from opensafemlrm.analysis.correction import with_noise_floor
from opensafemlrm.analysis.defense import UNDEFENDED
from opensafemlrm.analysis.tax import Mean
from opensafemlrm.datasets.canary import Canary
from opensafemlrm.models.demo.organism import Organism
from opensafemlrm.reading import By, Reading
from opensafemlrm.report.notes import finished
from opensafemlrm.report.settings import KEYS, main_judge, marked, settings_of
from opensafemlrm.report.tables import SIMULATED, Table
from opensafemlrm.selection import ALL_ROWS, RowChoice, Selection, place, plain_name
from opensafemlrm.store.named import named_cells, read_table
from opensafemlrm.store.source import Source
from opensafemlrm.types import Part

MAX_SETTINGS: Final = 6
"""Settings that are drawn; a page of more would not be read. The tables have all of them."""


def _result(compute: Callable[..., pl.DataFrame], **options: Any) -> cached_property[pl.DataFrame]:
    """Return a property that is computed once, of the rows that are chosen."""
    return cached_property(lambda self: self.rows.choose(compute(self.results, **options)))


@dataclass(frozen=True, eq=False)
class Findings:
    """The tables of results, each computed when it is first asked for, and what a page draws.

    Raises StoreError where they cannot be read, UnknownNameError where they have no component of a
    name that is chosen, OptionError where no judge has the threshold of ``rows``.
    """

    results: Reading
    rows: RowChoice = ALL_ROWS
    """Which rows of its tables there are. With no mean of the tax both are; micro is drawn."""

    def __post_init__(self) -> None:
        # A page needs nearly all of the columns: they are read together.
        frame = self.results.frame()
        self.rows.check_threshold([frame.select(threshold=name) for name in THRESHOLDS])

    # Each result by the name of its analysis.
    asr = _result(Reading.asr)
    by_scenario = _result(Reading.asr, by="scenario")
    averages = cached_property(lambda self: self.tax.filter(level=self.rows.mean or "micro"))
    """The tax by the mean that is drawn."""
    blindspots = _result(Reading.blindspots)
    consistency = cached_property(lambda self: consistency(self.blindspots))
    balance = _result(Reading.balance)
    defenses = _result(Reading.defense)
    """Every defense beside the same model undefended."""
    cost = _result(Reading.cost)
    comprehension = _result(Reading.comprehension)
    comprehension_tax = _result(Reading.comprehension_tax)
    corrected_tax = _result(Reading.calibrated_tax)
    replies = _result(Reading.coverage)
    verdicts = _result(Reading.verdict_coverage)
    scores = _result(Reading.scores)
    changes = _result(Reading.drift)
    """What changed in each series."""
    trend = _result(Reading.drift, by="version")
    """The versions of each series."""
    not_applicable = _result(Reading.not_applicable)
    stops = _result(Reading.stopping)
    tax = cached_property(lambda self: self._tax())
    overrefusal = cached_property(lambda self: self._overrefusal())
    correction = cached_property(lambda self: self._correction())
    """Reasoning beside answer; none where one part is chosen, as it is of two."""
    corrected = cached_property(lambda self: self._corrected())
    """Rates corrected by people's labels."""

    def by_files(self, name: str) -> pl.DataFrame:
        """Return a result as files have it: with a row for each scenario, where that is chosen."""
        if self.rows.by != "scenario":
            whole: pl.DataFrame = getattr(self, name)
            return whole
        return self.rows.choose(getattr(self, f"_{name}")("scenario"))

    def _tax(self, by: By = None) -> pl.DataFrame:
        return self.rows.choose(self.results.tax(by=by, mean=self.mean))

    def _overrefusal(self, by: By = None) -> pl.DataFrame:
        return self.rows.choose(self.results.over_refusal(by=by))

    def _correction(self, by: By = None) -> pl.DataFrame:
        rows = with_noise_floor(self.results.self_correction(by=by), self.results.calibrations())
        return self.rows.choose(rows if self.rows.part is None else rows.clear())

    def _corrected(self, by: By = None) -> pl.DataFrame:
        return self.rows.choose(self.results.calibrated(by=by))

    @property
    def has_defenses(self) -> bool:
        """Whether there is more than models without one."""
        return bool((self.asr["defense"] != UNDEFENDED).any())

    @property
    def detected(self) -> list[str]:
        """Models whose reasoning format was detected by reply."""
        return self.results.detected_formats()

    @property
    def mean(self) -> Mean | None:
        """The only mean of the tax that there is."""
        return cast("Mean | None", self.rows.mean)

    @cached_property
    def grouped(self) -> pl.DataFrame:
        """All reasoning models over all bases."""
        models, bases = (sorted(set(self.tax[name])) for name in ("model", "base"))
        return self.rows.choose(self.results.grouped(models, bases))

    @cached_property
    def organisms(self) -> frozenset[str]:
        """Models that are organisms: tiny, and trained by this project."""
        with self.results.opened() as source:
            return _organisms(source) & frozenset(self.models)

    @cached_property
    def alarms(self) -> Sequence[str]:
        """What makes the figures doubtful."""
        return self.results.alarms()

    @cached_property
    def sampling_notes(self) -> Mapping[str, str]:
        """What was not asked as the study says, by its name: a sentence each."""
        return sent_otherwise(self.results.requests())

    def finished(self, tables: Iterable[Table]) -> list[Table]:
        """Return tables with what stands below them, and their rows as they were asked for."""
        return finished(tables, self.sampling_notes, self.selection, self.rows)

    @property
    def selection(self) -> Selection:
        """What of the results it is about, by its labels."""
        return self.results.selection

    @property
    def place(self) -> str:
        """Where a sentence says that something is not."""
        return place(self.selection, self.rows)

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


def _organisms(source: Source) -> frozenset[str]:
    """Return which models of a store, as tables call them, are organisms."""
    identities = read_table(source, "components", "identity", model_id="key")
    models = named_cells(source).join(identities, on="model_id").select("model", "identity")
    return frozenset(
        model for model, known in models.iter_rows() if json.loads(known)["name"] == Organism.name
    )
