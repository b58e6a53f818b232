"""What every measured client shares: its arguments, the images, and what it reports at the end."""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import struct
import time
import zlib
from pathlib import Path
from typing import Final

SIDE: Final = 185
"""Pixels: random ones do not compress, so that a PNG of this side has about 100 KB."""


def arguments() -> argparse.Namespace:
    """Read what the parent process asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--images", type=int, required=True, help="how many of them are distinct")
    parser.add_argument("--folder", type=Path, required=True)
    return parser.parse_args()


def question(number: int) -> str:
    """Return a question that no other item has."""
    return f"Question {number}: what can be said of this picture, and of the number {number * 7}?"


def png(number: int) -> bytes:
    """Return a picture of noise of about 100 KB, without Pillow, which Inspect does not bring."""
    noise = random.Random(number)
    rows = b"".join(b"\0" + noise.randbytes(3 * SIDE) for _ in range(SIDE))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


class Measurement:
    """Counts from its making on; :meth:`report` prints one line of JSON for the parent."""

    def __init__(self) -> None:
        self._time, self._cpu = time.perf_counter(), _cpu()

    def report(self, folder: Path | None = None) -> None:
        """Print seconds, CPU seconds of this process, its peak memory, and bytes in ``folder``."""
        found = {
            "seconds": time.perf_counter() - self._time,
            "cpu": _cpu() - self._cpu,
            "rss": _peak_rss(),
            "disk": 0 if folder is None else _bytes_in(folder),
        }
        print(json.dumps(found), flush=True)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_rss() -> int:
    """Return bytes. Read from /proc where there is one: ru_maxrss includes the parent's there."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024


def _bytes_in(folder: Path) -> int:
    """Return what the files take on the disk, in whole blocks."""
    return sum(
        Path(where, name).stat().st_blocks * 512
        for where, _, names in os.walk(folder)
        for name in names
    )
