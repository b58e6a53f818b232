"""Workers in this process, which can be lost as those of a cluster are."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from opensafemlrm.cluster.driver import drive
from opensafemlrm.cluster.transfer import fill_scratch, without_images, write_study
from opensafemlrm.cluster.worker import BatchResult, Setup, Worker, WorkerLostError
from opensafemlrm.engine.again import NOTHING, Again
from opensafemlrm.engine.missing import MissingWork
from opensafemlrm.engine.plan import Plan
from opensafemlrm.store import Store
from opensafemlrm.store.sink import Sink
from opensafemlrm.study import Study, parse

Loses = Callable[[int, int], str]
"""Of a worker's number and its batch: ``before``, ``after`` or nothing for a worker that lives."""


def study_text(limit: int = 24, *, attacks: str = "direct, typo", judge: str = "canary") -> str:
    return (
        "models: [{model: sim/r1-onevision-7b, concurrency: 16},"
        " {model: sim/qwen2.5-vl-7b, concurrency: 16}]\n"
        "pairs: [[sim/r1-onevision-7b, sim/qwen2.5-vl-7b]]\n"
        f"datasets: [canary]\nattacks: [{attacks}]\njudge: {judge}\nlimit: {limit}\n"
    )


@dataclasses.dataclass
class LocalWorker:
    setup: Setup
    store: Store
    loses: Loses = lambda *_: ""
    worker: Worker | None = None
    batches: int = 0
    losses: int = 0

    @property
    def number(self) -> int:
        return self.setup.number

    async def ready(self) -> str:
        await asyncio.sleep(0.01 if self.losses else 0)
        self.worker = self.worker or Worker(self.setup)
        return self.worker.name

    async def run(self, cell: int, work: MissingWork) -> BatchResult:
        worker = self.reached
        self.batches += 1
        when = self.loses(self.number, self.batches)
        if when == "before":
            self.lose()
        light, images = without_images(work, self.store.image)
        for sha256 in worker.lacks(list(images)):
            worker.accept(sha256, images[sha256].read())
        result = await self.unless_lost(worker, worker.run(cell, light))
        if when == "after":
            self.lose()
            raise WorkerLostError("killed when the batch was done")
        return result

    async def images(self, hashes: Sequence[tuple[str, str]]) -> list[bytes]:
        return self.reached.images(hashes)

    async def flush(self) -> int:
        return await self.unless_lost(self.reached, self.reached.flush())

    async def release(self, cell: int) -> None:
        await self.reached.release(cell)

    async def stop(self) -> BatchResult:
        return await self.reached.stop()

    def lose(self) -> None:
        self.worker, self.losses = None, self.losses + 1

    async def unless_lost(self, worker: Worker, call: Awaitable[Any]) -> Any:
        result = await call
        if self.worker is not worker:
            raise WorkerLostError("killed")
        return result

    @property
    def reached(self) -> Worker:
        if self.worker is None:
            raise WorkerLostError("killed")
        return self.worker


async def run_locally(
    study: str | Study,
    path: Path,
    workers: int,
    *,
    loses: Loses = lambda *_: "",
    sink: Sink | None = None,
    again: Again = NOTHING,
) -> tuple[Plan, list[LocalWorker]]:
    """Bring the store at ``path``, or the sink, up to date; return the plan and its workers."""
    plan = Plan.of(parse(study) if isinstance(study, str) else study, again=again)
    with Store.open(path, "create") as store:
        run = time.time()
        if sink is not None:
            fill_scratch(sink, store, plan.judge_key)
            write_study(sink, plan, store, run)
        handles = [
            LocalWorker(
                Setup(
                    pickle.dumps(plan.study),
                    number,
                    workers,
                    path / "workers",
                    Path.cwd(),
                    run,
                    sink=None if sink is None else sink.address,
                ),
                store,
                loses,
            )
            for number in range(workers)
        ]
        try:
            await drive(plan, store, handles, to_sink=sink is not None, logs=path / "logs")
        finally:
            for handle in handles:
                if handle.worker is not None:
                    await handle.worker.aclose()
    return plan, handles
