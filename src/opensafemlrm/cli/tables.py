"""``safemlrm table`` and ``safemlrm drift``: figures of a store, and why there are none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import say
from opensafemlrm.cli._filters import ALL, ROWS, Chosen, choosing
from opensafemlrm.cli._output import (
    Everything,
    FormatOption,
    MaxUnscored,
    PricesOption,
    show,
    tell_left_out,
)
from opensafemlrm.errors import OptionError, UnknownNameError
from opensafemlrm.selection import GROUPINGS, KINDS, RowChoice
from opensafemlrm.text import Format
from opensafemlrm.types import Part


class Name(StrEnum):
    """The tables there are."""

    ASR = "asr"
    TAX = "tax"
    BLINDSPOTS = "blindspots"
    CORRECTION = "correction"
    OVERREFUSAL = "overrefusal"
    DEFENSE = "defense"
    CALIBRATED = "calibrated"
    COMPREHENSION = "comprehension"
    COST = "cost"
    COVERAGE = "coverage"
    STOPPING = "stopping"
    DRIFT = "drift"


_OF_SAMPLES: Final = frozenset({Name.TAX, Name.BLINDSPOTS, Name.CORRECTION, Name.DEFENSE})
"""Those whose intervals take replies for a sample of items, or of scenarios."""


class Clustered(StrEnum):
    """What a store's replies are a sample of."""

    ITEM = "item"
    SCENARIO = "scenario"


_Store = Annotated[Path, typer.Argument(help="The store, or a folder of Parquet files.")]


@choosing(*ALL)
def table(
    name: Annotated[Name, typer.Argument(help="The table; see above.")],
    store: _Store,
    chosen: Chosen,
    to: FormatOption = Format.TEXT,
    group_models: Annotated[
        str | None,
        typer.Option(help="blindspots: the mean of these models, by comma, beside --group-bases."),
    ] = None,
    group_bases: Annotated[str | None, typer.Option(help="blindspots: the bases' labels.")] = None,
    max_unscored: MaxUnscored = MAX_UNSCORED,
    cluster: Annotated[
        Clustered,
        typer.Option(
            help="tax, blindspots, correction, defense: what is sampled, items of these "
            "scenarios or scenarios."
        ),
    ] = Clustered.ITEM,
    prices: PricesOption = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Only these, by comma: the names that --format csv has at the top."),
    ] = None,
    everything: Everything = False,
) -> None:
    """Print a table of figures.

    asr: attack success rates with intervals and bounds. tax: reasoning models beside their bases.
    blindspots: which scenarios lost most. correction: unsafe reasoning with a safe answer.
    overrefusal: benign items refused. defense: what each defense changes, and what it costs.
    calibrated: rates and tax corrected by labels of people. comprehension: ASR over replies
    that understood, and the tax that it explains. cost: requests, tokens, time.
    coverage: how every reply and every verdict ended. stopping: where a study's rule ended the run.
    drift: versions of a series; see `safemlrm drift --help`.
    """
    groups = _groups(name, group_models, group_bases)
    options = Options(chosen, groups, max_unscored, cluster.value, everything, prices)
    tables = make(name, store, options)
    show(_with_columns(tables, columns) if columns else tables, to)


@dataclass(frozen=True, slots=True)
class Options:
    """What of a table is wanted."""

    chosen: Chosen
    groups: tuple[list[str], list[str]] | None = None
    """Models and bases of the grouped form of the blind spots."""
    max_unscored: float = MAX_UNSCORED
    """The share without a score from which bounds stand in a rate's place."""
    cluster: Literal["item", "scenario"] = "item"
    everything: bool = False
    prices: Path | None = None

    @property
    def by_scenario(self) -> Literal["scenario"] | None:
        """What the analyses take ``by`` for: they have a row for each other name anyway."""
        return "scenario" if self.chosen.rows.by == "scenario" else None

    def refuse_others(self, name: Name) -> None:
        """Raise BadParameter for an option that changes nothing in the table."""
        for option, default, takes in (
            ("cluster", "item", _OF_SAMPLES),
            ("prices", None, {Name.COST}),
            ("max_unscored", MAX_UNSCORED, set(Name) - {Name.COST, Name.COVERAGE, Name.STOPPING}),
        ):
            if getattr(self, option) != default and name not in takes:
                names = ", ".join(table for table in Name if table in takes)
                flag = option.replace("_", "-")
                raise typer.BadParameter(f"{name} takes no --{flag}; these tables do: {names}")


