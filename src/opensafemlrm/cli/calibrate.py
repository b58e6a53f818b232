"""``safemlrm calibrate``: hold a judge against labels."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import ExitCode, say
from opensafemlrm.cli._option import JudgeArgument, budgeted, spent
from opensafemlrm.cli._output import FormatOption, MaxCost, MaxRequests, PricesOption, show
from opensafemlrm.errors import BudgetSpentError, StoreError
from opensafemlrm.text import Format, counted
from opensafemlrm.types import Key, Part, Verdict, content_key


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
    if store is None and (max_requests is not None or max_cost is not None):
        raise typer.BadParameter("a budget needs --store, which keeps what came until it is spent")
    built = budgeted(max_requests, max_cost, prices)(lazy.study.judge_of(judge))
    given = _labels(labels, columns or [])
    texts = given.texts if limit is None else given.texts[:limit]
    name = given.name if limit is None else f"{given.name}, first {len(texts)}"
    with contextlib.ExitStack() as stack:
        opened = None if store is None else stack.enter_context(lazy.Store.open(store, "create"))

        work = _judge(built, texts, opened, probe=probe, again=again)
        try:
            verdicts, probed, second, unfinished = lazy.asyncio.run(work)
        except BudgetSpentError as error:
            raise spent(error) from error
        labelled = _labelled(texts, verdicts)
        if opened is not None:
            _keep(opened, built, name, labelled)
    tables = lazy.label_tables.calibration_tables(
        labelled, built.thresholds, judge=built.label, labels=name
    )
    if second:
        scores = [[verdict.score for verdict in judged] for judged in (verdicts, second)]
        tables.append(
            lazy.label_tables.RETEST.of(
                lazy.calibration.retest(scores[0], scores[1], built.thresholds)
            )
        )
    if probed is not None:
        tables.append(lazy.label_tables.probe_table(probed, built.thresholds[0]))
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
    judge: lazy.Judge,
    texts: Sequence[lazy.LabelledText],
    store: lazy.Store | None,
    *,
    probe: bool,
    again: bool,
) -> tuple[list[Verdict], lazy.pl.DataFrame | None, list[Verdict], BudgetSpentError | None]:
    """Return the verdicts, those of probes and a second time, and why these are not all there."""
    probed: lazy.pl.DataFrame | None = None
    second: list[Verdict] = []
    unfinished: BudgetSpentError | None = None
    try:
        verdicts = await lazy.judge_texts(judge, texts, store)
        try:
            probed = await _probe(judge, texts, verdicts, store) if probe else None
            # Not by the store, which would give the verdict that it has.
            second = await lazy.judge_texts(judge, texts) if again else []
        except BudgetSpentError as error:
            unfinished = error
    finally:
        await judge.aclose()
    return verdicts, probed, second, unfinished


def _labels(path: Path, columns: Sequence[str]) -> lazy.label_exchange.LabelFile:
    if path.is_dir():
        return _labels_of_store(path)
    mapped = {}
    for one in columns:
        name, equals, column = one.partition("=")
        if not equals or name not in (*lazy.label_exchange.NEEDED, *lazy.label_exchange.OPTIONAL):
            known = ", ".join((*lazy.label_exchange.NEEDED, *lazy.label_exchange.OPTIONAL))
            raise typer.BadParameter(f"--map {one}: write NAME=COLUMN, NAME one of {known}")
        mapped[name] = column
    return lazy.label_exchange.read_labels(path, mapped)


def _labels_of_store(path: Path) -> lazy.label_exchange.LabelFile:
    """Return what most labellers say of each part; where they are split, nothing."""
    with lazy.Store.open(path) as opened:
        settled, undecided = lazy.stored_labels.settled(opened)
        weights = _weights(opened, [(unit.generation, unit.part) for unit, _ in settled])
        texts = [
            lazy.LabelledText(
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
    return lazy.label_exchange.LabelFile(f"labels in {path.name}#{digest}", texts)


def _weights(store: lazy.Store, labelled: Sequence[tuple[Key, Part]]) -> list[float]:
    """Return how many replies each labelled one stands for: those of its model under its conditions
    that the store's judge calls what it calls this one.
    """
    rows = lazy.frame.read(store, ("cell", "sample", "part", "label")).drop_nulls("sample")
    rows = rows.unique(["sample", "part"], keep="first", maintain_order=True)
    places = lazy.pl.DataFrame(
        {
            "sample": [key.hex().upper() for key, _ in labelled],
            "part": [part.value for _, part in labelled],
            "given": True,
        },
        {"sample": lazy.pl.String, "part": lazy.pl.String, "given": lazy.pl.Boolean},
    )
    alike = ["cell", "part", "label"]
    weighted = (
        rows.with_columns(lazy.pl.col("part").cast(lazy.pl.String))
        .join(places, on=["sample", "part"], how="left")
        .with_columns(weight=lazy.pl.len().over(alike) / lazy.pl.col("given").count().over(alike))
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


def _labelled(texts: Sequence[lazy.LabelledText], verdicts: Sequence[Verdict]) -> lazy.pl.DataFrame:
    rows = [
        (
            *(text.unsafe, verdict.score, text.item.scenario),
            *(text.part.value, text.model, text.attack, text.weight),
        )
        for text, verdict in zip(texts, verdicts, strict=True)
    ]
    return lazy.pl.DataFrame(
        rows, schema=lazy.calibration.LABELLED | lazy.calibration.CONDITIONS, orient="row"
    )


async def _probe(
    judge: lazy.Judge,
    texts: Sequence[lazy.LabelledText],
    verdicts: Sequence[Verdict],
    store: lazy.Store | None,
) -> lazy.pl.DataFrame:
    columns = {"probe": lazy.pl.String, "before": lazy.pl.Float64, "after": lazy.pl.Float64}
    before = [verdict.score for verdict in verdicts]
    rows: list[tuple[str, float | None, float | None]] = []
    for name, change in lazy.probes.PROBES.items():
        changed = [replace(text, text=change(text.text)) for text in texts]
        after = [verdict.score for verdict in await lazy.judge_texts(judge, changed, store)]
        rows += [(name, *scores) for scores in zip(before, after, strict=True)]
    return lazy.probes.probe_effects(
        lazy.pl.DataFrame(rows, columns, orient="row"), judge.thresholds[0]
    )


def _keep(store: lazy.Store, judge: lazy.Judge, labels: str, labelled: lazy.pl.DataFrame) -> None:
    rows = lazy.calibration.counts_by_condition(labelled, judge.thresholds)
    lazy.stored_labels.put_calibrations(
        store, store.put_component("judge", judge), labels, rows.iter_rows()
    )
    say(f"kept in {store.path}; its tables and reports show it from now on")


def _tell_reasons(verdicts: Sequence[Verdict]) -> None:
    reasons = Counter(verdict.reason.value for verdict in verdicts if verdict.reason is not None)
    requests = sum(verdict.requests for verdict in verdicts)
    if requests:
        say(f"these verdicts took {counted(requests, 'request')}")
    for reason, count in reasons.most_common():
        say(f"{counted(count, 'text')} without a score: {reason}")
