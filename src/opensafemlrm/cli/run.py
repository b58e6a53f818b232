"""``safemlrm run``: bring a store up to date with a study."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opensafemlrm.cli._console import say
from opensafemlrm.cli._costs import cost_notes

if TYPE_CHECKING:
    import asyncio
    import sqlite3

    from rich.console import RenderableType
    from rich.progress import TaskID

    from opensafemlrm.engine import CellPlan, Plan, Tally
    from opensafemlrm.report import Table
    from opensafemlrm.store import Store
    from opensafemlrm.study import Study

_INTERRUPTED = 130
_BUDGET_SPENT = 3


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    study: Annotated[Path, typer.Argument(help="The study file (YAML).")],
    store: Annotated[
        Path | None, typer.Option(help="The folder that keeps everything.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; send and write nothing.")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave bad rows and images out, and report each.")
    ] = False,
    max_requests: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many requests to models and judges.")
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="Stop at so many US dollars, by models' prices.")
    ] = None,
    max_time: Annotated[
        float | None, typer.Option(min=0, help="Stop after so many minutes.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="local|auto|ADDRESS", help="Run on a cluster of Ray, or as one on this machine."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="With --ray: how many workers.")] = 1,
    gpus_per_worker: Annotated[
        float, typer.Option(min=0, help="With --ray: GPUs that a worker has for itself.")
    ] = 0,
    sink: Annotated[
        str | None,
        typer.Option(help="With --ray: write Parquet parts to this folder or URL, and no store."),
    ] = None,
) -> None:
    """Bring a store up to date with a study: make what is missing, and nothing else."""
    from opensafemlrm import study as studies
    from opensafemlrm.engine import Plan

    if (store is None) == (sink is None):
        raise typer.BadParameter("name the store with --store, or a sink with --ray and --sink")
    if ray is not None:
        from opensafemlrm.cli._on_ray import OnRay, run_distributed

        if any(limit is not None for limit in (max_requests, max_cost, max_time)):
            raise typer.BadParameter("--max-requests, --max-cost, --max-time are for one process")
        plan = Plan.of(studies.load(study), skip_bad=skip_bad)
        _report_skipped(plan)
        run_distributed(plan, store, OnRay(ray, workers, gpus_per_worker, sink), dry_run=dry_run)
        return
    if store is None:
        raise typer.BadParameter("--sink is for runs with --ray")
    seconds = None if max_time is None else 60 * max_time
    loaded = _within(studies.load(study), max_requests, max_cost, seconds)
    plan = Plan.of(loaded, skip_bad=skip_bad)
    _report_skipped(plan)
    if dry_run:
        show_dry_run(plan, store)
    else:
        run_plan(plan, store)


def _within(study: Study, requests: int | None, cost: float | None, seconds: float | None) -> Study:
    """Return ``study`` with all its models under one budget, where there is one."""
    import dataclasses

    from opensafemlrm.models.budget import Budget, Limits

    limits = Limits(requests, cost, seconds)
    if not limits.any:
        return study
    budget = Budget(limits)
    models = {id(model): budget.over(model) for model in study.models}
    return dataclasses.replace(
        study,
        models=tuple(models.values()),
        pairs=tuple((models[id(one)], models[id(two)]) for one, two in study.pairs),
        attacks=budget.over(study.attacks),
        defenses=budget.over(study.defenses),
        judge=budget.over(study.judge),
    )


@dataclass(frozen=True, slots=True)
class DryRunRow:
    """What a run would do in one cell."""

    model: str
    dataset: str
    attack: str
    defense: str
    samples: int
    in_store: int
    """Samples that need nothing more."""
    to_generate: int
    to_judge: int
    """Replies that need verdicts, those still to be generated among them."""
    not_sent: int
    """Samples that the attack cannot carry."""
    note: str
    """Why the attack cannot carry the dataset's first item, if it cannot."""


def show_dry_run(plan: Plan, path: Path) -> None:
    """Print what a run would do with the store at ``path``."""
    from opensafemlrm.report import Format, render
    from opensafemlrm.store import DATABASE, Store

    with contextlib.ExitStack() as stack:
        connection = None
        if (path / DATABASE).is_file():
            connection = stack.enter_context(Store.open(path)).connection
        rows = [_dry_run_row(plan, cell, connection) for cell in plan.cells]
    costs = cost_notes(plan, ((row.to_generate, row.to_judge) for row in rows))
    typer.echo(render(_dry_run_table(rows, costs), Format.TEXT), nl=False)


def _dry_run_row(plan: Plan, cell: CellPlan, connection: sqlite3.Connection | None) -> DryRunRow:
    from opensafemlrm.engine import survey

    found = survey(plan, cell, connection)
    return DryRunRow(
        *cell.label,
        found.samples,
        found.samples - found.to_judge - found.not_applicable,
        found.to_generate,
        found.to_judge,
        found.not_applicable,
        found.note,
    )


