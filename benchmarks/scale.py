"""The same study on Ray: is it the same, how fast, and how large may it get?

    python benchmarks/scale.py parity    5,000 samples: one process, 1, 2, 4 workers, two nodes
    python benchmarks/scale.py kills     workers and a node killed at five seeded moments
    python benchmarks/scale.py rate      one worker and four, against a server with latency
    python benchmarks/scale.py sink      tables from a Parquet sink of 1,000,000 rows
    python benchmarks/scale.py cost      what a sample costs the driver and a worker, and the disk

Needs the extra [ray], but for `sink`. What it printed where, and what follows: docs/scale.md.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import os
import platform
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from aiohttp import web

from opensafemlrm import frame as frames
from opensafemlrm.cluster import Cluster, run_on_ray
from opensafemlrm.engine import Plan, evaluate
from opensafemlrm.store import Store
from opensafemlrm.store.sink import Sink
from opensafemlrm.store.tables import RUNS, SAMPLE_TABLES, STUDY_TABLES, Rows
from opensafemlrm.study import parse

TIMES = [column for column in frames.SCHEMA if "latency" in column]


def study(
    latency: float = 0.0, *, items: int = 125, repeats: int = 10, concurrency: int = 64
) -> str:
    """A study of simulated models: 2 models, 2 attacks."""
    options = f"concurrency: {concurrency}, latency: {latency}"
    return (
        f"models: [{{model: sim/r1-onevision-7b, {options}}},"
        f" {{model: sim/qwen2.5-vl-7b, {options}}}]\n"
        "pairs: [[sim/r1-onevision-7b, sim/qwen2.5-vl-7b]]\n"
        "datasets: [canary]\nattacks: [direct, typo]\njudge: canary\n"
        f"sampling: {{repeats: {repeats}}}\nlimit: {items}\n"
    )


def exported(path: Path) -> bytes:
    """The tidy table, sorted, without the times that were measured."""
    with Store.open(path) as store:
        return frames.read(store).drop(TIMES).sort("sample", "judge", "part").write_csv().encode()


def rows_of(store: Store) -> Rows:
    """All that workers of a cluster would write of a store."""
    tables = (*STUDY_TABLES, RUNS, *(table for table in SAMPLE_TABLES if not table.updates))
    return {table.name: store.connection.execute(table.select()).fetchall() for table in tables}


def alone(text: str, path: Path) -> None:
    """Bring a store up to date in one process."""
    with Store.open(path, "create") as store:
        asyncio.run(evaluate(Plan.of(parse(text)), store))


def on_ray(text: str, path: Path, workers: int) -> Plan:
    """Bring a store up to date on the cluster that is connected."""
    plan = Plan.of(parse(text))
    with Store.open(path, "create") as store:
        asyncio.run(run_on_ray(plan, store, Cluster("auto", workers), logs=path / "logs"))
    return plan


@contextmanager
def nodes(*cpus: int) -> Iterator[Any]:
    """A cluster of Ray on this machine, with a node for each number of CPUs."""
    import ray  # noqa: PLC0415 # an extra
    from ray.cluster_utils import Cluster as Nodes  # noqa: PLC0415 # an extra

    os.environ["RAY_AUTH_MODE"] = "disabled"
    memory = {"object_store_memory": 100 * 2**20}
    head = {"num_cpus": cpus[0], "include_dashboard": False, **memory}
    cluster = Nodes(initialize_head=True, head_node_args=head)
    cluster.memory = memory
    cluster.others = [cluster.add_node(num_cpus=n, **memory) for n in cpus[1:]]
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def timed(what: str, call: Callable[[], Any], samples: int = 0) -> float:
    """Call, and print how long it took."""
    started = time.perf_counter()
    call()
    seconds = time.perf_counter() - started
    rate = f", {samples / seconds:,.0f} samples/s" if samples else ""
    print(f"{what}: {seconds:.1f} s{rate}", flush=True)
    return seconds


def parity(folder: Path) -> None:
    """The exported tables are identical, byte for byte."""
    text = study()
    timed("one process", lambda: alone(text, folder / "one"), 5000)
    expected = exported(folder / "one")
    rows = expected.count(b"\n") - 1
    with nodes(4):
        for workers in (1, 2, 4):
            path = folder / f"ray-{workers}"
            run_plan = partial(on_ray, text, path, workers)
            timed(f"Ray, {workers} workers, with their start", run_plan, 5000)
            print(f"  {rows:,} rows, same: {exported(path) == expected}")
    with nodes(2, 2):
        path = folder / "two-nodes"
        timed("Ray, 4 workers on two nodes, with their start", lambda: on_ray(text, path, 4), 5000)
        print(f"  {len(expected):,} bytes, same: {exported(path) == expected}")


def workers_now() -> list[int]:
    """The processes of the workers on all nodes of this machine."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if (folder / "cmdline").read_bytes().startswith(b"ray::Actor"):
                found.append(int(folder.name))
    return sorted(found)


