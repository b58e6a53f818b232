"""How often drift is found where it is, and where there is none.

    python scripts/simulate_drift.py [--trials 500]

Series of 12 checkpoints over ten scenarios of 40 items. In two of the scenarios the chance of an
unsafe reply jumps from 20 % to 50 % at the seventh checkpoint (or another); in one of the others it
falls from 20 % to 5 %, which is a gain. Beside them series in which nothing happens. Items are
alike (every one at the rate), unlike (their own rates, drawn from a beta distribution), or nearly
settled (most are always safe or always unsafe). Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Final

import numpy as np
import polars as pl

from opensafemlrm.analysis.drift import drift
from opensafemlrm.analysis.intervals import Array
from opensafemlrm.frame import SCHEMA

CHECKPOINTS: Final = 12
SCENARIOS: Final = 10
ITEMS: Final = 40
WORSE: Final = (0, 1)
BETTER: Final = 2
RATE, RATE_WORSE, RATE_BETTER = 0.2, 0.5, 0.05
SPREADS: Final = {"alike": 0.0, "unlike": 2.0, "nearly settled": 0.4}
"""Two parameters of a beta distribution together; 0 where all items have the same rate."""
CASES: Final = (
    ("alike", 7),
    ("unlike", 7),
    ("nearly settled", 7),
    ("alike", 3),
    ("alike", 11),
)
"""Items, and the first checkpoint that is worse, from 1."""
NAMES: Final = [f"checkpoint {number:02}" for number in range(1, CHECKPOINTS + 1)]
SERIES: Final = pl.DataFrame(
    {"series": "simulated", "model": NAMES, "step": [float(i) for i in range(CHECKPOINTS)]}
).with_columns(date=pl.lit(None, pl.String))


def rates(rng: np.random.Generator, spread: float, jump: int | None) -> Array:
    """Return the chance of an unsafe reply of each scenario, item and checkpoint."""
    shape = (SCENARIOS, ITEMS, 1)
    items = np.full(shape, RATE)
    if spread:
        items = rng.beta(RATE * spread, (1 - RATE) * spread, shape)
    every = np.repeat(items, CHECKPOINTS, axis=2)
    if jump is not None:
        # What was unsafe stays so; of what was safe, as much turns as makes the rate.
        after = every[list(WORSE), :, jump - 1 :]
        every[list(WORSE), :, jump - 1 :] = 1 - (1 - after) * (1 - RATE_WORSE) / (1 - RATE)
        every[BETTER, :, jump - 1 :] *= RATE_BETTER / RATE
    return every


def frame_of(unsafe: np.ndarray) -> pl.DataFrame:
    """Return the tidy table of replies, by scenario, item and checkpoint."""
    scenario, item, checkpoint = (part.ravel() for part in np.indices(unsafe.shape))
    fixed = {
        **{"source": "run", "simulated": True, "dataset": "d", "attack": "direct"},
        **{"defense": "none", "sampling": "", "judge": "judge", "expected": "harmful"},
        **{"repeat": 0, "status": "ok", "reasoning_status": "absent", "part": "full"},
        **{"threshold_lenient": 1.0, "threshold_strict": 1.0, "stopped": False, "by_rule": False},
    }
    rows = pl.DataFrame(
        {
            "model": np.array(NAMES)[checkpoint],
            "cell": np.array(NAMES)[checkpoint],
            "scenario": np.array([f"scenario {s:02}" for s in range(SCENARIOS)])[scenario],
            "item_key": (scenario * ITEMS + item).astype(str),
            "score": unsafe.ravel().astype(np.float64),
        }
    ).with_columns(**{name: pl.lit(value) for name, value in fixed.items()})
    names = [name for name in SCHEMA if name in rows.columns]
    return (
        rows.select(names)
        .cast({name: SCHEMA[name] for name in names})
        .with_columns(
            pl.lit(None, SCHEMA[name]).alias(name) for name in SCHEMA if name not in names
        )
    )


def trials(
    seed: int, spread: float, jump: int | None, count: int, alike: int = 1
) -> Iterator[pl.DataFrame]:
    """Yield what drift says of simulated series, a row a scenario.

    So many items each are ``alike``: they get the same replies, as paraphrases may.
    """
    rng = np.random.default_rng(seed)
    for _ in range(count):
        chances = rates(rng, spread, jump)
        lots = np.repeat(rng.random(chances.shape)[:, ::alike], alike, axis=1)
        rows = drift(frame_of(lots < chances), SERIES)
        yield rows.changes.sort("scenario")


def main() -> None:
    """Print how often drift was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=500)
    count = parser.parse_args().trials
    sys.stdout.write(
        "| items | jump at | found there ± 1 | exactly there | both found | others found | false "
        "alarms without a jump | forgotten: above 0, of the two | of the others | gained: above 0, "
        "of the one | of the others |\n|:--|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
    )
    alarms = {name: _alarms(100 + i, SPREADS[name], count) for i, name in enumerate(SPREADS)}
    for seed, (name, jump) in enumerate(CASES):
        shares = _shares(seed, SPREADS[name], jump, count)
        told = [*shares[:4], alarms[name], *shares[4:]]
        sys.stdout.write(f"| {name} | {jump} | {' | '.join(f'{100 * s:.1f}' for s in told)} |\n")
        sys.stdout.flush()
    pairs = _alarms(200, SPREADS["alike"], count, alike=2)
    sys.stdout.write(f"\nItems in pairs that get the same replies: {100 * pairs:.1f} %\n")


def _alarms(seed: int, spread: float, count: int, alike: int = 1) -> float:
    """Return in what share of series without a jump something is called worse."""
    every = trials(seed, spread, None, count, alike)
    return float(np.mean([rows["first_worse"].is_not_null().any() for rows in every]))


def _shares(seed: int, spread: float, jump: int, count: int) -> tuple[float, ...]:
    """Return in what share of trials, or of scenarios of trials, each of the table's columns is."""
    near = {NAMES[place - 1] for place in (jump - 1, jump, jump + 1) if place <= CHECKPOINTS}
    hits, exact, forgot, gained, worse = (np.zeros((count, SCENARIOS), bool) for _ in range(5))
    for i, every in enumerate(trials(seed, spread, jump, count)):
        rows = every.filter(pl.col("scenario") != "all")
        worse[i] = rows["first_worse"].is_not_null()
        hits[i] = rows["first_worse"].is_in(near).fill_null(value=False)
        exact[i] = (rows["first_worse"] == NAMES[jump - 1]).fill_null(value=False)
        forgot[i], gained[i] = rows["forgotten_low"] > 0, rows["gained_low"] > 0
    two = list(WORSE)
    means = (
        *(hits[:, two].mean(), exact[:, two].mean(), hits[:, two].all(axis=1).mean()),
        np.delete(worse, two, axis=1).any(axis=1).mean(),
        *(forgot[:, two].mean(), np.delete(forgot, two, axis=1).any(axis=1).mean()),
        *(gained[:, BETTER].mean(), np.delete(gained, BETTER, axis=1).any(axis=1).mean()),
    )
    return tuple(map(float, means))


if __name__ == "__main__":
    main()
