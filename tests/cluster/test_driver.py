"""A study on many workers gives what it gives in one process, whatever becomes of the workers."""

from __future__ import annotations

import asyncio
import pickle
import random
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from opensafemlrm import engine, frame
from opensafemlrm.attacks.direct import Direct
from opensafemlrm.attacks.mm_safetybench import Typo
from opensafemlrm.cli import app
from opensafemlrm.cluster.worker import Setup, Worker
from opensafemlrm.datasets.canary import Canary
from opensafemlrm.errors import ClusterError
from opensafemlrm.judges.canary import CanaryJudge
from opensafemlrm.models.demo.sim import Simulated
from opensafemlrm.store import Store
from opensafemlrm.store.merge import merge
from opensafemlrm.store.sink import Sink
from opensafemlrm.store.sink_reader import SinkReader
from opensafemlrm.study import Study, parse
from tests.cluster.local import run_locally, study_text

TIMES = [c for c in frame.SCHEMA if "latency" in c]
LLM_JUDGE = "{judge: policy-rubric, model: {model: sim/judge, concurrency: 8}}"


def table(path: Path) -> pl.DataFrame:
    with Store.open(path) as store:
        return frame.read(store).drop(TIMES).sort("sample", "judge", "part")


def in_one_process(text: str, path: Path) -> pl.DataFrame:
    with Store.open(path, "create") as store:
        asyncio.run(engine.evaluate(engine.Plan.of(parse(text)), store))
    return table(path)


def replies(path: Path) -> int:
    if not (path / "store.sqlite").exists():
        return 0
    with Store.open(path) as store:
        return int(store.connection.execute("SELECT count(*) FROM generations").fetchone()[0])