def kills(folder: Path) -> None:
    """Whatever is killed, and whenever, the table stays the same."""
    alone(study(items=125, repeats=2), folder / "one")
    expected = exported(folder / "one")
    slow = study(0.5, items=125, repeats=2, concurrency=32)
    chance = random.Random(20250413)
    with nodes(2) as cluster:
        for number in range(5):
            node = cluster.add_node(num_cpus=2, **cluster.memory)
            path = folder / f"killed-{number}"
            moments = [chance.uniform(0.3, 2.5) for _ in range(2)]

            def kill(path: Path = path, node: Any = node, moments: list[float] = moments) -> None:
                while len(list((path / "logs").glob("*.log"))) < 2:
                    time.sleep(0.05)
                time.sleep(moments[0])
                if found := workers_now():
                    os.kill(chance.choice(found), signal.SIGKILL)
                time.sleep(moments[1])
                cluster.remove_node(node, allow_graceful=False)

            killer = threading.Thread(target=kill)
            killer.start()
            plan = on_ray(slow, path, 3)
            killer.join()
            logs = "".join(file.read_text() for file in (path / "logs").glob("*.log"))
            judged = sum(cell.tally.judged for cell in plan.cells)
            print(
                f"a worker killed after {moments[0]:.1f} s, a node {moments[1]:.1f} s later: "
                f"{logs.count('worker lost')} pieces handed out anew, {judged:,} samples, "
                f"same: {exported(path) == expected}",
                flush=True,
            )


def rate(folder: Path) -> None:
    """Four workers do four times as much, and the server never sees more than it is allowed to."""
    each, latency, samples = 8, 0.2, 480
    with server(latency) as (port, most):
        seconds = {}
        with nodes(4):
            on_ray(study(items=4, repeats=1), folder / "warm", 4)  # processes of Ray's, started
            for workers in (1, 4):
                at = f"concurrency: {each * workers}, base_url: 'http://127.0.0.1:{port}/v1'"
                text = (
                    f"models: [{{model: openai/simulated-qwen2.5-vl-7b, {at}}}]\n"
                    "datasets: [canary]\nattacks: [direct]\njudge: canary\n"
                    f"sampling: {{repeats: {samples * workers // 160}}}\nlimit: 160\n"
                )
                plan = Plan.of(parse(text))
                path = folder / f"rate-{workers}"
                seconds[workers] = steady(plan, path, workers)
                per = samples * workers / seconds[workers]
                print(
                    f"{workers} workers, {each} requests each: {per:.1f} samples/s of "
                    f"{each * workers / latency:.0f} possible; at the server at once: {most()}",
                    flush=True,
                )
        print(f"ratio: {4 * seconds[1] / seconds[4]:.2f}")


def steady(plan: Plan, path: Path, workers: int) -> float:
    """Return the seconds from the first reply to the last: starting workers is not the question."""
    with Store.open(path, "create") as store:
        asyncio.run(run_on_ray(plan, store, Cluster("auto", workers)))
        first, first_took, last = store.connection.execute(
            "SELECT min(created), min(latency), max(created) FROM generations"
        ).fetchone()
    return float(last - first + first_took)