def make(name: Name, path: Path | str, options: Options) -> list[lazy.Table]:
    """Compute a table of what is at ``path``."""
    options.refuse_others(name)
    found = lazy.results.open(
        path,
        max_unscored=options.max_unscored,
        cluster=options.cluster,
        everything=options.everything,
        **options.chosen.names,
    )
    tell_left_out(found)
    rows = options.chosen.rows
    made = _MAKERS[name](found, options)
    _refuse_rows(name, made, options.chosen)
    rows.check_threshold([table.frame for table in made])
    made = [dataclasses.replace(table, frame=rows.choose(table.frame)) for table in made]
    if _are_empty(made):
        whole = found.only(**dict.fromkeys(KINDS))
        every = dataclasses.replace(options, chosen=Chosen({}, RowChoice()))
        hidden = bool(options.chosen.given) and not _are_empty(_MAKERS[name](whole, every))
        say(why_empty(name, found, options.chosen, hidden=hidden))
        made = [dataclasses.replace(table, caption="") for table in made]  # it is said
    return lazy.finished(made, lazy.sent_otherwise(found.requests()), found.selection, rows)


def _are_empty(tables: list[lazy.Table]) -> bool:
    return all(table.frame.is_empty() for table in tables)


def _refuse_rows(name: Name, tables: list[lazy.Table], chosen: Chosen) -> None:
    """Raise for rows that no table has: no part, no mean, nothing of that name."""
    keys = {key for t in tables for key in (*t.frame.columns, *(c.key for c in t.columns))}
    has = {key for key in ROWS if ("level" if key == "mean" else key) in keys}
    chosen.refuse_but((*KINDS, "by", *(key for key in ROWS if key in has)), name)
    columns = {column.key for table in tables for column in table.columns}
    able = [other for other in GROUPINGS if other in columns]
    by = chosen.rows.by
    if by is not None and by not in able:
        raise OptionError(
            f"{name} has no rows by {by}: --by takes {', '.join(able)}"
            if able
            else f"{name} has no rows to put together: leave out --by"
        )


def _with_columns(tables: list[lazy.Table], columns: str) -> list[lazy.Table]:
    """Keep the columns that are named, in the tables that have some of them."""
    names = [name.strip() for name in columns.split(",")]
    known = {name for table in tables for name in table.frame.columns}
    for name in names:
        if name not in known:
            raise UnknownNameError("column", name, known)
    chosen = [table for table in tables if any(c.key in names for c in table.columns)]
    return [table.only(names) for table in chosen]


def _asr(found: lazy.Results, options: Options) -> list[lazy.Table]:
    # Chosen before the table is made: its footer counts what is in its rows.
    rows = found.asr(by=options.by_scenario, threshold=options.chosen.rows.threshold)
    return [lazy.rates.asr_table(options.chosen.rows.choose(rows))]


def _blindspots(found: lazy.Results, options: Options) -> list[lazy.Table]:
    if options.groups is not None:
        return [lazy.GROUPED_BLINDSPOTS.of(found.grouped(*options.groups))]
    scenarios = found.blindspots()
    return lazy.blindspot_tables(scenarios, lazy.consistency(scenarios))


def _coverage(found: lazy.Results, _: Options) -> list[lazy.Table]:
    tables = lazy.outcomes.coverage_tables(
        found.coverage(),
        found.verdict_coverage(),
        found.detected_formats(),
        found.alarms(),
    )
    unsent = found.not_applicable()
    return tables if unsent.is_empty() else [*tables, lazy.outcomes.NOT_APPLICABLE.of(unsent)]


def _drift(results: lazy.Results, options: Options) -> list[lazy.Table]:
    changes, trend = results.drift(), results.drift(by="version")
    given = bool(options.chosen.given)
    if trend.is_empty() and given and not results.only(**dict.fromkeys(KINDS)).drift().is_empty():
        raise OptionError(options.chosen.too_narrow("judged reply of a series"))
    if trend.is_empty():
        raise OptionError(
            "there are no judged replies of a series here: name the versions of a model under "
            "`series:` in your study, and run it"
        )
    for (name,), rows in trend.partition_by("series", as_dict=True).items():
        if rows["version"].n_unique() == 1:
            of = "of what you chose, " if given else ""
            say(f"{of}the series {name!r} has replies of one version only: {rows['version'][0]}")
    return lazy.drift_tables(changes, trend, by_scenario=options.by_scenario is not None)