def same_bytes(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    return one.write_csv() == other.write_csv()


@pytest.mark.parametrize("judge", ["canary", LLM_JUDGE])
@pytest.mark.parametrize("workers", [1, 4])
def test_the_table_is_the_same_byte_for_byte_as_in_one_process(tmp_path, workers, judge):
    text = study_text(judge=judge)
    expected = in_one_process(text, tmp_path / "one")
    asyncio.run(run_locally(text, tmp_path / "many", workers))
    assert len(expected) == 24 * 4 * 3
    assert same_bytes(table(tmp_path / "many"), expected)


def test_a_study_of_objects_gives_the_table_of_its_file(tmp_path):
    text = study_text()
    models = [Simulated(name, concurrency=16) for name in ("r1-onevision-7b", "qwen2.5-vl-7b")]
    made = Study(
        models,
        [Canary()],
        CanaryJudge(),
        attacks=[Direct(), Typo()],
        pairs=[(models[0], models[1])],
        limit=24,
    )
    asyncio.run(run_locally(made, tmp_path / "many", 2))
    assert same_bytes(table(tmp_path / "many"), in_one_process(text, tmp_path / "one"))


def test_a_worker_that_lacks_the_code_of_a_study_says_so(tmp_path):
    text = pickle.dumps(parse(study_text())).replace(b"judges.canary", b"judges.cannry")
    setup = Setup(text, 0, 1, tmp_path, tmp_path, 0.0)
    with pytest.raises(ClusterError, match=r"code that this machine lacks.*cannry"):
        Worker(setup)


@pytest.mark.parametrize("seed", range(5))
def test_lost_workers_change_nothing(tmp_path, seed):
    """Resuming repeats or loses items (how published tools go wrong)."""
    text = study_text()
    expected = in_one_process(text, tmp_path / "one")
    chance = random.Random(seed)
    moments = {
        (chance.randrange(2), chance.randrange(1, 4)): chance.choice(["before", "after"])
        for _ in range(3)
    }
    plan, handles = asyncio.run(
        run_locally(text, tmp_path / "many", 2, loses=lambda *at: moments.pop(at, ""))
    )
    assert sum(handle.losses for handle in handles) >= 1
    assert same_bytes(table(tmp_path / "many"), expected)
    assert sum(cell.tally.judged for cell in plan.cells) == 24 * 4  # nothing is counted twice


def test_what_is_stored_is_not_asked_again(tmp_path):
    text = study_text()
    asyncio.run(run_locally(text, tmp_path, 2))
    plan, handles = asyncio.run(run_locally(study_text(30), tmp_path, 2))
    assert sum(cell.tally.stored for cell in plan.cells) == 24 * 4
    assert sum(cell.tally.judged for cell in plan.cells) == 6 * 4
    plan, handles = asyncio.run(run_locally(study_text(30), tmp_path, 2))
    assert [handle.batches for handle in handles] == [0, 0]


def test_a_loss_costs_a_batch_one_try_however_many_batches_the_worker_had_room_for(tmp_path):
    text = study_text(8, attacks="direct").replace("concurrency: 16", "concurrency: 200")
    moments = {(0, 1): "before"}
    plan, (handle,) = asyncio.run(
        run_locally(text, tmp_path, 1, loses=lambda *at: moments.pop(at, ""))
    )
    assert handle.losses == 1
    assert sum(cell.tally.judged for cell in plan.cells) == 8 * 2


def test_a_batch_that_kills_every_worker_ends_the_run_and_is_named(tmp_path):
    with pytest.raises(ClusterError, match=r"workers were lost over the same samples of sim/"):
        asyncio.run(run_locally(study_text(), tmp_path, 2, loses=lambda *_: "before"))


def test_an_interrupted_run_keeps_what_came(tmp_path):
    text = study_text(200, attacks="direct").replace(
        "concurrency: 16", "concurrency: 2, latency: 0.02"
    )

    async def interrupted() -> None:
        task = asyncio.create_task(run_locally(text, tmp_path / "many", 2))
        while not replies(tmp_path / "many"):  # noqa: ASYNC110 # nothing tells of rows in a database
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    plan, _ = asyncio.run(run_locally(text, tmp_path / "many", 2))
    assert sum(cell.tally.stored for cell in plan.cells) > 0
    assert same_bytes(table(tmp_path / "many"), in_one_process(text, tmp_path / "one"))


def test_images_reach_the_store_and_are_whole(tmp_path):
    text = study_text(8, attacks="typo")
    asyncio.run(run_locally(text, tmp_path / "many", 2))
    in_one_process(text, tmp_path / "one")
    one, many = (
        {path.name: path.read_bytes() for path in (tmp_path / where / "images").rglob("*.*")}
        for where in ("one", "many")
    )
    assert one
    assert one == many


# Sinks.


@pytest.mark.parametrize("address", ["{}/sink", "memory://{}"])
def test_a_sink_reads_as_the_store_does_and_merges_into_it(tmp_path, address):
    if address.startswith("memory"):
        pytest.importorskip("fsspec")
    text = study_text(judge=LLM_JUDGE)
    expected = in_one_process(text, tmp_path / "one")
    sink = Sink(address.format(str(tmp_path).lstrip("/") if "://" in address else tmp_path))
    asyncio.run(run_locally(text, tmp_path / "known", 2, sink=sink))
    scanned = frame.read(SinkReader(sink)).drop(TIMES).sort("sample", "judge", "part")
    assert same_bytes(scanned, expected)
    with Store.open(tmp_path / "merged", "create") as store:
        merge([sink.address], store)
    assert same_bytes(table(tmp_path / "merged"), expected)


def test_merging_twice_changes_nothing_and_order_does_not_matter(tmp_path):
    sinks = []
    for number, attack in enumerate(["direct", "typo"]):
        sinks.append(Sink(tmp_path / f"sink-{number}"))
        text = study_text(attacks=attack)
        asyncio.run(run_locally(text, tmp_path / f"known-{number}", 2, sink=sinks[-1]))
    merged = []
    for name, order in (("a", sinks), ("b", [*reversed(sinks), *sinks])):
        with Store.open(tmp_path / name, "create") as store:
            merge([sink.address for sink in order], store)
        merged.append(table(tmp_path / name))
    assert same_bytes(*merged)
    assert same_bytes(merged[0], in_one_process(study_text(), tmp_path / "one"))
    with Store.open(tmp_path / "c", "create") as store:
        merge([tmp_path / "b", tmp_path / "one"], store)
    assert same_bytes(table(tmp_path / "c"), merged[0])


@pytest.mark.parametrize("seed", range(5))
def test_a_worker_lost_before_its_part_is_written_loses_nothing(tmp_path, seed):
    text = study_text()
    expected = in_one_process(text, tmp_path / "one")
    chance = random.Random(seed)
    moments = {(0, chance.randrange(1, 4)): "after", (1, chance.randrange(2, 4)): "before"}
    sink = Sink(tmp_path / "sink")
    plan, handles = asyncio.run(
        run_locally(text, tmp_path / "known", 2, loses=lambda *at: moments.pop(at, ""), sink=sink)
    )
    assert sum(handle.losses for handle in handles) >= 1
    rows = frame.read(SinkReader(sink)).drop(TIMES).sort("sample", "judge", "part")
    assert same_bytes(rows, expected)
    assert sum(cell.tally.judged for cell in plan.cells) == 24 * 4


def test_a_run_into_a_sink_resumes_from_what_the_sink_has(tmp_path):
    sink = Sink(tmp_path / "sink")
    asyncio.run(run_locally(study_text(10), tmp_path / "a", 2, sink=sink))
    plan, _ = asyncio.run(run_locally(study_text(24), tmp_path / "b", 2, sink=sink))
    assert sum(cell.tally.stored for cell in plan.cells) == 10 * 4
    rejudged = study_text(24, judge=LLM_JUDGE)
    plan, _ = asyncio.run(run_locally(rejudged, tmp_path / "c", 2, sink=sink))
    assert sum(cell.tally.judged for cell in plan.cells) == 24 * 4
    rows = frame.read(SinkReader(sink))
    assert rows["judge"].n_unique() == 2
    assert "judge_failed" not in set(rows["reason"])
    assert rows["sample"].n_unique() == 24 * 4


def test_a_part_without_its_mark_is_not_there(tmp_path):
    """A killed writer leaves half of what belongs together."""
    sink = Sink(tmp_path / "sink")
    asyncio.run(run_locally(study_text(10), tmp_path / "a", 1, sink=sink))
    before = frame.read(SinkReader(sink))
    part = next((tmp_path / "sink" / "judgements").glob("*.parquet"))
    (tmp_path / "sink" / "generations" / "half.parquet").write_bytes(part.read_bytes()[:50])
    assert frame.read(SinkReader(sink)).equals(before)


def test_a_store_that_has_another_text_keeps_its_own_verdicts(tmp_path):
    """A verdict must be about the text beside it."""
    for name in ("a", "b"):
        in_one_process(study_text(6), tmp_path / name)
    with Store.open(tmp_path / "b", "write") as store, store.transaction() as connection:
        (key,) = connection.execute("SELECT min(key) FROM generations").fetchone()
        connection.execute("UPDATE generations SET text = 'otherwise' WHERE key = ?", (key,))
        connection.execute(
            'UPDATE judgements SET answer = (SELECT max(key) FROM verdicts), "full" = NULL '
            "WHERE generation = ?",
            (key,),
        )
    before, other = table(tmp_path / "a"), table(tmp_path / "b")
    with Store.open(tmp_path / "a", "write") as store:
        merge([tmp_path / "b"], store)
    # Which of the two texts is kept follows from a hash of them.
    assert any(same_bytes(table(tmp_path / "a"), whole) for whole in (before, other))


def test_tables_report_and_merge_read_a_sink_from_the_command_line(tmp_path):
    sink, study = tmp_path / "sink", tmp_path / "study.yaml"
    study.write_text(study_text())
    asyncio.run(run_locally(study_text(), tmp_path / "known", 2, sink=Sink(sink)))
    in_one_process(study_text(), tmp_path / "one")
    runner = CliRunner()
    for name in ("asr", "tax", "coverage", "correction"):
        said = [runner.invoke(app, ["table", name, str(at)]) for at in (sink, tmp_path / "one")]
        assert said[0].exit_code == 0
        assert said[0].stdout == said[1].stdout
    merged = runner.invoke(app, ["merge", str(sink), "--store", str(tmp_path / "merged")])
    assert "96 samples read; the store has 96" in merged.stderr
    assert same_bytes(table(tmp_path / "merged"), table(tmp_path / "one"))
    with Store.open(tmp_path / "merged") as store:
        assert len(frame.pairs(store))
        assert store.connection.execute("SELECT count(*) FROM images").fetchone()[0] > 0
