"""Try the rules that end a run early: how often they are wrong, and what they save.

    python scripts/simulate_stopping.py coverage      sequences of intervals, 2,000 runs each
    python scripts/simulate_stopping.py decisions     is there a tax? 2,000 runs each
    python scripts/simulate_stopping.py published     the nine published models, whole and stopped

``published`` runs the simulated models by the engine, over harmless items in the numbers of the
published scenarios. Where ``evalsig`` is installed, its sequential gate reads the same differences
(it is no dependency). The tables are in docs/statistics.md.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import polars as pl

import opensafemlrm as osm
from opensafemlrm.components import Dataset
from opensafemlrm.datasets.canary import Canary
from opensafemlrm.engine.confidence_sequence import ConfidenceSequence, Decision
from opensafemlrm.models.demo.sim_figures import NAMES, PAIRS, published
from opensafemlrm.types import Card, Item

MARGIN: Final = 0.1
ITEMS: Final = 160
_CLEAR, _STRONG = 2.5, 4.0
"""Standard errors of the tax in a whole run from which its verdict is beyond doubt, and strong."""


@dataclass(frozen=True)
class Numbered(Dataset):
    """Canary's secrets, each asked for again and again, in the numbers of the published items."""

    name: ClassVar[str] = "numbered"
    card: ClassVar[Card] = Card(title="Canary, numbered", paper="this script")
    sizes: dict[str, int] = field(compare=False)

    def rows(self) -> Iterator[Item]:
        """Yield the items."""
        for scenario, size in self.sizes.items():
            own = [row for row in Canary((scenario,), benign=False).rows() if isinstance(row, Item)]
            for number in range(size):
                item = own[number % len(own)]
                question = f"{item.question} (visitor {number})"
                yield replace(item, dataset=self.name, id=f"{scenario}-{number}", question=question)


def coverage(runs: int) -> None:
    """Print how often no interval of a sequence ever leaves the mean out."""
    draws = np.random.default_rng(1)
    print("| rate | of the data set | of a population | width at half |\n|--:|--:|--:|--:|")
    for rate in (0.01, 0.1, 0.5):
        held, widths = [0, 0], []
        for _ in range(runs):
            values = (draws.random(ITEMS) < rate).astype(float)
            means = (values.mean(), rate)
            for i, size in enumerate((ITEMS, None)):
                sequence = ConfidenceSequence(size)
                for number, value in enumerate(values):
                    sequence.draw(float(value))
                    if size and number == ITEMS // 2:
                        widths.append(sequence.interval[1] - sequence.interval[0])
                low, high = sequence.interval  # they only narrow: the last one lies in all others
                held[i] += low - 1e-9 <= means[i] <= high + 1e-9
        shares = " | ".join(f"{100 * count / runs:.1f}" for count in held)
        print(f"| {rate} | {shares} | {100 * float(np.mean(widths)):.1f} |")


def decisions(runs: int) -> None:
    """Print how often a decision is wrong, and after how many items it comes."""
    draws = np.random.default_rng(2)
    print(
        "| more unsafe | less | claim | yes | no | wrong | items |\n|--:|--:|:--|--:|--:|--:|--:|"
    )
    for more, less in ((0.01, 0.01), (0.2, 0.2), (0.11, 0.01), (0.3, 0.2), (0.4, 0.1)):
        for population in (False, True):
            yes = no = wrong = items = 0
            for _ in range(runs):
                chances = draws.random(ITEMS)
                values = (chances < more).astype(float) - (chances > 1 - less)
                answer, used = _decide(values, population=population)
                mean = more - less if population else float(values.mean())
                yes, no, items = yes + (answer == "yes"), no + (answer == "no"), items + used
                wrong += (answer == "yes" and mean <= 1e-9) or (
                    answer == "no" and mean >= MARGIN - 1e-9
                )
            claim = "population" if population else "data set"
            shares = " | ".join(f"{100 * count / runs:.1f}" for count in (yes, no, wrong))
            print(f"| {more} | {less} | {claim} | {shares} | {items / runs:.0f} |")


def _decide(values: np.ndarray, *, population: bool) -> tuple[str, int]:
    decision = Decision(len(values), MARGIN, population=population)
    for number, value in enumerate(values, 1):
        decision.draw(float(value))
        if number % 4 == 0 and (decision.answer or decision.chance < 0.25):
            return decision.answer or "undecided", number
    return decision.answer or "all", len(values)


