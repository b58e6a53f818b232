"""``safemlrm run``: run the evaluation that a study describes."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._complete import models, option_of
from opensafemlrm.cli._console import LOUDNESS, ExitCode, fail, say, say_next
from opensafemlrm.cli._dry_run import show_dry_run
from opensafemlrm.cli._main_group import Command as PlainCommand
from opensafemlrm.cli._option import ADVICE, judge_spec, judges_by_option
from opensafemlrm.cli._output import FormatOption, MaxCost, MaxRequests, PricesOption, show
from opensafemlrm.cli._summary import exceeded, gave_nothing, run_table, shares, summarize
from opensafemlrm.errors import BudgetSpentError, OptionError, StoppedError, StoreError
from opensafemlrm.selection import narrowed
from opensafemlrm.text import Format

_ALL_FAILED = "all"
_OURS = {"images", "lock", "report", "watch"}
"""What a store that was never filled may hold."""
_STUDIES = {".yaml", ".yml"}


class Command(PlainCommand):
    """The command, of which one option may stand without its value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the value that was left out, then parse."""
        alone = "--retry-failed"
        return super().parse_args(ctx, [f"{a}={_ALL_FAILED}" if a == alone else a for a in args])


def run(
    study: Annotated[Path, typer.Argument(help="The study file (YAML).")],
    store: Annotated[
        Path | None,
        typer.Option(
            help="The folder for the results; made if needed. "
            "[required, except with --parquet-out]",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the planned requests and exit.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Take at most this many items of a dataset, over its scenarios."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Run only this model of the study; repeatable.", autocompletion=models),
    ] = None,
    dataset: Annotated[
        list[str] | None, option_of("dataset", "Run only this dataset; repeatable.")
    ] = None,
    attack: Annotated[
        list[str] | None, option_of("attack", "Run only this attack; repeatable.")
    ] = None,
    defense: Annotated[
        list[str] | None, option_of("defense", "Run only this defense; repeatable.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Run only this cell, by its id in --dry-run; repeatable."),
    ] = None,
    judge: Annotated[
        list[str] | None,
        option_of(
            "judge",
            "Judge by this in place of the study's judges; repeatable.",
            metavar="NAME[=MODEL]",
        ),
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave bad rows and images out; name each.")
    ] = False,
    retry_failed: Annotated[
        list[str] | None,
        typer.Option(
            "--retry-failed",
            metavar="[=CODE]",
            help="Ask again even for what the server refused for good, and judge again what has no "
            "score; "
            "--retry-failed=CODE: only what `table coverage` shows with that code (http_400, "
            "unparsed). May be repeated.",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Run one part of the items: 1/8 to 8/8 in eight runs, each with a store of its "
            "own, for `safemlrm merge`.",
        ),
    ] = None,
    max_requests: MaxRequests = None,
    max_cost: MaxCost = None,
    max_time: Annotated[
        float | None, typer.Option(min=0, help="Stop after this many minutes.")
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            metavar="KIND=SHARE,…",
            help="End with 4 where more of a cell is missing: unscored=10%,failed=5%; also "
            "blocked, truncated.",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="local|auto|ADDRESS",
            help="Run on a Ray cluster; local starts one on this machine.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="With --ray: the number of workers.")] = 1,
    gpus_per_worker: Annotated[
        float, typer.Option(min=0, help="With --ray: GPUs for each worker alone.")
    ] = 0,
    parquet_out: Annotated[
        str | None,
        typer.Option(help="With --ray: write Parquet files to this folder or URL, not a store."),
    ] = None,
    prices: PricesOption = None,
    to: FormatOption = Format.TEXT,
) -> None:
    """Run the evaluation.

    It asks the models, judges the replies and keeps everything in the store. What is there already
    is not asked again: stop it any time, add to the study, and run it again. So a small run first,
    with --limit, --model and the like, is the beginning of the whole one.
    """
    if (store is None) == (parquet_out is None):
        raise typer.BadParameter("name the results with --store, or with --ray and --parquet-out")
    if parquet_out is not None and ray is None:
        raise typer.BadParameter("--parquet-out is for runs with --ray")
    fail_limits = shares(fail_on)
    limits = lazy.Limits(max_requests, max_cost, None if max_time is None else 60 * max_time)
    if limits.any and ray is not None:
        raise typer.BadParameter("--max-requests, --max-cost, --max-time are for one process")
    cluster = None
    if ray is not None:
        cluster = lazy.Cluster(ray, workers, gpus_per_worker, parquet_out)
    if store is not None:
        refuse_other_folder(store)
    codes = retry_failed or []
    names = {"models": model, "datasets": dataset, "attacks": attack, "defenses": defense}
    specs = [judge_spec(text) for text in judge or []]
    with judges_by_option(judge or []):
        chosen = narrowed(lazy.study.load(study), names, limit=limit, judges=specs)
    if prices is not None:
        table = lazy.Prices.read(prices)
        for sentence in table.strangers(chosen.components):
            say(f"{prices}: {sentence}")
        chosen = chosen.map_models(table.over)
    plan = lazy.api.make_plan(
        chosen,
        limits=limits,
        skip_invalid=skip_invalid,
        retry_failed=_ALL_FAILED in codes or codes,
        shard=shard,
    )
    if only:
        plan = plan.only(only)
    _report_absent(plan, store)
    _report_skipped(plan)
    report_reversed(plan)
    if dry_run:
        show_dry_run(plan, store, cluster, to)
    else:
        run_and_report(plan, store, cluster, fail_limits, to=to)


def run_and_report(
    plan: lazy.Plan,
    store: Path | None,
    cluster: lazy.Cluster | None = None,
    fail_limits: Mapping[str, float] = MappingProxyType({}),
    *,
    to: Format = Format.TEXT,
    figures: Callable[[], Sequence[lazy.Table]] = tuple,
    tables: Sequence[str] = ("asr", "coverage"),
    more: Sequence[str] = (),
) -> None:
    """Run a plan with progress bars, and say how it went; everything that came is kept.

    ``figures`` gives tables of what came of it, which text has where it went well, and every other
    format after a row for each cell and judge. ``tables`` and the commands ``more`` are named to go
    on with. Exits with INTERRUPTED, BUDGET_SPENT, UNUSABLE where a model or the judge had to be
    stopped or gave nothing, or FAIL_ON where a cell exceeds one of ``fail_limits``.
    """
    turns = plan.turns()
    ended, code = run_to_end(turns, store, cluster)
    results = str(store or (cluster and cluster.parquet_out))
    summarize(turns, results, whole=code == ExitCode.DONE)
    if to is not Format.TEXT:
        show([run_table(turns), *figures()], to)
    for alarm in [*lazy.api.outages(plan.study), *lazy.api.alarms(results)]:
        say(f"look at this: {alarm}")
    steps = [f"table {name} {results}" for name in tables]
    if code == ExitCode.UNUSABLE:
        fail(ended)
        say(ADVICE)
    elif ended:
        say(f"{ended}: {ADVICE}")
    elif empty := list(gave_nothing(plan)):
        code = ExitCode.UNUSABLE
        for sentence in empty:
            fail(sentence)
    elif fail_limits and (missing := list(exceeded(plan, results, fail_limits))):
        code = ExitCode.FAIL_ON
        for sentence in missing:
            fail(sentence)
    if code:
        say_next(*steps, title="what there is:")
        raise typer.Exit(code)
    if to is Format.TEXT:
        show([table for table in figures() if len(table.frame)])
    say_next(*steps, *more)


def run_to_end(
    turns: Sequence[lazy.Plan], store: Path | None, cluster: lazy.Cluster | None = None
) -> tuple[str, ExitCode]:
    """Run plans with progress bars; return what ended it early, if anything did, and the code."""
    try:
        with _sigterm_interrupts():
            lazy.api.run_blocking(
                lazy.api.run_turns(turns, store, cluster=cluster, progress=not LOUDNESS.quiet)
            )
    except KeyboardInterrupt:
        return "interrupted", ExitCode.INTERRUPTED
    except BudgetSpentError as spent:
        return str(spent), ExitCode.BUDGET_SPENT
    except StoppedError as stopped:
        return str(stopped), ExitCode.UNUSABLE
    return "", ExitCode.DONE


def refuse_other_folder(store: Path) -> None:
    """Raise StoreError for a folder that holds other things and no store."""
    if not store.is_dir() or (store / lazy.DATABASE).exists():
        return
    others = sorted(
        path.name
        for path in store.iterdir()
        if path.name not in _OURS
        and path.suffix not in _STUDIES
        and not path.name.startswith((".", lazy.DATABASE))
    )
    if others:
        raise StoreError(
            f"{store}: this folder holds other files ({others[0]!r}) and no store; name a folder "
            "that is new or empty"
        )


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    # A run that a script starts in the background is born to ignore SIGINT, and with it this.
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _report_absent(plan: lazy.Plan, store: Path | None) -> None:
    """Say which codes the store does not have. Raises BadParameter for one that nothing has."""
    if store is None or not plan.again.codes:
        return
    codes = set[str]()
    if (store / lazy.DATABASE).is_file():
        with lazy.Store.open(store) as opened:
            codes = lazy.failure_codes(opened)
    try:
        absent = plan.again.absent(codes)
    except OptionError as error:
        raise typer.BadParameter(str(error)) from error
    for code in absent:
        there = ", ".join(sorted(codes)) or "none"
        say(f"no failure has the code {code}; the store's failures have: {there}")


def _report_skipped(plan: lazy.Plan) -> None:
    for subset in {id(cell.subset): cell.subset for cell in plan.cells}.values():
        for error in subset.skipped:
            say(f"skipped: {error}")


def report_reversed(plan: lazy.Plan) -> None:
    """Say which pairs of a study are the wrong way round."""
    for first, second in lazy.catalog.reversed_among(plan.study.pairs):
        say(
            f"look at this: the study names the base {first.label} before its reasoning model; "
            f"write the pair as [{second.label}, {first.label}]"
        )
