"""The tidy table: pairs, requests behind a reply, and calibrations of its judges."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import polars as pl
import pytest

from opensafemlrm import frame as frames
from opensafemlrm.engine import Plan, evaluate
from opensafemlrm.interop.opensafemlrm import PAIRS, import_results
from opensafemlrm.store import Store
from tests.support import Scripted, Searches, items, ok, study

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT.parent / "shared/data/opensafemlrm/statistic_results"


async def test_a_pair_is_in_the_table_by_the_names_that_tables_use(tmp_path: Path) -> None:
    reasoner, base = Scripted(model="reasoner"), Scripted(model="base")
    paired = dataclasses.replace(
        study(rows=items(2)), models=(reasoner, base), pairs=((reasoner, base),)
    )
    with Store.open(tmp_path, "create") as store:
        await evaluate(Plan.of(paired), store)
        pairs = frames.pairs(store)
    assert pairs.to_dicts() == [{"reasoner": "scripted/reasoner", "base": "scripted/base"}]


async def test_every_base_of_a_model_is_a_pair_of_its_own(tmp_path: Path) -> None:
    models = tuple(Scripted(model=name) for name in ("reasoner", "a", "b"))
    paired = dataclasses.replace(
        study(rows=items(1)),
        models=models,
        pairs=((models[0], models[1]), (models[0], models[2])),
    )
    with Store.open(tmp_path, "create") as store:
        await evaluate(Plan.of(paired), store)
        pairs = frames.pairs(store).rows()
    assert pairs == [("scripted/reasoner", "scripted/a"), ("scripted/reasoner", "scripted/b")]


def test_a_pair_whose_base_was_never_run_is_no_pair_of_the_table(tmp_path: Path) -> None:
    """A tax against a model without a row would compare with nothing."""
    with Store.open(tmp_path, "create") as store:
        keys = [store.put_identity("model", name, {"name": name}) for name in ("m", "base")]
        store.put_pair(*keys)
        assert frames.pairs(store).is_empty()


def test_the_import_registers_the_published_pairs(tmp_path: Path) -> None:
    if not PUBLISHED.is_dir():
        pytest.skip("the published histograms are not at ../shared/data/opensafemlrm")
    with Store.open(tmp_path, "create") as store:
        import_results(PUBLISHED, store)
        assert frames.pairs(store).rows() == sorted(PAIRS)


async def test_requests_of_a_search_are_summed_up_beside_the_reply(tmp_path: Path) -> None:
    model = Scripted(reply=lambda prompt, _: ok(f"re {prompt.turns[-1].text}", latency=0.5))
    searching = study(model, items(2), attacks=[Searches(tries=3)])
    with Store.open(tmp_path, "create") as store:
        await evaluate(Plan.of(searching), store)
        frame = frames.read(store)
    assert frame["item"].unique().to_list() == ["i1"]
    # The last query's reply is the very reply that the found prompt gives.
    assert set(frame["extra_requests"]) == {2}
    assert set(frame["extra_latency"]) == {1.0}


async def test_calibrations_are_named_as_the_table_names_the_judge(tmp_path: Path) -> None:
    with Store.open(tmp_path, "create") as store:
        await evaluate(Plan.of(study(rows=items(1))), store)
        (judge,) = store.connection.execute("SELECT key FROM components WHERE kind = 'judge'")
        with store.transaction() as connection:
            connection.executemany(
                "INSERT INTO calibrations "
                "VALUES (?, ?, 'answer', X'', X'', '', 4.0, ?, 1, 8, 2, 3, ?)",
                [(*judge, "older", 7, 0.0), (*judge, "newer", 9, 1.0)],
            )
        found = frames.calibrations(store)
        names = frames.read(store)["judge"].unique().to_list()
    assert found["judge"].to_list() == names
    rows = found.select(pl.exclude("judge")).rows()
    assert rows == [("newer", "answer", "", "", "", 4.0, 9, 1, 8, 2, 3, 1.0)]


def test_every_column_is_documented() -> None:
    text = (ROOT / "docs/frame.md").read_text(encoding="utf-8")
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
    documented = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(documented) == sorted(frames.SCHEMA)
