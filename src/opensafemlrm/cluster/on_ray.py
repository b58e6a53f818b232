"""A study on a cluster of Ray, which places the workers and starts them again."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import pickle
import platform
import tempfile
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from opensafemlrm.cluster.batches import max_workers
from opensafemlrm.cluster.driver import drive
from opensafemlrm.cluster.transfer import ImageTransfer, write_study
from opensafemlrm.cluster.worker import BatchResult, Setup, Worker, WorkerLostError
from opensafemlrm.engine.missing import MissingWork
from opensafemlrm.engine.plan import Plan
from opensafemlrm.errors import ClusterError, MissingExtraError, SafeMLRMError
from opensafemlrm.redaction import without_secrets, without_secrets_on_streams
from opensafemlrm.store import Store
from opensafemlrm.store.sink import Sink
from opensafemlrm.study import Study
from opensafemlrm.text import counted

_MAX_CALLS: Final = 1000
"""Calls that an actor takes at once; the driver sends far fewer."""
_PAUSE: Final = 0.5
_P = ParamSpec("_P")
_T = TypeVar("_T")


def _without_secrets_in_errors(
    method: Callable[_P, Awaitable[_T]],
) -> Callable[_P, Coroutine[Any, Any, _T]]:
    """Let ``method`` fail with a sentence without secrets: Ray keeps errors, and shows them."""

    @functools.wraps(method)
    async def call(*arguments: _P.args, **named: _P.kwargs) -> _T:
        try:
            return await method(*arguments, **named)
        except WorkerLostError:
            raise
        except Exception as error:  # noqa: BLE001 # raised again, as what may be told of it
            traceback.print_exc()
            raise ClusterError(without_secrets(f"{type(error).__name__}: {error}")) from None

    return call


class Actor:
    """A worker in a process of Ray's, which is its alone; what is printed there, Ray writes down.

    Nothing that leaves it holds a secret.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._started: Worker | None = None
        self._streams = contextlib.ExitStack()  # open as long as the process lives
        self._streams.enter_context(without_secrets_on_streams(has_results=False))

    @_without_secrets_in_errors
    async def ready(self) -> tuple[str, str, str]:
        """Return the worker's name, its version and its machine, or why there is none."""
        if self._started is None:
            try:
                self._started = Worker(self._setup)
            except SafeMLRMError as error:
                return "", str(error), platform.node()
        return self._started.name, self._started.version, platform.node()

    @_without_secrets_in_errors
    async def run(
        self, cell: int, work: MissingWork, images: Mapping[str, list[Any]]
    ) -> BatchResult:
        """Bring a batch up to date, after taking the images that this machine lacks."""
        for sha256 in self._worker.lacks(list(images)):
            (reference,) = images[sha256]
            self._worker.accept(sha256, await reference)
        return await self._worker.run(cell, work)

    @_without_secrets_in_errors
    async def call(self, method: str, *arguments: Any) -> Any:
        """Call one of the worker's other methods."""
        result = getattr(self._worker, method)(*arguments)
        return await result if inspect.isawaitable(result) else result

    @property
    def _worker(self) -> Worker:
        if self._started is None:
            raise WorkerLostError("it was started again")
        return self._started


class RayWorker:
    """The driver's handle of an actor."""

    def __init__(self, ray: Any, setup: Setup, gpus: float, transfer: ImageTransfer) -> None:
        self.number = setup.number
        self._ray, self._transfer = ray, transfer
        kind = ray.remote(Actor).options(
            num_cpus=1,
            num_gpus=gpus,
            max_restarts=-1,
            max_task_retries=0,  # what is lost is handed out anew, to whoever is there
            max_concurrency=_MAX_CALLS,
            scheduling_strategy="SPREAD",
        )
        self._actor = kind.remote(setup)

    async def ready(self) -> str:
        """Return the worker's name once there is one. Raises ClusterError where it is no use."""
        while True:
            try:
                name, worker_version, machine = await self._call(self._actor.ready.remote())
            except WorkerLostError:
                await asyncio.sleep(_PAUSE)
                continue
            if not name:
                reason = worker_version
                raise ClusterError(f"worker {self.number} on {machine}: {reason}")
            if worker_version != (own := version("opensafemlrm")):
                raise ClusterError(
                    f"worker {self.number} on {machine} has opensafemlrm {worker_version}, the "
                    f"driver has {own}: install the same version on every machine"
                )
            return str(name)

    async def run(self, cell: int, work: MissingWork) -> BatchResult:
        """Bring a batch up to date."""
        light, references = self._transfer.pack(work)
        # In lists, references travel as they are and are taken only where they are needed.
        boxed = {sha256: [reference] for sha256, reference in references.items()}
        result: BatchResult = await self._call(self._actor.run.remote(cell, light, boxed))
        return result

    async def images(self, hashes: Sequence[tuple[str, str]]) -> list[bytes]:
        """Return images that prompts made there hold."""
        images: list[bytes] = await self._call(self._actor.call.remote("images", list(hashes)))
        return images

    async def flush(self) -> int:
        """Write what is gathered to the sink."""
        return int(await self._call(self._actor.call.remote("flush")))

    async def release(self, cell: int) -> None:
        """Free a model."""
        await self._call(self._actor.call.remote("release", cell))

    async def stop(self) -> BatchResult:
        """End what is under way."""
        result: BatchResult = await self._call(self._actor.call.remote("stop"))
        return result

    async def aclose(self) -> None:
        """End the worker; one that cannot tidy up is ended all the same."""
        with contextlib.suppress(WorkerLostError, ClusterError, TimeoutError):
            await asyncio.wait_for(self._call(self._actor.call.remote("aclose")), 10)
        self._ray.kill(self._actor)

    async def _call(self, reference: Awaitable[_T]) -> _T:
        errors = self._ray.exceptions
        try:
            return await reference
        except WorkerLostError:
            raise
        except (errors.RayActorError, errors.ObjectLostError, errors.WorkerCrashedError) as error:
            raise WorkerLostError(str(error).strip().partition("\n")[0]) from error
        except errors.RayError as error:
            what = getattr(error, "cause", None) or error
            raise ClusterError(f"worker {self.number} failed: {what}") from error