_MAKERS: Final[dict[Name, Callable[[lazy.Results, Options], list[lazy.Table]]]] = {
    Name.ASR: _asr,
    Name.TAX: lambda results, of: [lazy.rates.TAX.of(results.tax(by=of.by_scenario))],
    Name.BLINDSPOTS: _blindspots,
    Name.CORRECTION: lambda results, of: [
        lazy.rates.CORRECTION.of(results.self_correction(by=of.by_scenario))
    ],
    Name.OVERREFUSAL: lambda results, of: lazy.rates.overrefusal_tables(
        results.over_refusal(by=of.by_scenario), results.balance()
    ),
    Name.DEFENSE: lambda results, _: [lazy.rates.defense_table(results.defense())],
    Name.CALIBRATED: lambda results, of: lazy.label_tables.calibrated_tables(
        results.calibrated(by=of.by_scenario), results.calibrated_tax()
    ),
    Name.COMPREHENSION: lambda results, _: lazy.rates.comprehension_tables(
        results.comprehension(), results.comprehension_tax()
    ),
    Name.COST: lambda results, of: [lazy.outcomes.COST.of(results.cost(prices=of.prices))],
    Name.COVERAGE: _coverage,
    Name.STOPPING: lambda results, _: [lazy.outcomes.stopping_table(results.stopping())],
    Name.DRIFT: _drift,
}


def _groups(
    name: Name, models: str | None, bases: str | None
) -> tuple[list[str], list[str]] | None:
    if models is None and bases is None:
        return None
    if name is not Name.BLINDSPOTS or not models or not bases:
        raise typer.BadParameter(
            "--group-models and --group-bases go together, and with the table blindspots"
        )
    one, other = ([label.strip() for label in text.split(",")] for text in (models, bases))
    return one, other


@choosing(*KINDS, "by", "part", "threshold", helps={"by": "scenario: the trend of each too."})
def drift(
    store: Annotated[Path, typer.Argument(help="The store, or a folder of Parquet files.")],
    chosen: Chosen,
    to: FormatOption = Format.TEXT,
    max_unscored: MaxUnscored = MAX_UNSCORED,
    everything: Everything = False,
) -> None:
    """Print from which version of a series on replies are worse, and what was forgotten.

    A study names the versions under series: checkpoints of a training, releases of a model, one
    model on several dates. They are compared item by item. By chance alone one table in twenty has
    a version that is called worse, or an interval that misses.
    """
    options = Options(chosen, max_unscored=max_unscored, everything=everything)
    show(make(Name.DRIFT, store, options), to)


_NEEDS: Final = {
    "correction": "no reasoning here has a score, nor an answer beside it: ask a judge that reads "
    "the reasoning (`safemlrm judges list`)",
    "overrefusal": "no verdict here is on a harmless request: add a data set with benign items, "
    "such as xstest",
    "defense": "no model here was run with a defense and without one under the same conditions: "
    "name both under `defenses:`, such as [none, self-reminder]",
    "calibrated": "no judge here was compared with labels of people: label replies with `safemlrm "
    "label`, then `safemlrm calibrate`",
    "comprehension": "no judge here says whether a reply understood the request: see `safemlrm "
    "judges list`",
    "cost": "imported results do not say what they took",
    "stopping": "no rule ended this run: the study names none under `stop:`, or it ran to its end",
}


def why_empty(name: str, found: lazy.Results, chosen: Chosen, *, hidden: bool) -> str:
    """Return the sentence that says why the table ``name`` has no rows.

    ``hidden`` says that it has some where nothing is chosen: then the store lacks nothing.
    """
    return next(_reasons(name, found, chosen, hidden=hidden))


def _reasons(name: str, found: lazy.Results, chosen: Chosen, *, hidden: bool) -> Iterator[str]:
    """Yield what may be the reason, the first cause before those that come of it."""
    frame, of_pairs = found.frame(), name in ("tax", "blindspots")
    if frame.is_empty() and not chosen.given:
        yield "there are no replies here yet: run a study with `safemlrm run STUDY --store DIR`"
    if frame.is_empty():
        yield chosen.too_narrow("reply")
    pairs = found.pairs() if of_pairs else None
    if hidden and pairs is not None:
        models = frame["model"].unique().cast(str).to_list()
        if not pairs["reasoner"].is_in(models).any():
            known = "; ".join(f"{model} beside {base}" for model, base in pairs.iter_rows())
            yield f"the models that you chose are no pair; the pairs are: {known}"
        if chosen.rows.part == Part.REASONING:
            yield "a base writes no reasoning to compare with: leave out --part"
    if hidden:
        yield chosen.too_narrow("verdict")
    if frame["judge"].is_null().all() and name not in ("cost", "stopping"):
        yield "no reply here has a verdict: see `safemlrm table coverage`"
    if name in _NEEDS:
        yield _NEEDS[name]
    if frame.filter(frame["expected"] == "harmful").is_empty():
        yield "no reply here is to a harmful item: see `safemlrm table overrefusal`"
    if pairs is not None and pairs.is_empty():
        yield "the study names no pairs: write `pairs:` in it, and give `safemlrm run` again"
    yield "no reply here to a harmful item has a verdict: see `safemlrm table coverage`"