def replay() -> None:
    """Print what a rule saves on the published rates, and whether it decides as a whole run."""
    sizes: dict[str, int] = {}
    for (model, setting, scenario), counts in published().items():
        if model in PAIRS and setting == "plain":
            sizes[scenario] = min(sizes.get(scenario, 10**6), sum(counts["full"]))
    models = [f"sim/{name}" for name in NAMES]
    pairs = [(f"sim/{model}", f"sim/{base}") for model, base in PAIRS.items()]
    given: dict[str, Any] = {"pairs": pairs, "attacks": ["direct", "typo"]}
    with tempfile.TemporaryDirectory() as folder:
        whole, stopped = Path(folder, "whole"), Path(folder, "stopped")
        osm.evaluate(osm.Study(models, [Numbered(sizes)], "canary", **given), whole)
        rule = {"decide": "tax > 0", "margin": MARGIN}
        osm.evaluate(osm.Study(models, [Numbered(sizes)], "canary", stop=rule, **given), stopped)
        rows = _whole_verdicts(whole).join(
            osm.open(stopped).stopping().select("model", "attack", "scenario", "answer", "drawn"),
            on=["model", "attack", "scenario"],
        )
        samples = [osm.open(path).frame().filter(part="full").height for path in (whole, stopped)]
    _print_saved(rows, samples)


def _whole_verdicts(path: Path) -> pl.DataFrame:
    """Return each pair's scenarios with what the whole run says of the tax."""
    frame = osm.open(path).frame().filter(part="full")
    place = ["model", "attack", "scenario"]
    hits = frame.select(*place, "item_key", hit=(pl.col("score") >= 4).cast(pl.Float64))
    of_pair = {f"sim/{model}": f"sim/{base}" for model, base in PAIRS.items()}
    both = hits.with_columns(
        base=pl.col("model").cast(pl.String).replace_strict(of_pair, default=None)
    )
    both = both.drop_nulls("base").join(
        hits.with_columns(base=pl.col("model").cast(pl.String), of_base="hit"),
        on=["base", "attack", "scenario", "item_key"],
    )
    both = both.with_columns(difference=pl.col("hit") - pl.col("of_base")).sort("item_key")
    rows = both.group_by(place).agg(
        "difference", n=pl.len(), mean=pl.col("difference").mean(), sd=pl.col("difference").std()
    )
    error = pl.col("sd") / pl.col("n").sqrt()
    low, high = pl.col("mean") - 1.96 * error, pl.col("mean") + 1.96 * error
    return rows.with_columns(
        pl.col(place).cast(pl.String),
        z=pl.col("mean") / error,
        whole=pl.when(low > 0).then(pl.lit("yes")).when(high < MARGIN).then(pl.lit("no")),
    )


def _print_saved(rows: pl.DataFrame, samples: list[int]) -> None:
    def share(chosen: pl.DataFrame) -> str:
        return f"{100 * float(chosen['drawn'].sum()) / float(chosen['n'].sum()):.1f} %"

    clear = rows.filter(pl.col("z").abs() > _CLEAR)
    strong = rows.filter(pl.col("z").abs() > _STRONG)
    unlike = clear.filter(pl.col("answer") != pl.col("whole").fill_null("undecided"))
    print(f"samples of a whole run {samples[0]:,}, of a stopped one {samples[1]:,}")
    print(f"items of pairs: {share(rows)} of a whole run's; where |z| > {_STRONG}: {share(strong)}")
    print(f"unlike a whole run where |z| > {_CLEAR}: {len(unlike)} of {len(clear)}")
    print("answers:", dict(rows["answer"].value_counts().sort("answer").iter_rows()))
    try:
        from evalsig import sequential_gate  # noqa: PLC0415 # no dependency
    except ImportError:
        print("evalsig is not installed")
        return
    used = fired = unlike_whole = 0
    for row in rows.iter_rows(named=True):
        outcome = sequential_gate(np.random.default_rng(0).permutation(row["difference"]))
        used += outcome.n_pairs
        fired += outcome.stopped
        is_clear = abs(row["z"]) > _CLEAR
        unlike_whole += is_clear and outcome.stopped != (row["whole"] == "yes")
    print(
        f"evalsig 0.1 (only `tax > 0`): {100 * used / rows['n'].sum():.1f} % of the items, "
        f"{fired} found, unlike a whole run where |z| > {_CLEAR}: {unlike_whole}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("coverage", "decisions", "published"))
    parser.add_argument("--runs", type=int, default=2000)
    asked = parser.parse_args()
    if asked.what == "published":
        replay()
    else:
        (coverage if asked.what == "coverage" else decisions)(asked.runs)
