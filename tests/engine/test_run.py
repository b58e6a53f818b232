"""Models that fill the memory of the machine take turns: each is loaded once, and freed."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass

from opensafemlrm import engine
from opensafemlrm.store import Store
from tests.support import Scripted, Wrapped, items, study


@dataclass(frozen=True)
class Loaded(Scripted):
    in_process = True


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
