"""A study on a cluster of Ray, which places the workers and starts them again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opensafemlrm.cluster.driver import drive
from opensafemlrm.cluster.image_transfer import ImageTransfer
from opensafemlrm.cluster.quotas import max_workers
from opensafemlrm.cluster.ray_worker import RayWorker
from opensafemlrm.cluster.sinks import write_study
from opensafemlrm.cluster.worker import Setup
from opensafemlrm.engine.plan import Plan
from opensafemlrm.errors import ClusterError, MissingExtraError
from opensafemlrm.store import Store
from opensafemlrm.store.sink import Sink
from opensafemlrm.study import Study

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
        say(f"{workers} workers: an endpoint of the study takes no more requests at once than that")
    study = _pickled(ray, plan.study)
    run = time.time()
    with _connected(ray, cluster, workers) as dashboard:
        say(f"ray: {workers} workers; dashboard: {dashboard or 'none'}")
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
