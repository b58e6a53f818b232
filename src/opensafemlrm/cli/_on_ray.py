"""``safemlrm run --ray``: the same study on a cluster."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opensafemlrm.cli._console import say

if TYPE_CHECKING:
    from opensafemlrm.cluster.on_ray import Cluster
    from opensafemlrm.engine import Plan


@dataclass(frozen=True, slots=True)
class OnRay:
    """What the options of ``safemlrm run`` say of the cluster."""

    address: str
    workers: int
    gpus_per_worker: float
    sink: str | None


def run_distributed(plan: Plan, path: Path | None, where: OnRay, *, dry_run: bool) -> None:
    """Run a plan on a cluster: into the store at ``path``, or into the sink where there is none."""
    from opensafemlrm.cluster.on_ray import Cluster, fill_scratch, require_ray
    from opensafemlrm.store import Store
    from opensafemlrm.store.sink import Sink

    require_ray()
    sink = None if where.sink is None else Sink(where.sink)
    cluster = Cluster(where.address, where.workers, where.gpus_per_worker, sink)
    with tempfile.TemporaryDirectory(prefix="opensafemlrm-") as folder:
        if sink is not None:
            path = Path(folder) / "known"
            with Store.open(path, "create") as scratch:
                fill_scratch(sink, scratch, plan.judge_key)
        if path is not None:
            _run(plan, path, cluster, dry_run=dry_run)


def _run(plan: Plan, path: Path, cluster: Cluster, *, dry_run: bool) -> None:
    from opensafemlrm.cli.run import run_with_progress, show_dry_run
    from opensafemlrm.cluster.on_ray import run_on_ray
    from opensafemlrm.store import Store

    if dry_run:
        show_dry_run(plan, path)
        return
    kept = path if cluster.sink is None else cluster.sink.folder
    logs = None if kept is None else kept / "logs"
    with Store.open(path, "create") as opened:
        run_with_progress(
            lambda: run_on_ray(plan, opened, cluster, logs=logs, say=say),
            plan,
            opened,
            str(path) if cluster.sink is None else cluster.sink.address,
        )