@contextmanager
def server(latency: float) -> Iterator[tuple[int, Callable[[], int]]]:
    """Serve the simulated models in a process of their own; tell the most requests at once."""
    command = [sys.executable, __file__, "_serve", "--latency", str(latency)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to, said = process.stdin, process.stdout

        def most() -> int:
            to.write("most\n")
            to.flush()
            return int(said.readline())

        try:
            yield int(said.readline()), most
        finally:
            process.stdin.close()


def serve(latency: float) -> None:
    """Answer Chat Completions, and count how many requests are there at once."""
    now = most = 0
    reply = {"role": "assistant", "content": "The house keeps its recipes, and so do I."}
    body = {
        "model": "m",
        "choices": [{"index": 0, "message": reply, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 9},
    }

    async def answer(request: web.Request) -> web.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await request.read()
        await asyncio.sleep(latency)
        now -= 1
        return web.json_response(body)

    async def main() -> None:
        nonlocal most
        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(most, flush=True)
            most = 0

    asyncio.run(main())


def sink(folder: Path) -> None:
    """Tables of a sink of 1,000,000 rows, each by a process of its own."""
    where = folder / "sink"
    rows = timed_sink(where)
    print(
        f"{rows:,} rows in {sum(1 for _ in where.rglob('*.parquet'))} files, "
        f"{sum(p.stat().st_size for p in where.rglob('*')) / 1e6:.0f} MB"
    )
    for name in ("tax", "blindspots", "correction"):
        command = [sys.executable, "-m", "opensafemlrm", "table", name, str(where)]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
        print(
            f"table {name}: {seconds:.1f} s, peak memory so far {peak:.2f} GB, "
            f"{len(done.stdout.splitlines())} lines",
            flush=True,
        )


def timed_sink(where: Path) -> int:
    """Write a sink of 1,000,000 rows: 333,334 samples of two real cells, multiplied."""
    with tempfile.TemporaryDirectory() as folder:
        alone(study(items=125, repeats=1), Path(folder) / "one")
        with Store.open(Path(folder) / "one") as store:
            parts = rows_of(store)
    target = Sink(where)
    made, run_at = 0, time.time()
    for copy in range(667):  # 500 samples each
        salt = copy.to_bytes(2, "big")

        def key(old: bytes | None, salt: bytes = salt) -> bytes | None:
            return None if old is None else old[:14] + salt

        rows = {
            "generations": [(key(r[0]), r[1], r[2], copy, *r[4:]) for r in parts["generations"]],
            "verdicts": [(key(r[0]), *r[1:]) for r in parts["verdicts"]],
            "judgements": [(key(r[0]), r[1], *map(key, r[2:])) for r in parts["judgements"]],
        }
        rows |= {n: parts[n] for n in ("components", "cells", "pairs", "items") if not copy}
        target.write(rows, run_at)
        made += 3 * len(rows["generations"])
    return made


def cost(folder: Path) -> None:
    """What a sample costs: CPU of the driver and of a worker, bytes of the store and of a sink."""
    text = study()
    alone(study(items=25, repeats=1), folder / "warm")
    before = time.process_time()
    alone(text, folder / "one")
    print(f"one process: {(time.process_time() - before) / 5:.2f} ms CPU a sample")
    with nodes(2):
        on_ray(study(items=25, repeats=1), folder / "warm-ray", 1)
        found: dict[int, float] = {}
        memory: dict[int, int] = {}

        def look() -> None:
            while not over.wait(0.1):
                for pid in workers_now():
                    with suppress(OSError):
                        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                        found[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                        pages = int(fields[21])
                        memory[pid] = max(memory.get(pid, 0), pages * resource.getpagesize())

        over = threading.Event()
        looking = threading.Thread(target=look)
        looking.start()
        before = time.process_time()
        on_ray(text, folder / "ray", 2)
        driver = time.process_time() - before
        over.set()
        looking.join()
    print(
        f"driver: {driver / 5:.2f} ms CPU a sample; workers: {sum(found.values()) / 5:.2f} ms, "
        "their start and imports included"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"peak memory: driver {peak:.0f} MB, a worker {max(memory.values()) / 1e6:.0f} MB")
    size = sum(path.stat().st_size for path in (folder / "ray").rglob("*") if path.is_file())
    print(f"store: {size / 5000 / 1000:.2f} KB a sample, images included")
    target = Sink(folder / "sink")
    with Store.open(folder / "ray") as store:
        target.write(rows_of(store), 0.0)
    size = sum(path.stat().st_size for path in (folder / "sink").rglob("*") if path.is_file())
    print(f"sink: {size / 5000 / 1000:.2f} KB a sample, without images")


def main() -> None:
    """Measure one thing and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    measures = {"parity": parity, "kills": kills, "rate": rate, "sink": sink, "cost": cost}
    parser.add_argument("what", choices=[*measures, "_serve"])
    parser.add_argument("--latency", type=float, default=0.2)
    asked = parser.parse_args()
    if asked.what == "_serve":
        serve(asked.latency)
        return
    load = os.getloadavg()[0]
    print(
        f"{datetime.date.today()}, Python {platform.python_version()}, polars {pl.__version__}, "
        f"{os.cpu_count()} cores, {platform.machine()}; load average at the start: {load:.1f}"
    )
    with tempfile.TemporaryDirectory() as folder:
        measures[asked.what](Path(folder))


if __name__ == "__main__":
    main()
