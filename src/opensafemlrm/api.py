"""One evaluation from end to end: a study in, results out. The command line calls this too."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opensafemlrm import engine
from opensafemlrm.components import models_in
from opensafemlrm.engine import Again, Plan
from opensafemlrm.errors import OptionError, StoppedError, StudyError
from opensafemlrm.models.budget import Budget, Limits
from opensafemlrm.progress import progress as shown_progress
from opensafemlrm.redaction import without_secrets
from opensafemlrm.results import Results
from opensafemlrm.store import DATABASE, Store
from opensafemlrm.store.known import failure_codes
from opensafemlrm.study import Study
from opensafemlrm.subset import Shard
from opensafemlrm.text import for_terminal

if TYPE_CHECKING:
    from opensafemlrm.cluster import Cluster

_T = TypeVar("_T")
_UNLIMITED: Final = Limits()
_POLL: Final = 0.5
"""Seconds until a thread that waits for another one looks for Ctrl-C, which Windows needs."""


def evaluate(  # noqa: PLR0913 # what a run can be told
    study: Study,
    store: Path | str | None = None,
    *,
    cluster: Cluster | None = None,
    limits: Limits = _UNLIMITED,
    skip_invalid: bool = False,
    retry_failed: bool | str | Collection[str] = False,
    shard: str | None = None,
    progress: bool = True,
) -> Results:
    """Run what ``store`` lacks of ``study``, and return what the store then holds.

    It works inside a running event loop too, such as a notebook's. The options and the errors are
    those of :func:`aevaluate`.
    """
    return run_blocking(
        aevaluate(
            study,
            store,
            cluster=cluster,
            limits=limits,
            skip_invalid=skip_invalid,
            retry_failed=retry_failed,
            shard=shard,
            progress=progress,
        )
    )


async def aevaluate(  # noqa: PLR0913 # what a run can be told
    study: Study,
    store: Path | str | None = None,
    *,
    cluster: Cluster | None = None,
    limits: Limits = _UNLIMITED,
    skip_invalid: bool = False,
    retry_failed: bool | str | Collection[str] = False,
    shard: str | None = None,
    progress: bool = True,
) -> Results:
    """Run what ``store`` lacks of ``study``, and return what the store then holds.

    ``store`` is a folder, made where there is none; leave it out where ``cluster`` writes Parquet
    files. ``cluster`` runs the study on workers of Ray. ``limits`` end it early, with
    BudgetSpentError. With ``skip_invalid``, bad rows and images of a dataset are left out; without,
    the first one raises DatasetError. ``retry_failed`` asks again for what failed for good too, and
    judges again what the judge could not score: all of it, or what has one of the codes named, as
    coverage shows them. ``shard`` runs a part of the items, ``"2/8"`` the second of eight: eight
    runs into stores of their own, merged, are one whole run. ``progress`` shows how far it is: in a
    terminal, in a notebook, and every 30 seconds in a line elsewhere.

    However it ends, what came is kept, and the same call goes on from there. A reply that failed is
    data; a SafeMLRMError says that going on is of no use.
    """
    if cluster is not None and limits.any:
        raise OptionError("limits are for a run in one process, not for one on a cluster")
    plan = make_plan(
        study, limits=limits, skip_invalid=skip_invalid, retry_failed=retry_failed, shard=shard
    )
    return await run_turns(plan.turns(), store, cluster=cluster, progress=progress)


def make_plan(
    study: Study,
    *,
    limits: Limits = _UNLIMITED,
    skip_invalid: bool = False,
    retry_failed: bool | str | Collection[str] = False,
    shard: str | None = None,
) -> Plan:
    """Lay out the cells of ``study``, with all its models under one budget if there are limits."""
    given: object = study
    if not isinstance(given, Study):
        raise StudyError(f"{given!r} is no Study: load_study reads one of a file, Study makes one")
    if limits.any:
        study = study.map_models(Budget(limits).over)
    part = None if shard is None else Shard.parse(shard)
    return Plan.of(study, skip_invalid=skip_invalid, again=Again.of(retry_failed), shard=part)


async def run_turns(
    turns: Sequence[Plan],
    store: Path | str | None = None,
    *,
    cluster: Cluster | None = None,
    progress: bool = True,
) -> Results:
    """Run the turns of a study's judges; where a model or a judge is stopped, the next one goes on.

    The first StoppedError is raised at the end, StudyError before anything is made.
    """
    if cluster is None:
        check_ready(turns, store)
    stopped = []
    results = None
    for turn in turns:
        try:
            results = await run_plan(turn, store, cluster=cluster, progress=progress)
        except StoppedError as error:
            stopped.append(error)
    if results is None or stopped:
        raise stopped[0]
    return results


def check_ready(turns: Sequence[Plan], store: Path | str | None) -> None:
    """Raise StudyError, naming every key and extra that a run needs and does not have.

    The store is only read, if it is there. On a cluster that is for its workers to tell.
    """
    with contextlib.ExitStack() as stack:
        connection = None
        if store is not None and (Path(store) / DATABASE).is_file():
            connection = stack.enter_context(Store.open(store)).connection
        if mistakes := engine.not_ready(turns, connection):
            raise StudyError(*mistakes)


async def run_plan(
    plan: Plan,
    store: Path | str | None = None,
    *,
    cluster: Cluster | None = None,
    progress: bool = True,
) -> Results:
    """Run what is missing of a plan; its tallies say meanwhile how far it is."""
    watching = shown_progress(plan.cells) if progress else contextlib.nullcontext()
    with opened(plan, store, cluster) as target, watching:
        plan.again.absent(failure_codes(target))
        environment = {
            "opensafemlrm": version("opensafemlrm"),
            "python": platform.python_version(),
            "platform": platform.platform(),
        }
        number = target.start_run(plan.study.text, environment)
        if cluster is None:
            try:
                await engine.evaluate(plan, target)
            finally:
                if sentences := outages(plan.study):
                    target.note_of_run(number, environment | {"outages": "; ".join(sentences)})
        else:
            from opensafemlrm.cluster import run_on_ray  # noqa: PLC0415 # an extra

            folder = target.path if cluster.sink is None else cluster.sink.folder
            logs = None if folder is None else folder / "logs"
            await run_on_ray(plan, target, cluster, logs=logs, say=_say)
        target.end_run(number)
    return Results(str(store) if cluster is None else cluster.parquet_out or str(store))


def outages(study: Study) -> list[str]:
    """Return a sentence for each of a model's several servers that was out while others answered.

    It is known in the process that asked them: a cluster's workers keep it to themselves.
    """
    models = {id(model): model for one in study.components for model in models_in(one)}
    return list(dict.fromkeys(text for model in models.values() for text in model.outages()))


def alarms(results: Path | str) -> list[str]:
    """Return what makes results doubtful, a sentence each; see :meth:`Results.alarms`."""
    return Results(results).alarms()


@contextlib.contextmanager
def opened(plan: Plan, store: Path | str | None, cluster: Cluster | None) -> Iterator[Store]:
    """Open the store that a run writes to.

    Where a cluster writes Parquet files, it is a scratch one, which knows what they hold already.
    """
    if cluster is not None:
        if cluster.sink is not None and plan.study.stop is not None:
            raise OptionError("a study with `stop` reads what came so far: write to a store")
        from opensafemlrm.cluster.on_ray import require_ray  # noqa: PLC0415 # an extra
        from opensafemlrm.cluster.transfer import fill_scratch  # noqa: PLC0415 # an extra

        require_ray()
        if cluster.sink is not None and store is None:
            with (
                tempfile.TemporaryDirectory(prefix="opensafemlrm-") as folder,
                Store.open(Path(folder) / "known", "create") as scratch,
            ):
                fill_scratch(cluster.sink, scratch, plan.judge_key)
                yield scratch
            return
    if store is None or (cluster is not None and cluster.sink is not None):
        raise OptionError("say where results go: a store, or a cluster with parquet_out, not both")
    with Store.open(store, "create") as target:
        yield target


def run_blocking(main: Coroutine[Any, Any, _T]) -> _T:
    """Run ``main`` to its end: in a thread where an event loop runs already; Ctrl-C cancels it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(main)
    started = threading.Event()
    running: list[Callable[[], object]] = []

    async def cancellable() -> _T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        if task is not None:
            running.append(lambda: loop.call_soon_threadsafe(task.cancel))
        started.set()
        return await main

    with ThreadPoolExecutor(1, "evaluate") as thread:
        future = thread.submit(_run, cancellable())
        try:
            while not wait([future], _POLL).done:
                pass
        except KeyboardInterrupt:
            started.wait()
            for cancel in running:
                with contextlib.suppress(RuntimeError):  # it has just ended by itself
                    cancel()
            raise  # once the thread has ended, with everything kept
        return future.result()


def _run(main: Coroutine[Any, Any, _T]) -> _T:
    factory: Callable[[], asyncio.AbstractEventLoop] | None
    try:
        from uvloop import new_event_loop as factory  # noqa: PLC0415 # not there on Windows
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def _say(message: str) -> None:
    sys.stderr.write(for_terminal(without_secrets(message)) + "\n")
