"""How fast the engine is, beside the limit of its HTTP client and beside Inspect AI.

Each item is one picture of 100 KB and four requests: a reply, and a verdict on its reasoning, its
answer and the whole. Every measurement is a process of its own against a server process of its own.
How to read the table: docs/performance.md.

    python benchmarks/engine.py                     a few minutes
    python benchmarks/engine.py --long              100,000 items as well: half an hour
    python benchmarks/engine.py --inspect-python /path/to/python   Inspect AI beside it
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import IO, Final

HERE: Final = Path(__file__).parent
REQUESTS: Final = 4
JUDGED: Final = 3
BARE, OURS, INSPECT = "bare loop", "engine", "Inspect AI"
SCRIPTS: Final = {
    BARE: "_client_bare.py",
    OURS: "_client_ours.py",
    INSPECT: "_client_inspect.py",
}
INSPECT_ITEMS: Final = 500
"""Inspect AI is measured at this many items only: more would take its table minutes."""


@dataclass(frozen=True)
class Load:
    """What is asked of a client."""

    latency: float
    """Seconds the server waits before each reply."""
    concurrency: int
    """Connections to the model, and as many to the judge."""
    items: int
    repeats: int = 1

    @property
    def possible(self) -> float:
        """Items a second that the server could answer: the judge has three requests an item."""
        return self.concurrency / (JUDGED * self.latency) if self.latency else float("inf")


QUICK: Final = (
    Load(0, 64, 500, 3),
    Load(0, 64, 2000, 3),
    Load(0, 256, 1000, 3),
    Load(0, 256, 2000, 3),
    Load(0, 256, 20_000),
    Load(0.2, 64, 500),
    Load(0.2, 256, 500),
    Load(0.2, 256, 5000, 3),
)
LONG: Final = (
    *QUICK,
    Load(0, 64, 20_000),
    Load(0.2, 64, 2000),
    Load(0.2, 256, 20_000),
    Load(0, 256, 100_000),
)


@dataclass(frozen=True)
class Figures:
    """One measurement, or the medians of several."""

    rate: float
    """Items a second."""
    cpu: float
    """Milliseconds of CPU an item, of the client's process alone."""
    rss: float
    """Peak memory of the client's process, in MB."""
    disk: float
    """MB written."""
    server: float
    """Share of the time that the server's process was busy."""


