"""Workers as actors of Ray, which places them, starts them again and carries what they say."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import platform
import tempfile
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from opensafemlrm.cluster.driver import drive
from opensafemlrm.cluster.image_transfer import packed
from opensafemlrm.cluster.quotas import most_workers
from opensafemlrm.cluster.worker import Done, Setup, Worker, WorkerLostError
from opensafemlrm.engine.missing import MissingWork
from opensafemlrm.engine.plan import Plan
from opensafemlrm.errors import ClusterError, ImageError, MissingExtraError, SafeMLRMError
from opensafemlrm.images import read
from opensafemlrm.store import Store
from opensafemlrm.store.sink import Sink
from opensafemlrm.store.sink_reader import Scan, load
from opensafemlrm.store.tables import RUNS, STUDY_TABLES
from opensafemlrm.study import Study
from opensafemlrm.types import Image

LOCAL: Final = "local"
_AT_ONCE: Final = 1000
"""Calls that an actor takes while others run; the driver sends far fewer."""
_MAX_SHIPPED: Final = 1024
"""Images that are held ready in Ray's object store."""
_PAUSE: Final = 0.5
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where a study runs."""

    address: str = LOCAL
    """``local`` for this machine, ``auto``, or the address of a cluster's head."""
    workers: int = 1
    gpus_per_worker: float = 0.0
    parquet_out: str | None = None
    """Where results go as Parquet files, a folder or an address, in the place of the store."""

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
    workers = min(cluster.workers, most_workers(plan.study) or cluster.workers)
    if workers < cluster.workers:
        say(f"{workers} workers: an endpoint of the study takes no more requests at once than that")
    study = _pickled(ray, plan.study)
    run = time.time()
    with _connected(ray, cluster, workers) as dashboard:
        say(f"ray: {workers} workers; dashboard: {dashboard or 'none'}")
        folder = Path(tempfile.gettempdir()) / f"opensafemlrm-{int(run * 1000):x}"
        hands = [
            _RayHand(
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
                ),
                cluster.gpus_per_worker,
                ImageTransfer(ray, store, cluster.sink),
            )
            for number in range(workers)
        ]
        try:
            if cluster.sink is not None:
                _begin(cluster.sink, plan, store, run)
            await drive(plan, store, hands, to_sink=cluster.sink is not None, logs=logs)
        finally:
            await asyncio.gather(*(hand.aclose() for hand in hands))


def _pickled(ray: Any, study: Study) -> bytes:
    """Pickle a study with what a notebook or a script defines for it."""
    try:
        data: bytes = ray.cloudpickle.dumps(study)
    except (pickle.PicklingError, TypeError, NotImplementedError) as error:
        raise ClusterError(
            f"the study cannot be sent to workers: {error}; a component that holds more than its "
            "options needs `__reduce__ = opensafemlrm.types.reduce_to_options`"
        ) from error
    return data


def fill_scratch(sink: Sink, store: Store, judge: bytes) -> None:
    """Bring into ``store`` what a run has to know of a sink: which samples are done."""
    if sink.exists:
        load(Scan(sink), store, judged_by=judge)


def _begin(sink: Sink, plan: Plan, store: Store, run: float) -> None:
    """Write what the study is made of as the run's first part."""
    plan.register(store)
    tables = (*STUDY_TABLES, RUNS)
    rows = {table.name: store.connection.execute(table.select()).fetchall() for table in tables}
    sink.write(rows, run)


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


class ImageTransfer:
    """Puts images into Ray's object store, once each, from where every machine takes them once."""

    def __init__(self, ray: Any, store: Store, sink: Sink | None) -> None:
        self._ray, self._store, self._sink = ray, store, sink
        self._shipped: OrderedDict[str, Any] = OrderedDict()

    def load(self, wanted: MissingWork) -> tuple[MissingWork, dict[str, Any]]:
        """Return ``wanted`` without images, and references to their bytes by hash."""
        light, images = packed(wanted, self._stored)
        references = {}
        for sha256, image in images.items():
            # The worker misses an image that is gone, and says so as one process would.
            with contextlib.suppress(ImageError):
                references[sha256] = self._reference(image)
        return light, references

    def _reference(self, image: Image) -> Any:
        reference = self._shipped.get(image.sha256)
        if reference is None:
            reference = self._shipped[image.sha256] = self._ray.put(read(image))
            if len(self._shipped) > _MAX_SHIPPED:
                self._shipped.popitem(last=False)
        return reference

    def _stored(self, record: Mapping[str, Any]) -> Image:
        image = self._store.image(record)
        if (
            self._sink is not None
            and not self._store.image_path(image.sha256, image.media_type).exists()
        ):
            return Image(**record, source=self._sink.image(image.sha256, image.media_type))
        return image


