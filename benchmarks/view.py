"""How long the viewer's pages take on a large store, and how much memory its server needs.

    python benchmarks/view.py make FOLDER [--rows 1000000]   a store of simulated models, copied
    python benchmarks/view.py measure FOLDER [--requests 400]

`make` evaluates 5,000 samples, and copies them under new items and repeats with words of their own.
`measure` starts `safemlrm view` on the store and asks it for pages, drawn by a seed, as a browser
would. Times are those that the server's threads had of a processor, since other work on the machine
would count otherwise, and in brackets those of the clock. It ends with an error where a bound is
missed. What it printed where: docs/view.md.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import platform
import random
import re
import sqlite3
import statistics
import subprocess
import sys
import time
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import opensafemlrm as osm
from opensafemlrm.store import Store
from opensafemlrm.store.connecting import DATABASE
from opensafemlrm.store.tables import TABLES

PAIRS = [
    ["sim/r1-onevision-7b", "sim/qwen2.5-vl-7b"],
    ["sim/mulberry-qwen2vl-7b", "sim/qwen2-vl-7b"],
]
STUDY: dict[str, Any] = {
    "models": [
        *("sim/r1-onevision-7b", "sim/qwen2.5-vl-7b", "sim/mm-eureka-qwen-7b"),
        *("sim/mulberry-qwen2vl-7b", "sim/qwen2-vl-7b"),
    ],
    "pairs": PAIRS,
    "datasets": ["canary"],
    "attacks": ["direct", "figstep", "typo", "mirror-text"],
    "judge": "canary",
}
REPEATS = 10
WORDS = [f"word{number}" for number in range(20_000)]
PAGE_P95, SEARCH_P95, MEMORY = 0.100, 0.150, 300
"""Seconds, seconds, MB."""


def make(folder: Path, rows: int) -> None:
    """Make the store: real samples first, then copies of them under new items and repeats."""
    osm.evaluate(osm.Study(**STUDY), folder)
    with Store.open(folder, "write") as store:
        have = store.connection.execute("SELECT count(*) FROM generations").fetchone()[0]
        copies = -(-rows // (have * REPEATS))
        _copy(store.connection, copies)
        made = store.connection.execute("SELECT count(*) FROM generations").fetchone()[0]
    print(f"{made:,} samples in {folder}, {(folder / DATABASE).stat().st_size / 2**20:,.0f} MB")


def _copy(connection: sqlite3.Connection, copies: int) -> None:
    """Copy every sample REPEATS times for each of as many copies of its item."""
    drawing = random.Random(0)

    def key(old: bytes, copy: int, repeat: int) -> bytes:
        return hashlib.blake2b(b"%b %d %d" % (old, copy, repeat), digest_size=16).digest()

    def more(text: str | None) -> str | None:
        # As in a language: a few words often, many seldom.
        drawn = (WORDS[int(len(WORDS) ** drawing.random()) - 1] for _ in range(25))
        return text and f"{text} {' '.join(drawn)}"

    connection.create_function("new_key", 3, key, deterministic=True)
    connection.create_function("more", 1, more)
    for table in ("items", "generations", "judgements", "prompts"):
        connection.execute(f"CREATE TEMP TABLE first_{table} AS SELECT * FROM main.{table}")
    for copy in range(copies):
        if copy:
            new = {"key": f"new_key(key, {copy}, 0)", "id": f"id || '-{copy}'"}
            _insert(connection, "items", new)
        item = f"new_key(item, {copy}, 0)" if copy else "item"
        for repeat in range(REPEATS):
            if not copy and not repeat:
                continue
            place = f"{copy}, {repeat}"
            seed = f"seed + {repeat}"
            of_reply = {"key": f"new_key(key, {place})", "item": item, "seed": seed}
            texts = {"repeat": str(repeat), "text": "more(text)", "reasoning": "more(reasoning)"}
            _insert(connection, "generations", of_reply | texts)
            _insert(connection, "judgements", {"generation": f"new_key(generation, {place})"})
            _insert(connection, "prompts", {"item": item, "seed": seed})
        connection.commit()
        print(f"copy {copy + 1} of {copies}", file=sys.stderr)


def _insert(connection: sqlite3.Connection, table: str, changes: dict[str, str]) -> None:
    names = [f'"{name}"' for name in TABLES[table].columns]
    values = [changes.get(name.strip('"'), name) for name in names]
    connection.execute(
        f"INSERT OR IGNORE INTO main.{table} ({', '.join(names)}) "
        f"SELECT {', '.join(values)} FROM temp.first_{table}"
    )


def measure(folder: Path, requests: int) -> None:
    """Ask for pages, and print how long each kind took."""
    started = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-m", "opensafemlrm", "view", str(folder), "--no-open"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    try:
        address = server.stdout.readline().strip()
        print(f"{platform.machine()}, Python {platform.python_version()}, {time.strftime('%F')}")
        print(f"ready after {time.perf_counter() - started:.1f} s")
        visitor = Visitor(address, server.pid)
        missed = _pages(visitor, requests)
        print(f"memory, at most, before a search: {_memory(server.pid):.0f} MB")
        missed |= _searches(visitor, requests)
        memory = _memory(server.pid)
        print(f"memory, at most: {memory:.0f} MB (bound {MEMORY})")
        missed |= memory > MEMORY
    finally:
        server.terminate()
        server.communicate(timeout=10)
    sys.exit(missed)


class Taken(NamedTuple):
    """Seconds of a processor, and of the clock."""

    cpu: float
    clock: float


class Visitor:
    """A browser that only asks."""

    def __init__(self, address: str, pid: int) -> None:
        self._pid = pid
        host, _, query = address.removeprefix("http://").partition("/")
        self._host = host
        self._connection = http.client.HTTPConnection(host)
        self._cookie = ""
        self._cookie = self._ask("GET", f"/{query}")[1].partition(";")[0]
        self._ask("POST", "/session", "next=/")

    def page(self, path: str) -> tuple[str, Taken]:
        """Return a page and what the server took for it."""
        before = Taken(_cpu(self._pid), time.perf_counter())
        text, _ = self._ask("GET", path)
        return text, Taken(_cpu(self._pid) - before.cpu, time.perf_counter() - before.clock)

    def _ask(self, method: str, path: str, body: str | None = None) -> tuple[str, str]:
        headers = {"Cookie": self._cookie, "Origin": f"http://{self._host}"}
        self._connection.request(method, path, body, headers)
        reply = self._connection.getresponse()
        text = reply.read().decode()
        if reply.status >= 400:
            raise SystemExit(f"{path}: {reply.status}\n{text[:500]}")
        return text, reply.headers.get("Set-Cookie", "")


def _pages(visitor: Visitor, requests: int) -> bool:
    """Walk through the pages, and return whether the bound is missed."""
    drawing = random.Random(0)
    browse, _ = visitor.page("/browse")
    options = {
        name: re.findall(r'<option value="([^"]+)"', form)
        for name, form in re.findall(r'<select name="(\w+)">(.*?)</select>', browse, re.DOTALL)
    }
    taken: dict[str, list[Taken]] = {}

    def ask(kind: str, path: str) -> str:
        text, seconds = visitor.page(path)
        taken.setdefault(kind, []).append(seconds)
        return text

    def filters() -> str:
        names = drawing.sample(sorted(set(options) - {"other", "part"}), drawing.randint(0, 3))
        return "&".join(f"{name}={quote(drawing.choice(options[name]))}" for name in names)

    for _ in range(requests):
        page = ask("browse", f"/browse?{filters()}")
        for kind, pattern in (
            ("next page", r'rel="next" href="([^"]+)"'),
            ("sample", r'href="(/sample/[^"]+)"'),
        ):
            found = re.findall(pattern, page)
            if found:
                page = ask(kind, unescape(drawing.choice(found)))
        found = re.findall(r'href="(/compare/[^"]+)"', page)
        if found:
            ask("compare", unescape(drawing.choice(found)))
        ask("matrix", f"/matrix?attack={drawing.choice(options['attack'])}")
        ask("overview", "/")
        reasoner, base = drawing.choice(PAIRS)
        attack = drawing.choice(options["attack"])
        ask("flips", f"/browse?model={reasoner}&other={base}&verdict=unsafe&attack={attack}")
    return _told(taken, PAGE_P95)


def _searches(visitor: Visitor, requests: int) -> bool:
    """Search for common and rare words, once they are all indexed; whether the bound is missed."""
    started = time.perf_counter()
    while "being indexed" in visitor.page("/browse?q=word1")[0]:
        time.sleep(2)
    print(f"words indexed after {time.perf_counter() - started:.0f} s")
    drawing = random.Random(1)
    taken: dict[str, list[Taken]] = {}
    for _ in range(requests):
        rank = int(len(WORDS) ** drawing.random()) - 1
        kind = "common word" if rank < 100 else "rare word"
        narrowed = drawing.choice(("", "&verdict=unsafe", "&attack=figstep&verdict=leak"))
        taken.setdefault(kind + (", filters" if narrowed else ""), []).append(
            visitor.page(f"/browse?q={WORDS[rank]}{narrowed}")[1]
        )
    return _told(taken, SEARCH_P95)


def _told(taken: dict[str, list[Taken]], bound: float) -> bool:
    for kind, seconds in taken.items():
        print(f"{kind:22} {_line(seconds)}")
    every = [one for some in taken.values() for one in some]
    print(f"{'all':22} {_line(every)} (bound of p95: {1000 * bound:.0f})")
    return _p95([one.cpu for one in every]) > bound


def _line(taken: list[Taken]) -> str:
    cpu = [one.cpu for one in taken]
    middle, most, clock = statistics.median(cpu), max(cpu), [one.clock for one in taken]
    figures = f"median {1000 * middle:.0f}, p95 {1000 * _p95(cpu):.0f}, most {1000 * most:.0f}"
    return f"{len(taken):5} requests, ms: {figures} (clock: p95 {1000 * _p95(clock):.0f})"


def _p95(seconds: list[float]) -> float:
    return sorted(seconds)[max(0, round(0.95 * len(seconds)) - 1)]


def _cpu(pid: int) -> float:
    """Return the seconds of processor time that all threads of the process have had."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _memory(pid: int) -> float:
    """Return the most memory that the process ever had, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Run the part that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("make", "measure"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=100)
    given = parser.parse_args()
    if given.part == "make":
        make(given.folder, given.rows)
    else:
        measure(given.folder, given.requests)


if __name__ == "__main__":
    main()
