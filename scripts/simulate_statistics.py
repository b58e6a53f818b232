"""How often the intervals hold the truth, where every item is asked once.

    python scripts/simulate_statistics.py [--studies 2000]

Prints the tables of docs/statistics.md: for each interval, the coverage of nominal 95 % in a grid
of rates and sample sizes. Where a cell stands for several settings (base rates, correlations), the
lowest of them is shown; the mean is over all of them. The seed is fixed. Repeats, averages and
tests are in scripts/simulate_tests.py.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opensafemlrm.analysis.agreement import agreement, kappa, phi
from opensafemlrm.analysis.intervals import (
    cautious_correlation,
    difference_interval,
    rate_interval,
    ratio_interval,
)
from opensafemlrm.analysis.judge_errors import rogan_gladen

Floats = NDArray[np.float64]
Coverage = dict[tuple[float, int], list[float]]
Setting = tuple[float, int, Floats]
"""Rate, sample size, and for each study whether the interval held the truth."""

RATES: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
SIZES: Final = (44, 97, 109, 130, 139, 144, 154, 163, 167)
"""The scenario sizes of MM-SafetyBench that the study uses."""
CORRELATIONS: Final = (0.0, 0.3, 0.6)
SLACK: Final = 1e-12


def rates(studies: int, random: np.random.Generator) -> Iterator[Setting]:
    """Yield the coverage of an attack success rate."""
    for p in RATES:
        for n in SIZES:
            low, high = rate_interval(random.binomial(n, p, studies), np.full(studies, n))
            yield p, n, _holds(low, p, high)


def unpaired(
    interval: Callable[..., tuple[Floats, Floats]],
    truth: Callable[[float, float], float],
    studies: int,
    random: np.random.Generator,
) -> Iterator[Setting]:
    """Yield the coverage of a contrast of two independent samples of the same size."""
    for p in RATES:
        for n in SIZES:
            for q in RATES:
                x, y = random.binomial(n, p, studies) / n, random.binomial(n, q, studies) / n
                low, high = interval(x, np.full(studies, n), y, np.full(studies, n))
                yield p, n, _holds(*_around(truth(p, q), low, high))


def paired(
    interval: Callable[..., tuple[Floats, Floats]],
    truth: Callable[[float, float], float],
    studies: int,
    random: np.random.Generator,
) -> Iterator[Setting]:
    """Yield the coverage of a contrast of two models on the same items."""
    for p in RATES:
        for n in SIZES:
            for q in RATES:
                for correlation in CORRELATIONS:
                    table = joint(p, q, correlation)
                    if table is None:
                        continue
                    a, b, c, d = random.multinomial(n, table, studies).T
                    x, y = (a + b) / n, (a + c) / n
                    with np.errstate(invalid="ignore", divide="ignore"):
                        r = (a * d - b * c) / n**2 / np.sqrt(x * (1 - x) * y * (1 - y))
                    size = np.full(studies, float(n))
                    r = cautious_correlation(np.nan_to_num(r), x, y, size)
                    low, high = interval(x, size, y, size, r)
                    yield p, n, _holds(*_around(truth(p, q), low, high))


def agreements(measure: str, studies: int, random: np.random.Generator) -> Iterator[Setting]:
    """Yield the coverage of φ or κ over studies in which it is defined.

    The other label is set as often, or in three of ten; settings in which fewer than half of the
    studies define it are left out.
    """
    of = {"phi": phi, "kappa": kappa}[measure]
    for p in RATES:
        for n in (44, 97, 167):
            for q in sorted({p, 0.3}):
                for correlation in (0.0, 0.5, 0.9):
                    table = joint(p, q, correlation)
                    if table is None:
                        continue
                    truth = float(of(np.array(table)))
                    held = [
                        low - SLACK <= truth <= high + SLACK
                        for row in random.multinomial(n, table, studies)
                        for low, high in [_limits_of(measure, tuple(row.tolist()))]
                        if low is not None and high is not None
                    ]
                    if len(held) >= studies / 2:
                        yield p, n, np.array(held, dtype=np.float64)


def corrected(studies: int, random: np.random.Generator) -> Iterator[Setting]:
    """Yield the coverage of a rate corrected by a judge that was compared with 100 + 100 labels."""
    for p in RATES:
        for n in SIZES:
            for se, sp in ((0.95, 0.98), (0.85, 0.95)):
                seen = random.binomial(n, p * se + (1 - p) * (1 - sp), studies)
                right = random.binomial(100, se, studies), random.binomial(100, sp, studies)
                _, low, high = rogan_gladen(seen / n, n, right[0], 100, right[1], 100)
                yield p, n, ((low <= p) & (p <= high)).astype(np.float64)


def joint(p: float, q: float, correlation: float) -> list[float] | None:
    """Return the 2×2 of two labels with these rates, or ``None`` if there is none."""
    both = p * q + correlation * np.sqrt(p * (1 - p) * q * (1 - q))
    table = [both, p - both, q - both, 1 - p - q + both]
    return table if min(table) >= 0 else None


INTERVALS: Final[dict[str, Callable[[int, np.random.Generator], Iterator[Setting]]]] = {
    "Rate": rates,
    "Difference, unpaired": functools.partial(unpaired, difference_interval, lambda p, q: p - q),
    "Difference, paired": functools.partial(paired, difference_interval, lambda p, q: p - q),
    "Ratio, unpaired": functools.partial(unpaired, ratio_interval, lambda p, q: p / q),
    "Ratio, paired": functools.partial(paired, ratio_interval, lambda p, q: p / q),
    "Corrected rate": corrected,
    "phi": functools.partial(agreements, "phi"),
    "kappa": functools.partial(agreements, "kappa"),
}


def simulate(name: str, studies: int, seed: int = 0) -> Coverage:
    """Return the coverage of every setting of an interval, by rate and sample size."""
    found: Coverage = {}
    for rate, n, held in INTERVALS[name](studies, np.random.default_rng(seed)):
        found.setdefault((rate, n), []).append(float(held.mean()))
    return found


@functools.lru_cache(maxsize=200_000)
def _limits_of(measure: str, table: tuple[int, ...]) -> tuple[float | None, float | None]:
    found = agreement(*table)
    return getattr(found, f"{measure}_low"), getattr(found, f"{measure}_high")


def _around(truth: float, low: Floats, high: Floats) -> tuple[Floats, float, Floats]:
    return low, truth, high


def _holds(low: Floats, truth: float, high: Floats) -> Floats:
    return ((low <= truth + SLACK) & (truth <= high + SLACK)).astype(np.float64)


def _print(name: str, found: Coverage) -> None:
    every = [one for cell in found.values() for one in cell]
    rates_, sizes = (sorted({key[i] for key in found}) for i in (0, 1))
    mean, worst = 100 * np.mean(every), 100 * min(every)
    print(f"**{name}** ({len(every)} settings): mean {mean:.1f} %, lowest {worst:.1f} %\n")
    print("| rate | " + " | ".join(f"n={n}" for n in sizes) + " |")
    print("|--:|" + "--:|" * len(sizes))
    for rate in rates_:
        cells = [found.get((rate, int(n)), []) for n in sizes]
        shown = [f"{100 * min(cell):.1f}" if cell else "–" for cell in cells]
        print(f"| {rate:g} | " + " | ".join(shown) + " |")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=2_000)
    parser.add_argument("--only", choices=list(INTERVALS))
    options = parser.parse_args()
    for name in [options.only] if options.only else INTERVALS:
        _print(name, simulate(name, options.studies))


if __name__ == "__main__":
    main()