class Actor:
    """A worker in a process of Ray's."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._worker: Worker | None = None

    async def ready(self) -> tuple[str, str, str]:
        """Return the worker's name, its version and its machine, or why there is none."""
        if self._worker is None:
            try:
                self._worker = Worker(self._setup)
            except SafeMLRMError as error:
                return "", str(error), platform.node()
        return self._worker.name, self._worker.versions, platform.node()

    async def do(self, number: int, wanted: MissingWork, images: Mapping[str, list[Any]]) -> Done:
        """Bring a piece up to date, after taking the images that this machine lacks."""
        for sha256 in self._its.lacks(list(images)):
            (reference,) = images[sha256]
            self._its.accept(sha256, await reference)
        return await self._its.do(number, wanted)

    async def images(self, hashes: Sequence[tuple[str, str]]) -> list[bytes]:
        """Return images that prompts made here hold."""
        return self._its.images(hashes)

    async def flush(self) -> int:
        """Write what is gathered to the sink."""
        return await self._its.flush()

    async def release(self, number: int) -> None:
        """Free a model."""
        await self._its.release(number)

    async def stop(self) -> Done:
        """End what is under way."""
        return await self._its.stop()

    async def aclose(self) -> None:
        """Close models, and remove what was only for this run."""
        await self._its.aclose()

    @property
    def _its(self) -> Worker:
        if self._worker is None:
            raise WorkerLostError("it was started again")
        return self._worker


class _RayHand:
    """One worker: an actor that Ray starts again, perhaps elsewhere, when it is lost."""

    def __init__(self, ray: Any, setup: Setup, gpus: float, freight: ImageTransfer) -> None:
        self.number = setup.number
        self._ray, self._freight, self._version = ray, freight, ""
        kind = ray.remote(Actor).options(
            num_cpus=1,
            num_gpus=gpus,
            max_restarts=-1,
            max_task_retries=0,  # what is lost is handed out anew, to whoever is there
            max_concurrency=_AT_ONCE,
            scheduling_strategy="SPREAD",
        )
        self._actor = kind.remote(setup)

    async def ready(self) -> str:
        """Return which worker it is once there is one."""
        from importlib.metadata import version  # noqa: PLC0415 # only here

        while True:
            try:
                name, said, machine = await self._call(self._actor.ready.remote())
            except WorkerLostError:
                await asyncio.sleep(_PAUSE)
                continue
            if not name:
                raise ClusterError(f"worker {self.number} on {machine}: {said}")
            if said != version("opensafemlrm"):
                raise ClusterError(
                    f"worker {self.number} on {machine} has opensafemlrm {said}, the driver has "
                    f"{version('opensafemlrm')}: install the same version on every machine"
                )
            return str(name)

    async def do(self, number: int, wanted: MissingWork) -> Done:
        """Have a piece brought up to date."""
        light, images = self._freight.load(wanted)
        # In lists, references travel as they are and are taken only where they are needed.
        boxed = {sha256: [reference] for sha256, reference in images.items()}
        done: Done = await self._call(self._actor.do.remote(number, light, boxed))
        return done

    async def images(self, hashes: Sequence[tuple[str, str]]) -> list[bytes]:
        """Return images that prompts made there hold."""
        found: list[bytes] = await self._call(self._actor.images.remote(list(hashes)))
        return found

    async def flush(self) -> int:
        """Have what is gathered written to the sink."""
        return int(await self._call(self._actor.flush.remote()))

    async def release(self, number: int) -> None:
        """Have a model freed."""
        await self._call(self._actor.release.remote(number))

    async def stop(self) -> Done:
        """End what is under way."""
        done: Done = await self._call(self._actor.stop.remote())
        return done

    async def aclose(self) -> None:
        """End the worker; one that cannot tidy up is ended all the same."""
        with contextlib.suppress(WorkerLostError, ClusterError, TimeoutError):
            await asyncio.wait_for(self._call(self._actor.aclose.remote()), 10)
        self._ray.kill(self._actor)

    async def _call(self, reference: Awaitable[_T]) -> _T:
        errors = self._ray.exceptions
        try:
            return await reference
        except WorkerLostError:
            raise
        except (errors.RayActorError, errors.ObjectLostError, errors.WorkerCrashedError) as error:
            raise WorkerLostError(_first_line(error)) from error
        except errors.RayError as error:
            raise ClusterError(f"worker {self.number} failed: {error}") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
