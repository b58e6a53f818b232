"""Measure that reading a reply takes time linear in its length, whatever is in it.

    python benchmarks/reasoning.py [FORMAT …]

Each hostile unit is repeated to 100 kB and to 1 MB and read in every format, or in those given. The
worst ratio of the two times has to be at most 15. Short times are left out as noise.
"""

from __future__ import annotations

import gc
import sys
import time
from typing import Final

from opensafemlrm import reasoning

UNITS: Final = (
    *("<think>", "</think>", "<think></think>", "x </think> y ", "`</think>`", '"</think>" '),
    *("```\n", "```py\n</think>\n", "<answer>", "<response>", "<|begin_of_box|>", "[THINK]"),
    *("◁think▷", "<think ", "< / think ", "\\boxed{", "{", "# Conclusion\n", "**Final Answer**\n"),
    *("### Rationales:\n", "<|channel|>", "<|start|>", "analysis", "assistantfinal", "</s>"),
    *("<|open|>think<|sep|>", "<|end_message|>", " ", "\n", "<", "a"),
)
SMALL, LARGE = 100_000, 1_000_000
MAX_RATIO: Final = 15
MIN_SECONDS: Final = 0.002
"""Below this for the small text, a ratio says more of the machine than of the reader."""


def seconds(text: str, name: str, truncated: bool) -> float:
    """Return the CPU time to read ``text``, without the garbage collector, as timeit measures."""
    gc.collect()
    gc.disable()
    start = time.process_time()
    reasoning.read(text, name, truncated=truncated)
    taken = time.process_time() - start
    gc.enable()
    return taken


def ratio(unit: str, name: str, truncated: bool) -> float | None:
    """Return how many times longer ten times the text takes; ``None`` if too short to tell."""
    text = unit * (SMALL // len(unit))
    small = min(seconds(text, name, truncated) for _ in range(3))
    if small < MIN_SECONDS:
        return None
    large = unit * (LARGE // len(unit))
    return min(seconds(large, name, truncated) for _ in range(2)) / small


def main() -> None:
    """Print the worst ratios, and exit with 1 if one is too large."""
    names = sys.argv[1:] or list(reasoning.FORMATS)
    found = []
    for name in names:
        for unit in UNITS:
            for truncated in (False, True):
                measured = ratio(unit, name, truncated)
                if measured is not None:
                    found.append((measured, name, unit, truncated))
    found.sort(reverse=True)
    print(f"{len(found)} readings that take {MIN_SECONDS * 1000:.0f} ms or more for 100 kB; worst:")
    for measured, name, unit, truncated in found[:5]:
        print(f"{measured:6.1f}  {name:<16} {unit!r}{' (cut)' if truncated else ''}")
    if found and found[0][0] > MAX_RATIO:
        sys.exit(f"1 MB takes more than {MAX_RATIO} times as long as 100 kB")


if __name__ == "__main__":
    main()
