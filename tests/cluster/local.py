"""Workers in this process, which can be lost as those of a cluster are."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from opensafemlrm.cluster import Done, Setup, Worker, WorkerLostError, drive
from opensafemlrm.cluster.image_transfer import packed
from opensafemlrm.cluster.on_ray import fill_scratch
from opensafemlrm.cluster.quotas import split
from opensafemlrm.engine.missing import MissingWork
from opensafemlrm.engine.plan import Plan
from opensafemlrm.store import Store
from opensafemlrm.store.sink import Sink
from opensafemlrm.store.tables import RUNS, STUDY_TABLES
from opensafemlrm.study import Study, parse

Loses = Callable[[int, int], str]
"""Of a worker's number and its piece: ``before``, ``after`` or nothing for a worker that lives."""


def study_text(limit: int = 24, *, attacks: str = "direct, typo", judge: str = "canary") -> str:
    return (
        "models: [{model: sim/r1-onevision-7b, concurrency: 16},"
        " {model: sim/qwen2.5-vl-7b, concurrency: 16}]\n"
        "pairs: [[sim/r1-onevision-7b, sim/qwen2.5-vl-7b]]\n"
        f"datasets: [canary]\nattacks: [{attacks}]\njudge: {judge}\nlimit: {limit}\n"
    )


@dataclasses.dataclass
class LocalHand:
    setup: Setup
    store: Store
    loses: Loses = lambda *_: ""
    worker: Worker | None = None
    pieces: int = 0
    losses: int = 0

    @property
    def number(self) -> int:
        return self.setup.number

    async def ready(self) -> str:
        await asyncio.sleep(0.01 if self.losses else 0)
        self.worker = self.worker or Worker(self.setup)
        return self.worker.name

    async def do(self, number: int, wanted: MissingWork) -> Done:
        worker = self.its
        self.pieces += 1
        when = self.loses(self.number, self.pieces)
        if when == "before":
            self.lose()
        light, images = packed(wanted, self.store.image)
        for sha256 in worker.lacks(list(images)):
            worker.accept(sha256, images[sha256].read())
        done = await self.unless_lost(worker, worker.do(number, light))
        if when == "after":
            self.lose()
            raise WorkerLostError("killed when the piece was done")
        return done

    async def images(self, hashes: Sequence[tuple[str, str]]) -> list[bytes]:
        return self.its.images(hashes)

    async def flush(self) -> int:
        return await self.unless_lost(self.its, self.its.flush())

    async def release(self, number: int) -> None:
        await self.its.release(number)

    async def stop(self) -> Done:
        return await self.its.stop()

    def lose(self) -> None:
        self.worker, self.losses = None, self.losses + 1

    async def unless_lost(self, worker: Worker, call: Awaitable[Any]) -> Any:
        result = await call
        if self.worker is not worker:
            raise WorkerLostError("killed")
        return result

    @property
    def its(self) -> Worker:
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
) -> tuple[Plan, list[LocalHand]]:
    """Bring the store at ``path``, or the sink, up to date; return the plan and the hands."""
    plan = Plan.of(parse(study) if isinstance(study, str) else study)
    with Store.open(path, "create") as store:
        run = time.time()
        if sink is not None:
            fill_scratch(sink, store, plan.judge_key)
            plan.register(store)
            rows = {
                table.name: store.connection.execute(table.select()).fetchall()
                for table in (*STUDY_TABLES, RUNS)
            }
            sink.write({name: some for name, some in rows.items() if some}, run)
        hands = [
            LocalHand(
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
            await drive(plan, store, hands, to_sink=sink is not None, logs=path / "logs")
        finally:
            for hand in hands:
                if hand.worker is not None:
                    await hand.worker.aclose()
    return plan, hands


__all__ = ["LocalHand", "run_locally", "split", "study_text"]