def _dry_run_table(rows: list[DryRunRow], costs: tuple[str, ...]) -> Table:
    import polars as pl

    from opensafemlrm.report import Column, Form, Table, WhenConstant

    generations, judged = (
        sum(getattr(row, name) for row in rows) for name in ("to_generate", "to_judge")
    )
    return Table(
        name="dry_run",
        title=f"{len(rows)} cells, {sum(row.samples for row in rows):,} samples",
        frame=pl.DataFrame(rows, infer_schema_length=None),
        columns=[
            Column("model", "Model"),
            Column("dataset", "Dataset"),
            Column("attack", "Attack"),
            Column("defense", "Defense", constant=WhenConstant.CAPTION),
            Column("samples", "samples", Form.COUNT),
            Column("in_store", "in store", Form.COUNT),
            Column("to_generate", "to generate", Form.COUNT),
            Column("to_judge", "to judge", Form.COUNT),
            Column("not_sent", "not sent", Form.COUNT, constant=WhenConstant.DROP_IF_ZERO),
        ],
        caption=f"Requests to be made: {generations:,} generations, and up to {3 * judged:,} "
        "verdicts (equal texts are judged once).",
        notes=(
            *(
                f"{note}; such items are counted, and nothing is sent for them."
                for note in dict.fromkeys(row.note for row in rows if row.note)
            ),
            *costs,
        ),
    )


def run_plan(plan: Plan, path: Path) -> None:
    """Run a plan with progress bars; exits with 130 when interrupted, with everything kept."""
    from opensafemlrm.engine import evaluate
    from opensafemlrm.store import Store

    with Store.open(path, "create") as opened:
        run_with_progress(lambda: evaluate(plan, opened), plan, opened, str(path))


def run_with_progress(
    work: Callable[[], Coroutine[Any, Any, None]], plan: Plan, opened: Store, results: str
) -> None:
    """Do ``work``, which runs ``plan``; ``results`` is where tables are then made from."""
    from opensafemlrm.errors import BudgetSpentError

    number = opened.start_run(plan.study.text, _environment())
    try:
        with _progress(plan):
            run_async(work())
    except KeyboardInterrupt:
        _summary(plan, results)
        say("interrupted: everything that came is kept; the same command goes on from here")
        raise typer.Exit(_INTERRUPTED) from None
    except BudgetSpentError as spent:
        _summary(plan, results)
        say(f"{spent}: everything that came is kept; the same command goes on from here")
        raise typer.Exit(_BUDGET_SPENT) from None
    opened.end_run(number)
    _summary(plan, results)


def run_async(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop where it is installed; SIGTERM ends it as Ctrl-C does."""
    import asyncio
    import signal

    factory: Callable[[], asyncio.AbstractEventLoop] | None
    try:
        from uvloop import new_event_loop as factory
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:

        def interrupt(*_: object) -> None:
            signal.raise_signal(signal.SIGINT)

        previous = signal.signal(signal.SIGTERM, interrupt)
        try:
            runner.run(main)
        finally:
            signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def _progress(plan: Plan) -> Iterator[None]:
    """Show a bar for each cell; on a stream that is not a terminal, nothing."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from opensafemlrm.text import for_terminal

    class Bars(Progress):
        """Bars that look at the tallies whenever they are drawn, so that the engine need not."""

        def get_renderables(self) -> Iterable[RenderableType]:
            for task in self.tasks:
                self._look(task.id, task.fields["cell"].tally)
            yield from super().get_renderables()

        def _look(self, task: TaskID, tally: Tally) -> None:
            speed = self.tasks[task].speed
            outcomes = (
                f"{f'{speed:,.0f}/s' if speed else '':>8} ok {tally.ok:,} "
                f"truncated {tally.truncated:,} blocked {tally.blocked:,} failed {tally.failed:,}"
            )
            self.update(task, completed=tally.ended, outcomes=outcomes)

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[outcomes]}"),
    )
    with Bars(*columns, console=console, refresh_per_second=4) as progress:
        for cell in plan.cells:
            name = for_terminal(" · ".join(part for part in cell.label if part != "none"))
            progress.add_task(name, total=cell.samples, cell=cell, outcomes="")
        yield


def _summary(plan: Plan, results: str) -> None:
    names = ("stored", "ok", "truncated", "blocked", "failed", "unscored")
    totals = {name: sum(getattr(cell.tally, name) for cell in plan.cells) for name in names}
    samples = sum(cell.samples for cell in plan.cells)
    say(
        f"{samples:,} samples: {totals['stored']:,} were in the store; now {totals['ok']:,} ok, "
        f"{totals['truncated']:,} truncated, {totals['blocked']:,} blocked by the provider, "
        f"{totals['failed']:,} failed; {totals['unscored']:,} texts the judge could not score"
    )
    if totals["failed"]:
        say("failures that may pass (timeouts, overload) are tried again by the next run")
    for cell in plan.cells:
        lost = cell.tally.not_applicable
        if lost or cell.tally.failed:
            name = " · ".join(cell.label)
            say(f"{name}: {lost:,} not sent, {cell.tally.failed:,} failed, for example:")
            for note in dict.fromkeys(cell.tally.notes[:3]):
                say(f"    {note}")
    say(f"next: safemlrm table asr {results}   safemlrm table coverage {results}")


def _report_skipped(plan: Plan) -> None:
    for subset in {id(cell.subset): cell.subset for cell in plan.cells}.values():
        for error in subset.skipped:
            say(f"skipped: {error}")


def _environment() -> dict[str, str]:
    import platform
    from importlib.metadata import version

    return {
        "opensafemlrm": version("opensafemlrm"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
