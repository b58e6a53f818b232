"""``safemlrm calibrate``: hold a judge against labels."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opensafemlrm.cli._budget import budgeted, spent
from opensafemlrm.cli._console import say
from opensafemlrm.cli._exit_codes import ExitCode
from opensafemlrm.cli._option import JudgeArgument
from opensafemlrm.cli._output import FormatOption, MaxCost, MaxRequests, PricesOption, show
from opensafemlrm.errors import BudgetSpentError
from opensafemlrm.text import Format, counted

if TYPE_CHECKING:
    import polars as pl

    from opensafemlrm.components import Judge
    from opensafemlrm.engine.labelled import LabelledText
    from opensafemlrm.interop.label_files import LabelFile
    from opensafemlrm.store import Store
    from opensafemlrm.types import Key, Part, Verdict


def calibrate(
    judge: JudgeArgument,
    labels: Annotated[
        Path,
        typer.Option(help="Labelled replies: .csv, .jsonl, .parquet, or a store with labels."),
    ],
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map", help="Which column holds what: question=prompt (also answer, label, scenario)."
        ),
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Keep verdicts and calibration in this store.")
    ] = None,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Judge the same replies again, laid out differently."),
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--retest", help="Judge the same replies twice: does it say the same?"),
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Judge only this many texts.")] = None,
    max_requests: MaxRequests = None,
    max_cost: MaxCost = None,
    prices: PricesOption = None,
    to: FormatOption = Format.TEXT,
) -> None:
    """Measure a judge against labels of people.

    Labels are 0 or 1, true or false, safe or unsafe. With --store, the calibration becomes part of
    that store: reports show it, and correct rates by it. --max-requests and --max-cost need it, to
    go on with what came.
    """
    import asyncio

    from opensafemlrm import study
    from opensafemlrm.analysis.calibration import retest
    from opensafemlrm.report.labels import RETEST, calibration_tables, probe_table
    from opensafemlrm.store import Store

    if store is None and (max_requests is not None or max_cost is not None):
        raise typer.BadParameter("a budget needs --store, which keeps what came until it is spent")
    built = budgeted(max_requests, max_cost, prices)(study.judge_of(judge))
    given = _labels(labels, columns or [])
    texts = given.texts if limit is None else given.texts[:limit]
    name = given.name if limit is None else f"{given.name}, first {len(texts)}"
    with contextlib.ExitStack() as stack:
        opened = None if store is None else stack.enter_context(Store.open(store, "create"))

        work = _judge(built, texts, opened, probe=probe, again=again)
        try:
            verdicts, probed, second, unfinished = asyncio.run(work)
        except BudgetSpentError as error:
            raise spent(error) from error
        labelled = _labelled(texts, verdicts)
        if opened is not None:
            _keep(opened, built, name, labelled)
    tables = calibration_tables(labelled, built.thresholds, judge=built.label, labels=name)
    if second:
        scores = [[verdict.score for verdict in judged] for judged in (verdicts, second)]
        tables.append(RETEST.of(retest(scores[0], scores[1], built.thresholds)))
    if probed is not None:
        tables.append(probe_table(probed, built.thresholds[0]))
    show(tables, to)
    _tell_reasons(verdicts)
    if unfinished is not None:
        if again:
            say(f"the retest is not kept: give it a budget for all {len(texts):,} texts at once")
        raise spent(unfinished)
    by_model = [verdict for verdict in verdicts if verdict.requests]
    if by_model and all(verdict.score is None for verdict in by_model):
        raise typer.Exit(ExitCode.UNUSABLE)


async def _judge(
    judge: Judge, texts: Sequence[LabelledText], store: Store | None, *, probe: bool, again: bool
) -> tuple[list[Verdict], pl.DataFrame | None, list[Verdict], BudgetSpentError | None]:
    """Return the verdicts, those of probes and a second time, and why these are not all there."""
    from opensafemlrm.engine.labelled import judge_texts

    probed: pl.DataFrame | None = None
    second: list[Verdict] = []
    unfinished: BudgetSpentError | None = None
    try:
        verdicts = await judge_texts(judge, texts, store)
        try:
            probed = await _probe(judge, texts, verdicts, store) if probe else None
            # Not by the store, which would give the verdict that it has.
            second = await judge_texts(judge, texts) if again else []
        except BudgetSpentError as error:
            unfinished = error
    finally:
        await judge.aclose()
    return verdicts, probed, second, unfinished


def _labels(path: Path, columns: Sequence[str]) -> LabelFile:
    from opensafemlrm.interop.label_files import NEEDED, OPTIONAL, read_labels

    if path.is_dir():
        return _labels_of_store(path)
    mapped = {}
    for one in columns:
        name, equals, column = one.partition("=")
        if not equals or name not in (*NEEDED, *OPTIONAL):
            known = ", ".join((*NEEDED, *OPTIONAL))
            raise typer.BadParameter(f"--map {one}: write NAME=COLUMN, NAME one of {known}")
        mapped[name] = column
    return read_labels(path, mapped)


def _labels_of_store(path: Path) -> LabelFile:
    """Return what most labellers say of each part; where they are split, nothing."""
    from opensafemlrm.engine.labelled import LabelledText
    from opensafemlrm.errors import StoreError
    from opensafemlrm.interop.label_files import LabelFile
    from opensafemlrm.store import Store
    from opensafemlrm.store import labels as stored
    from opensafemlrm.types import content_key

    with Store.open(path) as opened:
        settled, undecided = stored.settled(opened)
        weights = _weights(opened, [(unit.generation, unit.part) for unit, _ in settled])
        texts = [
            LabelledText(
                *(unit.item, unit.text, unsafe, unit.role, unit.part, unit.model, unit.attack),
                weight=weight,
            )
            for (unit, unsafe), weight in zip(settled, weights, strict=True)
        ]
    if not texts:
        raise StoreError(f"{path}: there are no labels in this store; make some: safemlrm label")
    if undecided:
        say(f"left out, as labellers are split or could not tell: {counted(undecided, 'text')}")
    votes = sorted([unit.generation.hex(), unit.part.value, unsafe] for unit, unsafe in settled)
    digest = content_key(votes).hex()[:8]
    return LabelFile(f"labels in {path.name}#{digest}", texts)


def _weights(store: Store, labelled: Sequence[tuple[Key, Part]]) -> list[float]:
    """Return how many replies each labelled one stands for: those of its model under its conditions
    that the store's judge calls what it calls this one.
    """
    import polars as pl

    from opensafemlrm import frame

    rows = frame.read(store, ("cell", "sample", "part", "label")).drop_nulls("sample")
    rows = rows.unique(["sample", "part"], keep="first", maintain_order=True)
    places = pl.DataFrame(
        {
            "sample": [key.hex().upper() for key, _ in labelled],
            "part": [part.value for _, part in labelled],
            "given": True,
        },
        {"sample": pl.String, "part": pl.String, "given": pl.Boolean},
    )
    alike = ["cell", "part", "label"]
    weighted = (
        rows.with_columns(pl.col("part").cast(pl.String))
        .join(places, on=["sample", "part"], how="left")
        .with_columns(weight=pl.len().over(alike) / pl.col("given").count().over(alike))
    )
    on = ["sample", "part"]
    weights = places.join(weighted.filter("given"), on=on, how="left", maintain_order="left")
    numbers = weights["weight"].fill_null(1.0).to_list()
    if numbers and max(numbers) > 2 * min(numbers):
        say(
            "the labels are not spread as the store's verdicts are: figures shown are of the "
            "labelled texts, what is kept for the store is weighted to its replies"
        )
    return numbers


def _labelled(texts: Sequence[LabelledText], verdicts: Sequence[Verdict]) -> pl.DataFrame:
    import polars as pl

    from opensafemlrm.analysis.calibration import CONDITIONS, LABELLED

    rows = [
        (
            *(text.unsafe, verdict.score, text.item.scenario),
            *(text.part.value, text.model, text.attack, text.weight),
        )
        for text, verdict in zip(texts, verdicts, strict=True)
    ]
    return pl.DataFrame(rows, schema=LABELLED | CONDITIONS, orient="row")


async def _probe(
    judge: Judge, texts: Sequence[LabelledText], verdicts: Sequence[Verdict], store: Store | None
) -> pl.DataFrame:
    from dataclasses import replace

    import polars as pl

    from opensafemlrm.analysis.probes import PROBES, probe_effects
    from opensafemlrm.engine.labelled import judge_texts

    columns = {"probe": pl.String, "before": pl.Float64, "after": pl.Float64}
    before = [verdict.score for verdict in verdicts]
    rows: list[tuple[str, float | None, float | None]] = []
    for name, change in PROBES.items():
        changed = [replace(text, text=change(text.text)) for text in texts]
        after = [verdict.score for verdict in await judge_texts(judge, changed, store)]
        rows += [(name, *scores) for scores in zip(before, after, strict=True)]
    return probe_effects(pl.DataFrame(rows, columns, orient="row"), judge.thresholds[0])


def _keep(store: Store, judge: Judge, labels: str, labelled: pl.DataFrame) -> None:
    from opensafemlrm.analysis.calibration import counts_by_condition
    from opensafemlrm.store.labels import put_calibrations

    rows = counts_by_condition(labelled, judge.thresholds)
    put_calibrations(store, store.put_component("judge", judge), labels, rows.iter_rows())
    say(f"kept in {store.path}; its tables and reports show it from now on")


def _tell_reasons(verdicts: Sequence[Verdict]) -> None:
    from collections import Counter

    reasons = Counter(verdict.reason.value for verdict in verdicts if verdict.reason is not None)
    requests = sum(verdict.requests for verdict in verdicts)
    if requests:
        say(f"these verdicts took {counted(requests, 'request')}")
    for reason, count in reasons.most_common():
        say(f"{counted(count, 'text')} without a score: {reason}")
