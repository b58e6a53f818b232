"""Models that fill the memory of the machine take turns: each is loaded once, and freed."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
from dataclasses import dataclass, field

from opensafemlrm import engine
from opensafemlrm.store import Store
from tests.support import Listed, Scripted, Wrapped, items, study


@dataclass(frozen=True)
class Loaded(Scripted):
    in_process = True


@dataclass(frozen=True)
class Limited(Loaded):
    limits: list[int | None] = field(default_factory=list, compare=False)

    def set_image_limit(self, max_images: int | None) -> None:
        self.limits.append(max_images)


@dataclass(frozen=True)
class CountedReads(Listed):
    reads: list[bool] = field(default_factory=list, compare=False)

    def rows(self):
        self.reads.append(True)
        return super().rows()


def test_a_dataset_is_read_for_the_image_limit_only_where_a_model_takes_one(tmp_path):
    """Reading a dataset of 28,000 images once more takes minutes."""
    reads = {}
    limited = Limited()
    for model in (Loaded(), limited):
        dataset = CountedReads(items(3))
        what = dataclasses.replace(study(model), datasets=(dataset,))
        with Store.open(tmp_path / type(model).__name__, "create") as store:
            asyncio.run(engine.evaluate(engine.Plan.of(what), store))
        reads[type(model)] = len(dataset.reads)
    assert reads == {Loaded: 2, Limited: 3}  # to count its items, for the limit, for the samples
    assert limited.limits == [0]


def test_a_model_is_asked_for_all_its_cells_and_closed_before_the_next_one_is_loaded(tmp_path):
    """Two checkpoints that fit alone do not fit together."""
    first, second, served = Loaded(model="one"), Loaded(model="two"), Scripted(model="three")
    closed_when_second_began = []
    reply = second.reply

    def noting(prompt, seed):
        closed_when_second_began.append((bool(first.closed), len(first.asked)))
        return reply(prompt, seed)

    second = dataclasses.replace(second, reply=noting)
    what = study(rows=items(6), attacks=[Wrapped("a"), Wrapped("b")])
    plan = engine.Plan.of(dataclasses.replace(what, models=(first, second, served)))
    with Store.open(tmp_path, "create") as store:
        asyncio.run(engine.evaluate(plan, store))
    assert set(closed_when_second_began) == {(True, 12)}
    assert len(second.asked) == len(served.asked) == 12


def test_a_run_leaves_the_collection_of_cycles_as_it_was(tmp_path):
    """A setting of the whole process that a run makes for itself outlives it, or another's."""
    before, during = gc.get_threshold(), []
    both = asyncio.Barrier(2)

    class Noting(Scripted):
        async def generate(self, prompt, sampling):
            await both.wait()
            during.append(gc.get_threshold())
            return await super().generate(prompt, sampling)

    async def run(name: str) -> None:
        with Store.open(tmp_path / name, "create") as store:
            plan = engine.Plan.of(study(Noting(), items(1)))
            await engine.evaluate(plan, store)

    async def side_by_side() -> None:
        await asyncio.gather(run("one"), run("another"))

    asyncio.run(side_by_side())
    assert len(during) == 2
    assert min(during)[0] > before[0]
    assert gc.get_threshold() == before
