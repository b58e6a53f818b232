"""``safemlrm run``: run the evaluation that a study describes."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from opensafemlrm.cli._console import fail, say
from opensafemlrm.cli._exit_codes import ExitCode
from opensafemlrm.cli._fail_on import exceeded, shares
from opensafemlrm.errors import BudgetSpentError, OptionError, StoppedError, StoreError

if TYPE_CHECKING:
    from opensafemlrm.cluster import Cluster
    from opensafemlrm.engine import Plan, Tally

_ALL_FAILED = "all"
_LOST = {"not_applicable": "not sent", "blocked": "blocked by the provider"}
_OURS = {"images", "lock", "report"}
"""What a store that was never filled may hold."""
_STUDIES = {".yaml", ".yml"}


class _Run(TyperCommand):
    """The command, of which one option may stand without its value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the value that was left out, then parse."""
        alone = "--retry-failed"
        return super().parse_args(ctx, [f"{a}={_ALL_FAILED}" if a == alone else a for a in args])


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run", cls=_Run)(run)


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
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave bad rows and images out; name each.")
    ] = False,
    retry_failed: Annotated[
        list[str] | None,
        typer.Option(
            "--retry-failed",
            metavar="[=CODE]",
            help="Ask again for what failed for good too, and judge again what has no score; "
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
    max_requests: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many requests to models and judges.")
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="Stop at this many US dollars, by models' prices.")
    ] = None,
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
) -> None:
    """Run the evaluation.

    It asks the models, judges the replies and keeps everything in the store. What is there already
    is not asked again: stop it any time, add to the study, and run it again.
    """
    from opensafemlrm import api
    from opensafemlrm import study as studies
    from opensafemlrm.cli._dry_run import show_dry_run
    from opensafemlrm.models.budget import Limits

    if (store is None) == (parquet_out is None):
        raise typer.BadParameter("name the results with --store, or with --ray and --parquet-out")
    if parquet_out is not None and ray is None:
        raise typer.BadParameter("--parquet-out is for runs with --ray")
    fail_limits = shares(fail_on)
    limits = Limits(max_requests, max_cost, None if max_time is None else 60 * max_time)
    if limits.any and ray is not None:
        raise typer.BadParameter("--max-requests, --max-cost, --max-time are for one process")
    cluster = None
    if ray is not None:
        from opensafemlrm.cluster import Cluster

        cluster = Cluster(ray, workers, gpus_per_worker, parquet_out)
    if store is not None:
        refuse_other_folder(store)
    codes = retry_failed or []
    plan = api.make_plan(
        studies.load(study),
        limits=limits,
        skip_invalid=skip_invalid,
        retry_failed=_ALL_FAILED in codes or codes,
        shard=shard,
    )
    _report_absent(plan, store)
    _report_skipped(plan)
    report_reversed(plan)
    if dry_run:
        show_dry_run(plan, store, cluster)
    else:
        run_and_report(plan, store, cluster, fail_limits)


def run_and_report(
    plan: Plan,
    store: Path | None,
    cluster: Cluster | None = None,
    fail_limits: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Run a plan with progress bars, and say how it went; everything that came is kept.

    Exits with INTERRUPTED, BUDGET_SPENT, UNUSABLE where a model or the judge had to be stopped or
    gave nothing, or FAIL_ON where a cell exceeds one of ``fail_limits``.
    """
    from opensafemlrm import api

    ended, code = "", ExitCode.DONE
    try:
        with _sigterm_interrupts():
            api.run_blocking(api.run_plan(plan, store, cluster=cluster))
    except KeyboardInterrupt:
        ended, code = "interrupted", ExitCode.INTERRUPTED
    except BudgetSpentError as spent:
        ended, code = str(spent), ExitCode.BUDGET_SPENT
    except StoppedError as stopped:
        ended, code = str(stopped), ExitCode.UNUSABLE
    results = str(store or (cluster and cluster.parquet_out))
    _summary(plan, results, whole=code == ExitCode.DONE)
    for alarm in api.alarms(results):
        say(f"look at this: {alarm}")
    tables = f"safemlrm table asr {results}   safemlrm table coverage {results}"
    advice = "everything that came is kept; run the same command to go on"
    if code == ExitCode.UNUSABLE:
        fail(ended)
        say(advice)
    elif ended:
        say(f"{ended}: {advice}")
    elif empty := list(_gave_nothing(plan)):
        code = ExitCode.UNUSABLE
        for sentence in empty:
            fail(sentence)
    elif fail_limits and (missing := list(exceeded(plan, results, fail_limits))):
        code = ExitCode.FAIL_ON
        for sentence in missing:
            fail(sentence)
    say(f"next: {tables}" if code == ExitCode.DONE else f"what there is: {tables}")
    if code:
        raise typer.Exit(code)


def _gave_nothing(plan: Plan) -> Iterator[str]:
    """Yield a sentence for each model that has given no usable reply, in this run or before, also
    with one of its defenses alone, and for each that was sent nothing.
    """
    by_model = plan.by_model()
    for label, tally in by_model.items():
        cells = [cell for cell in plan.cells if cell.model.label == label]
        if not sum(cell.samples for cell in cells):
            if cells[0].subset.shard is None:  # of few items, a shard may have none
                yield f"no item is left to send to the model {label}"
        elif tally.only_unsent:
            yield f"no prompt could be sent to the model {label}{_example(tally)}"
        elif tally.only_failed:
            yield f"every sample of the model {label} failed{_example(tally)}"
    for (label, defense), tally in plan.by_defense().items():
        if tally.only_failed and not by_model[label].only_failed:
            yield f"every sample of the model {label} with {defense} failed{_example(tally)}"


