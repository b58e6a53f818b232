"""``safemlrm table``: figures of a store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

if TYPE_CHECKING:
    import polars as pl

    from opensafemlrm.report import Table
    from opensafemlrm.store import Store
    from opensafemlrm.store.sink_queries import SinkResults


class Name(StrEnum):
    """The tables there are."""

    ASR = "asr"
    TAX = "tax"
    BLINDSPOTS = "blindspots"
    CORRECTION = "correction"
    OVERREFUSAL = "overrefusal"
    DEFENSE = "defense"
    CALIBRATED = "calibrated"
    COST = "cost"
    COVERAGE = "coverage"


class Format(StrEnum):
    """What a table is printed as."""

    TEXT = "text"
    MD = "md"
    CSV = "csv"
    JSON = "json"
    LATEX = "latex"


class By(StrEnum):
    """What a table can be broken down by."""

    SCENARIO = "scenario"


class Part(StrEnum):
    """The parts of a reply."""

    REASONING = "reasoning"
    ANSWER = "answer"
    FULL = "full"


_Store = Annotated[Path, typer.Argument(help="The store's folder.")]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("table")(table)


def table(
    name: Annotated[Name, typer.Argument(help="Which table.")],
    store: _Store,
    to: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.TEXT,
    by: Annotated[By | None, typer.Option(help="A row for each of these.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Only the rows at this threshold of the judge.")
    ] = None,
    part: Annotated[Part | None, typer.Option(help="Only the rows of this part.")] = None,
    group_models: Annotated[
        str | None,
        typer.Option(help="blindspots: the mean of these models, by comma, beside --group-bases."),
    ] = None,
    group_bases: Annotated[str | None, typer.Option(help="blindspots: the bases' labels.")] = None,
) -> None:
    """Print a table of figures from a store.

    asr: attack success rates with intervals and bounds. tax: reasoning models beside their bases.
    blindspots: which scenarios lost most. correction: unsafe reasoning with a safe answer.
    overrefusal: benign items refused. defense: what each defense changes, and what it costs.
    calibrated: rates corrected by the judge's measured errors. cost: requests, tokens, time.
    coverage: how every reply and every verdict ended.
    """
    from opensafemlrm.report import Format as ReportFormat
    from opensafemlrm.report import render_all

    groups = _groups(name, group_models, group_bases)
    options = Options(
        "scenario" if by else None, threshold, None if part is None else part.value, groups
    )
    tables = make(name, store, options)
    typer.echo(render_all(tables, ReportFormat(to.value), _width()), nl=False)


@dataclass(frozen=True, slots=True)
class Options:
    """What of a table is wanted."""

    by: Literal["scenario"] | None = None
    threshold: float | None = None
    part: str | None = None
    groups: tuple[list[str], list[str]] | None = None
    """Models and bases of the grouped form of the blind spots."""


@contextlib.contextmanager
def results(path: Path) -> Iterator[Store | SinkResults]:
    """Open what the tidy table is read from: a store, or a sink that a cluster wrote."""
    from opensafemlrm.store import Store
    from opensafemlrm.store.sink import is_sink

    if is_sink(path):
        from opensafemlrm.store.sink_queries import SinkResults

        yield SinkResults(path)
    else:
        with Store.open(path) as store:
            yield store


def make(name: Name, path: Path, options: Options | None = None) -> list[Table]:
    """Compute a table of the store at ``path``."""
    from opensafemlrm import frame as frames

    options = options or Options()
    with results(path) as store:
        frame = frames.read(store)
        if name is Name.COVERAGE:
            tables = _coverage(frame, frames.not_sent(store), frames.detected(store))
        elif name is Name.CALIBRATED:
            tables = _calibrated(frame, frames.calibrations(store), options)
        else:
            tables = _MAKERS[name](frame, frames.pairs(store), options)
    return [_only(table, options) for table in tables]


def _only(table: Table, options: Options) -> Table:
    """Keep the rows of the threshold and the part that were asked for, where a row has them."""
    import dataclasses

    frame = table.frame
    for key, wanted in (("threshold", options.threshold), ("part", options.part)):
        if wanted is not None and key in frame.columns:
            frame = frame.filter(**{key: wanted})
    return dataclasses.replace(table, frame=frame)


def _asr(frame: pl.DataFrame, _: pl.DataFrame, options: Options) -> list[Table]:
    from opensafemlrm.analysis.asr import asr
    from opensafemlrm.report.asr import asr_table

    return [asr_table(asr(frame, by=options.by))]


def _tax(frame: pl.DataFrame, pairs: pl.DataFrame, options: Options) -> list[Table]:
    from opensafemlrm.analysis.tax import tax
    from opensafemlrm.report.tax import TAX

    return [TAX.of(tax(frame, pairs, by=options.by))]


def _blindspots(frame: pl.DataFrame, pairs: pl.DataFrame, options: Options) -> list[Table]:
    from opensafemlrm.analysis.blindspots import blindspots
    from opensafemlrm.analysis.consistency import consistency
    from opensafemlrm.analysis.grouped import grouped
    from opensafemlrm.report.blindspots import GROUPED, blindspot_tables

    if options.groups is not None:
        return [GROUPED.of(grouped(frame, *options.groups))]
    scenarios = blindspots(frame, pairs)
    return blindspot_tables(scenarios, consistency(scenarios))


def _correction(frame: pl.DataFrame, _: pl.DataFrame, options: Options) -> list[Table]:
    from opensafemlrm.analysis.correction import correction
    from opensafemlrm.report.correction import CORRECTION

    return [CORRECTION.of(correction(frame, by=options.by))]


def _overrefusal(frame: pl.DataFrame, _: pl.DataFrame, options: Options) -> list[Table]:
    from opensafemlrm.analysis.overrefusal import balance, overrefusal
    from opensafemlrm.report.overrefusal import overrefusal_tables

    return overrefusal_tables(overrefusal(frame, by=options.by), balance(frame))


def _defense(frame: pl.DataFrame, _: pl.DataFrame, __: Options) -> list[Table]:
    from opensafemlrm.analysis.defense import defense_effects
    from opensafemlrm.report.defense import defense_table

    return [defense_table(defense_effects(frame))]


def _cost(frame: pl.DataFrame, _: pl.DataFrame, __: Options) -> list[Table]:
    from opensafemlrm.analysis.cost import cost
    from opensafemlrm.report.cost import COST

    return [COST.of(cost(frame))]


def _coverage(frame: pl.DataFrame, not_sent: pl.DataFrame, detected: list[str]) -> list[Table]:
    from opensafemlrm.analysis import coverage
    from opensafemlrm.report.coverage import NOT_APPLICABLE, coverage_tables

    replies, verdicts = coverage.reply_outcomes(frame), coverage.verdict_outcomes(frame)
    tables = coverage_tables(replies, verdicts, detected)
    if not_sent.is_empty():
        return tables
    return [*tables, NOT_APPLICABLE.of(coverage.not_applicable(not_sent))]


def _calibrated(frame: pl.DataFrame, rows: pl.DataFrame, options: Options) -> list[Table]:
    from opensafemlrm.analysis.corrected import corrected_asr
    from opensafemlrm.report.calibrated import calibrated_table

    corrected = corrected_asr(frame, rows, by=options.by)
    return [calibrated_table(corrected)]


_MAKERS: Final[dict[Name, Callable[[pl.DataFrame, pl.DataFrame, Options], list[Table]]]] = {
    Name.ASR: _asr,
    Name.TAX: _tax,
    Name.BLINDSPOTS: _blindspots,
    Name.CORRECTION: _correction,
    Name.OVERREFUSAL: _overrefusal,
    Name.DEFENSE: _defense,
    Name.COST: _cost,
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


def _width() -> int:
    """Return the terminal's width, and 100 where there is no terminal: files do not vary."""
    import shutil
    import sys

    return shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100
