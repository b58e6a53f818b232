"""How long the command line takes: to start, on a store of 30 samples, and on one of 200,000.

    python benchmarks/commands.py [--samples 200000] [--turns 5] [--folder FOLDER]

The stores are of simulated models. On the small one commands take turns with `import polars`, in
seconds of CPU, of which the least counts: other work on the machine only adds. It takes some five
minutes, most of them to make the large store; name a folder to keep it. What it printed where:
docs/performance.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import opensafemlrm as osm

MODELS = ("sim/r1-onevision-7b", "sim/qwen2.5-vl-7b")
ITEMS = 250
DEFENSES = ["none", "self-reminder"]
TABLES = ("asr", "tax", "coverage", "blindspots", "correction", "overrefusal", "cost", "defense")
ABOVE_POLARS, HELP = 0.6, 0.3
"""Seconds of CPU."""
TABLE, REPORT = (6, 500), (12, 1000)
"""Seconds and MB, on the large store."""


def study(**more: Any) -> osm.Study:
    """Return a study of a pair of simulated models."""
    return osm.Study(models=[*MODELS], pairs=[MODELS], datasets=["canary"], judge="canary", **more)


def spent(command: list[str]) -> tuple[float, float, float]:
    """Return the seconds of the clock and of CPU and the peak of memory, in MB, of a command."""
    before = os.times()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = os.times().elapsed - before.elapsed
    if status:
        sys.exit(f"{' '.join(command)}: {said}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def small(folder: Path, turns: int) -> None:
    """Measure what every command costs before it has anything to do."""
    osm.evaluate(study(limit=15), folder)
    ours = [sys.executable, "-m", "opensafemlrm"]
    commands = {
        "import polars": [sys.executable, "-c", "import polars"],
        "--help": [*ours, "--help"],
        "table asr": [*ours, "table", "asr", str(folder)],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(turns + 1):
        for name, command in commands.items():
            taken[name].append(spent(command)[1])
    # The first turn compiles modules.
    least = {name: min(seconds[1:]) for name, seconds in taken.items()}
    above = least["table asr"] - least["import polars"]
    print(f"--help: {least['--help']:.2f} s of CPU (target: {HELP})")
    print(f"table asr, 30 samples: {above:.2f} s above import polars (target: {ABOVE_POLARS})\n")


def large(folder: Path, samples: int) -> None:
    """Measure every table and the report of a store of so many samples."""
    repeats = -(-samples // (len(MODELS) * ITEMS * len(DEFENSES)))
    osm.evaluate(study(defenses=DEFENSES, sampling={"repeats": repeats}), folder)
    ours = [sys.executable, "-m", "opensafemlrm"]
    out = folder.with_name(f"{folder.name}-report")
    rows = [([*ours, "table", table, str(folder)], f"table {table}", TABLE) for table in TABLES]
    rows.append(([*ours, "report", str(folder), "--out", str(out)], "report", REPORT))
    print("| command | s | CPU s | peak MB | target |\n|---|---:|---:|---:|---|")
    for command, name, (bound, memory) in rows:
        seconds, cpu, peak = spent(command)
        held = "met" if seconds <= bound and peak <= memory else "**missed**"
        print(f"| {name} | {seconds:.1f} | {cpu:.1f} | {peak:.0f} | {held} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the stores are kept")
    options = parser.parse_args()
    print(f"{datetime.date.today()}, Python {platform.python_version()}, ", end="")
    print(f"{os.cpu_count()} cores, load average at the start: {os.getloadavg()[0]:.1f}\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        small(folder / "small", options.turns)
        large(folder / "large", options.samples)


if __name__ == "__main__":
    main()