def measure(client: str, python: str, load: Load, images: int) -> Figures:
    """Run one client against a server of its own."""
    with tempfile.TemporaryDirectory() as folder, _server(load.latency) as (to, said):
        port = said.readline().strip()
        command = [python, str(HERE / SCRIPTS[client]), "--port", port, "--folder", folder]
        command += ["--items", str(load.items), "--concurrency", str(load.concurrency)]
        done = subprocess.run(
            [*command, "--images", str(images)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{client} failed:\n{done.stderr[-4000:]}")
        found = json.loads(done.stdout.splitlines()[-1])
        to.close()
        busy = float(said.readline())
    return Figures(
        rate=load.items / found["seconds"],
        cpu=1000 * found["cpu"] / load.items,
        rss=found["rss"] / 1e6,
        disk=found["disk"] / 1e6,
        server=busy / found["seconds"],
    )


@contextmanager
def _server(latency: float) -> Iterator[tuple[IO[str], IO[str]]]:
    command = [sys.executable, str(HERE / "_mock_server.py"), "--latency", str(latency)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdin, process.stdout
        finally:
            process.stdin.close()


def medians(many: Sequence[Figures]) -> Figures:
    """Return the median of each figure."""
    names = ("rate", "cpu", "rss", "disk", "server")
    return Figures(*(median(getattr(one, name) for one in many) for name in names))


def measure_all(
    loads: Sequence[Load], inspect: str | None, images: int
) -> dict[tuple[Load, str], Figures]:
    """Measure every client at every load, in turns, so that a noisy moment meets all of them."""
    found: dict[tuple[Load, str], Figures] = {}
    for load in loads:
        distinct = images or load.items
        many: dict[str, list[Figures]] = {}
        for turn in range(load.repeats):
            many.setdefault(BARE, []).append(measure(BARE, sys.executable, load, min(distinct, 20)))
            many.setdefault(OURS, []).append(measure(OURS, sys.executable, load, distinct))
            if inspect and turn == 0 and load.items <= INSPECT_ITEMS:
                many.setdefault(INSPECT, []).append(measure(INSPECT, inspect, load, distinct))
        found.update({(load, client): medians(figures) for client, figures in many.items()})
        print(f"measured: {load}", file=sys.stderr, flush=True)
    return found


def table(found: dict[tuple[Load, str], Figures]) -> Iterator[str]:
    """Yield the lines of the table; in brackets, the ratio to the bare loop."""
    yield (
        "| latency | connections | items | client | items/s | CPU ms an item | peak RSS MB "
        "| disk MB | server busy |"
    )
    yield "|---:|---:|---:|---|---:|---:|---:|---:|---:|"
    for (load, client), one in found.items():
        bare = found[load, BARE]
        cells = [
            f"{load.latency * 1000:.0f} ms",
            f"2 × {load.concurrency}",
            f"{load.items:,}",
            client,
            f"{one.rate:,.0f} ({one.rate / bare.rate:.2f})",
            f"{one.cpu:.2f} ({one.cpu / bare.cpu:.2f})",
            f"{one.rss:.0f} ({one.rss / bare.rss:.2f})",
            f"{one.disk:.1f}" if one.disk else "–",
            f"{one.server:.0%}",
        ]
        yield f"| {' | '.join(cells)} |"


def targets(found: dict[tuple[Load, str], Figures]) -> Iterator[str]:
    """Yield a line for each target, with what was measured."""
    ours = {load: one for (load, client), one in found.items() if client == OURS}
    yield f"CPU a sample: {_span([one.cpu for one in ours.values()])} ms (target: under 2)"
    against = [
        one.rate / found[load, INSPECT].rate
        for load, one in ours.items()
        if (load, INSPECT) in found and not load.latency
    ]
    if against:
        yield f"items/s against Inspect AI, no latency: {_span(against)} (target: 40)"
    for load, one in ours.items():
        if load.latency and load.concurrency == 256 and load.items >= 2000:
            yield (
                f"{load.latency * 1000:.0f} ms, 256 connections, {load.items:,} items: "
                f"{one.rate / load.possible:.0%} of the possible {load.possible:.0f} items/s "
                "(target: 90%)"
            )
    sizes = {load.items: one.rss for load, one in ours.items() if load.concurrency == 256}
    small, large = sizes.get(1000), max(sizes, default=0)
    if small and large > 1000:
        growth = sizes[large] / small
        yield f"peak RSS at {large:,} items against 1,000: {growth:.2f} (target: 1.3)"
    disks = [one.disk for load, one in ours.items() if load.items == 2000]
    if disks:
        yield f"disk for 2,000 samples: {max(disks):.1f} MB (target for 20 images: 10)"


def _span(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"


def heading(inspect: str | None) -> Iterator[str]:
    """Yield what was measured, where and when."""
    names = ("opensafemlrm", "aiohttp", "uvloop", "orjson")
    parts = [f"{name} {version(name)}" for name in names]
    if inspect:
        code = "from importlib.metadata import version as v; print(v('inspect-ai'), v('openai'))"
        said = subprocess.run([inspect, "-c", code], capture_output=True, text=True, check=True)
        parts.append("inspect-ai {} with openai {}".format(*said.stdout.split()))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    yield f"{datetime.date.today()}, Python {platform.python_version()}, {', '.join(parts)}"
    yield f"{os.cpu_count()} cores, {platform.machine()}; load average at the start: {load:.1f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--long", action="store_true", help="measure up to 100,000 items")
    parser.add_argument("--items", type=int, help="only this many items, at every latency")
    parser.add_argument("--images", type=int, default=20, help="distinct pictures; 0: one an item")
    parser.add_argument("--inspect-python", help="a Python that has inspect-ai and openai")
    asked = parser.parse_args()
    loads: tuple[Load, ...] = LONG if asked.long else QUICK
    if asked.items:
        loads = tuple(
            dict.fromkeys(Load(load.latency, load.concurrency, asked.items) for load in loads)
        )
    lines = [*heading(asked.inspect_python), ""]
    found = measure_all(loads, asked.inspect_python, asked.images)
    lines += [*table(found), "", *(f"- {line}" for line in targets(found))]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