def _example(tally: Tally) -> str:
    return f", for example: {tally.notes[0]}" if tally.notes else ""


def refuse_other_folder(store: Path) -> None:
    """Raise StoreError for a folder that holds other things and no store."""
    from opensafemlrm.store import DATABASE

    if not store.is_dir() or (store / DATABASE).exists():
        return
    others = sorted(
        path.name
        for path in store.iterdir()
        if path.name not in _OURS
        and path.suffix not in _STUDIES
        and not path.name.startswith((".", DATABASE))
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


def _summary(plan: Plan, results: str, *, whole: bool) -> None:
    """Say what came of replies and of verdicts; ``whole``: the store was read to its end."""
    names = (
        *("stored_replies", "stored_judged", "stored_unjudged", "stored_failed", "made", "ok"),
        *("truncated", "blocked", "failed", "judged", "unscored", "not_applicable", "unpriced"),
        "speaking",
        "spared",
        "dollars",
    )
    total = {name: sum(getattr(cell.tally, name) for cell in plan.cells) for name in names}
    to_judge = total["stored_unjudged"] + total["ok"] + total["truncated"] - total["judged"]
    if not whole and (counted := _standing(plan, Path(results))) is not None:
        replies, judged, to_judge = counted
        total["stored_replies"] = replies - total["made"]
        # What a judge that gave nothing left unscored is judged again, so it counts as left.
        total["judged"] = min(total["judged"], judged)
        total["stored_judged"] = judged - total["judged"]
    samples = sum(cell.samples for cell in plan.cells)
    had, made, failed = (total[name] for name in ("stored_replies", "made", "failed"))
    for_good = total["stored_failed"]
    left = samples - had - made - failed - for_good - total["not_applicable"]
    left -= total["spared"]
    before = f" ({for_good:,} more had failed for good before)" if for_good else ""
    kinds = {"ok": "ok", "truncated": "truncated", "blocked": "blocked by the provider"}
    came = ", ".join(f"{total[name]:,} {kind}" for name, kind in kinds.items() if total[name])
    say(
        f"replies: {samples:,} asked for; {had:,} were in the store, {made:,} made now"
        f"{f' ({came})' if came else ''}, {failed:,} failed{before}, {left:,} left"
    )
    if total["spared"]:
        say(
            f"stopped early: {total['spared']:,} of the samples asked for are not needed "
            f"(`safemlrm table stopping {results}`)"
        )
    unscored = total["unscored"]
    say(
        f"verdicts: {total['stored_judged']:,} replies had them, {total['judged']:,} were judged "
        f"now, {to_judge:,} are left to judge"
        f"{f'; {unscored:,} texts the judge could not score' if unscored else ''}"
    )
    if total["speaking"]:
        say(
            f"look at this: {total['speaking']:,} texts speak to the judge, by their words; "
            "`safemlrm calibrate --probe` measures what comes of that"
        )
    if total["dollars"]:
        least = "at least " if total["unpriced"] else ""
        say(f"cost: {least}{total['dollars']:,.2f} US dollars, by the models' prices")
    if failed:
        say(
            "the next run asks again for what failed, after all else; with --retry-failed also for "
            "what a server turned down while it answered others"
        )
    for cell in plan.cells:
        ends = ("not_applicable", "failed", "blocked")
        lost = [(name, n) for name in ends if (n := getattr(cell.tally, name))]
        if lost:
            words = ", ".join(f"{n:,} {_LOST.get(name, name)}" for name, n in lost)
            say(f"{' · '.join(cell.label)}: {words}, for example:")
            for note in dict.fromkeys(cell.tally.notes[:3]):
                say(f"    {note}")


def _standing(plan: Plan, store: Path) -> tuple[int, int, int] | None:
    """Count the replies in a store, judged and not; ``None`` where there is none to count."""
    from opensafemlrm.engine import standing
    from opensafemlrm.store import DATABASE, Store

    if not (store / DATABASE).is_file():
        return None
    with Store.open(store) as opened:
        counts = [standing(plan, cell, opened.connection) for cell in plan.cells]
    return (
        sum(count.replies for count in counts),
        sum(count.judged for count in counts),
        sum(count.unjudged for count in counts),
    )


def _report_absent(plan: Plan, store: Path | None) -> None:
    """Say which codes the store does not have. Raises BadParameter for one that nothing has."""
    from opensafemlrm.store import DATABASE, Store
    from opensafemlrm.store.reopening import failure_codes

    if store is None or not plan.again.codes:
        return
    codes = set[str]()
    if (store / DATABASE).is_file():
        with Store.open(store) as opened:
            codes = failure_codes(opened)
    try:
        absent = plan.again.absent(codes)
    except OptionError as error:
        raise typer.BadParameter(str(error)) from error
    for code in absent:
        there = ", ".join(sorted(codes)) or "none"
        say(f"no failure has the code {code}; the store's failures have: {there}")


def _report_skipped(plan: Plan) -> None:
    for subset in {id(cell.subset): cell.subset for cell in plan.cells}.values():
        for error in subset.skipped:
            say(f"skipped: {error}")


def report_reversed(plan: Plan) -> None:
    """Say which pairs of a study are the wrong way round."""
    from opensafemlrm.models.catalog import reversed_among

    for first, second in reversed_among(plan.study.pairs):
        say(
            f"look at this: {first.label} is the base of {second.label}, and the study names it "
            f"first; write the pair as [{second.label}, {first.label}]"
        )
