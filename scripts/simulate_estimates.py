"""How often pooled blind spots and prediction-powered figures hold the truth, repeats included.

    python -m scripts.simulate_estimates [--only pooled] [--studies 100]

Prints the tables of docs/statistics.md under "Estimates, simulated". Items answer alike as in
scripts/simulate_tests.py. The seed is fixed.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import polars as pl

from opensafemlrm.analysis.hierarchical import blind_spots
from opensafemlrm.analysis.prediction_powered import DIFFERENCE, RATE, stratified_mean
from scripts.simulate_tests import Floats, hits, print_table

SCENARIOS: Final = 10
ITEMS: Final = 20
PAIRS: Final = (("r0", "b0"), ("r1", "b1"))
SENSITIVITY: Final = 0.85
SPECIFICITY: Final = 0.95
SCHEMA: Final = {"model": pl.String, "scenario": pl.String, "item": pl.String}


def study(rates: dict[str, Floats], repeats: int, random: np.random.Generator) -> pl.DataFrame:
    """Return the counts of a study as the tables count it: an item's repeats are one, their mean.

    ``rates`` are those of each model, scenario by scenario; a base's items answer less alike.
    """
    rows = []
    for model, of_scenario in rates.items():
        alike = 0.6 if model.startswith("r") else 0.2
        shape = (SCENARIOS, ITEMS)
        unsafe = hits(of_scenario[:, None], alike, repeats, shape, random) / repeats
        rows += [
            (model, f"s{place}", f"s{place}-{item}", share, 1.0)
            for place, of_items in enumerate(unsafe)
            for item, share in enumerate(of_items.tolist())
        ]
    schema = {**SCHEMA, "hits": pl.Float64, "n": pl.Float64}
    return pl.DataFrame(rows, schema, orient="row")


def pooled(studies: int, random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Yield how often the interval of a pooled ratio leaves out 1 where the tax is 0, how often it
    holds a ratio where there is a tax that differs by scenario, and how wide that of the
    difference is, in points: its median."""
    for rate, repeats in itertools.product((0.01, 0.05, 0.25), (1, 4)):
        wrong, held, widths = [], [], []
        for number in range(studies):
            log_odds = np.log(rate / (1 - rate)) + random.normal(0, 0.7, (2, SCENARIOS))
            tax = np.zeros((2, SCENARIOS))
            if number % 2:
                tax = 0.5 + random.normal(0, 0.4, (2, SCENARIOS))
            sides = (("b", log_odds), ("r", log_odds + tax))
            rates = {
                f"{side}{pair}": 1 / (1 + np.exp(-of_pair))
                for side, values in sides
                for pair, of_pair in enumerate(values)
            }
            found = blind_spots(study(rates, repeats, random), PAIRS)
            low, high = (found[f"shrunken_ratio_{end}"].to_numpy() for end in ("low", "high"))
            place = found["scenario"].str.slice(1).cast(pl.Int64).to_numpy()
            model = found["model"].str.slice(1).cast(pl.Int64).to_numpy()
            ratio = np.array(
                [rates[f"r{m}"][s] / rates[f"b{m}"][s] for m, s in zip(model, place, strict=True)]
            )
            if number % 2:
                held.append(np.mean((low <= ratio) & (ratio <= high)))
                widths.append(float(np.median(found["shrunken_high"] - found["shrunken_low"])))
            else:
                wrong.append(np.mean((low > 1) | (high < 1)))
        yield (
            *(f"{100 * rate:g}", repeats),
            *(100 * float(np.mean(values)) for values in (wrong, held, widths)),
        )


def powered(studies: int, random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Yield coverage of rates and of taxes of 0 from 80 labels of 100 items: mean and lowest.

    The judge errs on each reply anew, or on all repeats of an item alike; labels are of replies
    drawn at random, or of one repeat an item, or of all repeats of items.
    """
    for repeats, drawn in itertools.product((1, 4, 16), ("at random", "one an item", "all of one")):
        if repeats == 1 and drawn != "at random":
            continue
        for tax in (False, True):
            held = []
            for rate, alike, same in itertools.product((0.05, 0.3), (0.1, 0.5, 1.0), (0, 1)):
                inside = [
                    _held(rate, alike, repeats, drawn, random, tax=tax, errors_alike=bool(same))
                    for _ in range(studies)
                ]
                held.append(100 * float(np.mean(inside)))
            yield repeats, drawn, "tax" if tax else "rate", float(np.mean(held)), min(held)


def _held(
    rate: float,
    alike: float,
    repeats: int,
    drawn: str,
    random: np.random.Generator,
    *,
    tax: bool,
    errors_alike: bool,
) -> bool:
    """Say of one study whether its interval holds the truth."""
    items, labels = 100, 80
    shape = (items, repeats)

    def side() -> tuple[Floats, Floats]:
        unsafe = np.zeros(shape)
        often = hits(rate, alike, repeats, (items,), random)
        for item, count in enumerate(often.astype(int)):
            unsafe[item, random.permutation(repeats)[:count]] = 1
        chance = random.random((items, 1) if errors_alike else shape)
        flagged = chance < np.where(unsafe == 1, SENSITIVITY, 1 - SPECIFICITY)
        return unsafe.ravel(), flagged.ravel().astype(float)

    unsafe, flagged = side()
    truth, verdicts = rate, flagged
    if tax:
        other, other_flagged = side()
        unsafe, verdicts, truth = unsafe - other, 2 * flagged + other_flagged, 0.0
    values = DIFFERENCE if tax else RATE
    item = np.repeat(np.arange(items), repeats)
    if drawn == "at random":
        chosen = random.choice(len(item), labels, replace=False)
    elif drawn == "one an item":
        chosen = random.choice(items, labels, replace=False) * repeats
    else:
        chosen = np.flatnonzero(np.isin(item, random.choice(items, 40, replace=False)))
    known = np.full(len(item), np.nan)
    known[chosen] = unsafe[chosen]
    found = stratified_mean(verdicts.astype(np.int64), known, values, items=item)
    return found.low - 1e-12 <= truth <= found.high + 1e-12


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--only", choices=("pooled", "powered"))
    options = parser.parse_args()
    n = options.studies
    tables = {
        "pooled": ("Pooled blind spots", "rate, repeats, tax of 0 found, coverage, width", pooled),
        "powered": (
            "Prediction-powered",
            "repeats, labels, figure, mean coverage, lowest",
            powered,
        ),
    }
    for name in [options.only] if options.only else tables:
        title, columns, rows = tables[name]
        print_table(f"{title}, % ({n:,} studies)", columns, rows(n, np.random.default_rng(0)))


if __name__ == "__main__":
    main()