LOCAL: Final = "local"


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where a study runs."""

    address: str = LOCAL
    """``local`` for this machine, ``auto``, or the address of a cluster's head."""
    workers: int = 1
    gpus_per_worker: float = 0.0
    parquet_out: str | None = None
    """Where results go as Parquet files, a folder or an address, in place of the store."""

    @property
    def sink(self) -> Sink | None:
        """What is written to ``parquet_out``."""
        return None if self.parquet_out is None else Sink(self.parquet_out)


async def run_on_ray(
    plan: Plan,
    store: Store,
    cluster: Cluster,
    *,
    logs: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Bring ``store``, or the cluster's sink, up to date with ``plan``, on workers of Ray.

    With a sink, ``store`` is a scratch store, which only tells what the sink has already. ``logs``
    is the folder for what workers say. Raises MissingExtraError without the extra ``[ray]``,
    ClusterError, and what :func:`drive` raises.
    """
    ray = require_ray()
    workers = min(cluster.workers, max_workers(plan.study) or cluster.workers)
    if workers < cluster.workers:
        say(f"{counted(workers, 'worker')}: no endpoint of the study takes more requests at once")
    study = _pickled(ray, plan.study)
    run = time.time()
    with _connected(ray, cluster, workers) as dashboard:
        say(f"ray: {counted(workers, 'worker')}; dashboard: {dashboard or 'none'}")
        # A name that nobody can guess: each machine makes the folder when its first worker starts.
        folder = Path(tempfile.gettempdir()) / f"opensafemlrm-{uuid.uuid4().hex}"
        transfer = ImageTransfer(ray, store, cluster.sink)
        handles = [
            RayWorker(
                ray,
                Setup(
                    study=study,
                    number=number,
                    workers=workers,
                    folder=folder,
                    directory=Path.cwd(),
                    run=run,
                    skip_invalid=any(cell.subset.skip_invalid for cell in plan.cells),
                    sink=cluster.parquet_out,
                    cells=tuple(cell.id for cell in plan.cells),
                    turn=plan.turn,
                ),
                cluster.gpus_per_worker,
                transfer,
            )
            for number in range(workers)
        ]
        try:
            if cluster.sink is not None:
                write_study(cluster.sink, plan, store, run)
            await drive(plan, store, handles, to_sink=cluster.sink is not None, logs=logs)
        finally:
            await asyncio.gather(*(handle.aclose() for handle in handles))


def _pickled(ray: Any, study: Study) -> bytes:
    """Pickle a study with what a notebook or a script defines for it."""
    try:
        data: bytes = ray.cloudpickle.dumps(study)
    except (pickle.PicklingError, TypeError, NotImplementedError) as error:
        raise ClusterError(
            f"the study cannot be sent to workers: {error}; the options of its components "
            "have to be such as can be pickled"
        ) from error
    return data


def require_ray() -> Any:
    """Return the module ``ray``. Raises MissingExtraError, which says how to install it."""
    try:
        import ray  # noqa: PLC0415 # an extra that takes seconds to import
    except ImportError as error:
        raise MissingExtraError("running on a cluster (Ray)", "ray") from error
    return ray


@contextlib.contextmanager
def _connected(ray: Any, cluster: Cluster, workers: int) -> Iterator[str]:
    """Connect to the cluster, or start one on this machine; yield the dashboard's address."""
    if ray.is_initialized():  # by whoever calls this from a program of theirs
        yield ""
        return
    options: dict[str, Any] = {
        "address": cluster.address,
        "log_to_driver": False,
        "logging_level": "ERROR",
    }
    if cluster.address == LOCAL:
        # Workers mostly wait: there may be more of them than processors.
        options["num_cpus"] = max(workers, os.cpu_count() or 1)
    try:
        context = ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ClusterError(f"no cluster of Ray at {cluster.address}: {error}") from error
    try:
        url = context.dashboard_url
        yield f"http://{url}" if url else ""
    finally:
        ray.shutdown()
