"""The same study on Ray itself: workers and a whole machine are killed, the driver too."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import frame
from opensafemlrm.engine.plan import Plan
from opensafemlrm.store import Store
from opensafemlrm.store.sink import Sink
from opensafemlrm.store.sink_reader import SinkReader
from opensafemlrm.study import parse
from tests.cluster.local import study_text
from tests.cluster.test_driver import TIMES, in_one_process, same_bytes, table

HAS_RAY = importlib.util.find_spec("ray") is not None
pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed: pip install '.[ray]'"),
    # Ray's own, of sockets and of what it imports.
    pytest.mark.filterwarnings("ignore"),
]
QUICK_STUDY = study_text(100)
SLOW_STUDY = QUICK_STUDY.replace("concurrency: 16", "concurrency: 8, latency: 0.2")
"""The same study, which takes about five seconds."""


def run_plan(text: str, path: Path, workers: int, sink: Sink | None = None) -> Plan:
    from opensafemlrm.cluster import Cluster, run_on_ray

    plan = Plan.of(parse(text))
    with Store.open(path, "create") as store:
        cluster = Cluster("auto", workers, parquet_out=None if sink is None else sink.address)
        asyncio.run(run_on_ray(plan, store, cluster, logs=path / "logs"))
    return plan


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of Ray on this machine, the driver connected to the first."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_AUTH_MODE"] = "disabled"
    options = {"object_store_memory": 100 * 2**20}
    nodes = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 3, "include_dashboard": False, **options},
    )
    nodes.options = options
    nodes.add_node(num_cpus=4, **options)
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def worker_processes() -> list[int]:
    """The processes of the workers, on all nodes of this machine."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if (folder / "cmdline").read_bytes().startswith(b"ray::Actor"):
                found.append(int(folder.name))
    return sorted(found)


def wait_for_a_worker(logs: Path) -> None:
    while not any(logs.glob("*.log")):
        time.sleep(0.05)


def kill_one_worker(chance: random.Random) -> bool:
    found = worker_processes()
    if found:
        os.kill(chance.choice(found), signal.SIGKILL)
    return bool(found)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
def test_on_two_nodes_the_table_is_the_same_byte_for_byte(cluster, tmp_path, workers):
    text = study_text(40)
    run_plan(text, tmp_path / "ray", workers)
    assert same_bytes(table(tmp_path / "ray"), in_one_process(text, tmp_path / "one"))
    # On a busy machine, some are done before others have begun.
    logs = [log.read_text() for log in (tmp_path / "ray" / "logs").glob("worker-*.log")]
    assert any("is ready" in log for log in logs)


@pytest.mark.slow
@pytest.mark.parametrize("sunk", [False, True])
def test_workers_killed_at_seeded_moments_change_nothing(cluster, tmp_path, sunk):
    """Resuming repeats or loses items (how published tools go wrong)."""
    chance = random.Random(20250413)
    killed = []

    def kill() -> None:
        wait_for_a_worker(tmp_path / "ray" / "logs")
        for _ in range(2):
            time.sleep(chance.uniform(0.2, 1.5))
            killed.append(kill_one_worker(chance))

    killer = threading.Thread(target=kill)
    sink = Sink(tmp_path / "sink") if sunk else None
    killer.start()
    run_plan(SLOW_STUDY, tmp_path / "ray", 3, sink)
    killer.join()
    expected = in_one_process(QUICK_STUDY, tmp_path / "one")
    assert killed == [True, True]
    if sink is None:
        found = table(tmp_path / "ray")
    else:
        found = frame.read(SinkReader(sink)).drop(TIMES).sort("sample", "judge", "part")
    assert same_bytes(found, expected)


@pytest.mark.slow
def test_a_node_lost_in_the_middle_changes_nothing(cluster, tmp_path):
    node = cluster.add_node(num_cpus=4, **cluster.options)

    def lose() -> None:
        wait_for_a_worker(tmp_path / "ray" / "logs")
        time.sleep(1)
        cluster.remove_node(node, allow_graceful=False)

    loser = threading.Thread(target=lose)
    loser.start()
    run_plan(SLOW_STUDY, tmp_path / "ray", 5)
    loser.join()
    assert same_bytes(table(tmp_path / "ray"), in_one_process(QUICK_STUDY, tmp_path / "one"))


@pytest.mark.slow
def test_a_driver_killed_in_the_middle_goes_on_where_it_was(tmp_path):
    study, store = tmp_path / "study.yaml", tmp_path / "ray"
    study.write_text(SLOW_STUDY)
    command = [sys.executable, "-m", "opensafemlrm", "run", str(study), "--store", str(store)]
    command += ["--ray", "local", "--workers", "2"]
    with subprocess.Popen(command, stderr=(tmp_path / "said").open("w")) as process:
        while not (store / "store.sqlite").exists() or not _replies(store):
            assert process.poll() is None, (tmp_path / "said").read_text()
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    kept = _replies(store)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 0 < kept < 400
    assert same_bytes(table(store), in_one_process(QUICK_STUDY, tmp_path / "one"))


def _replies(store: Path) -> int:
    with Store.open(store) as opened:
        return int(opened.connection.execute("SELECT count(*) FROM generations").fetchone()[0])
