"""How often the tests find what is not there, and how often intervals over repeats hold the truth.

    python scripts/simulate_tests.py [--studies 10000] [--only headlines]

Prints the tables of docs/statistics.md under "Tests, simulated". Items answer alike by a
beta-binomial model: their consistency is the correlation of two repeats of an item, 1 for a model
that always says the same and 0 for one that tosses a coin of the same weight each time. The seed is
fixed.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.analysis.agreement import kendall_w
from opensafemlrm.analysis.blindspots import against_rest
from opensafemlrm.analysis.clustered_counts import rate_of
from opensafemlrm.analysis.compare import COMPARED, EVERY
from opensafemlrm.analysis.effects import Cluster, Mean, effects
from opensafemlrm.analysis.grouped import grouped
from opensafemlrm.analysis.intervals import rate_interval
from opensafemlrm.analysis.significance import holm
from opensafemlrm.analysis.tax import FAMILY, SCENARIO, tax
from opensafemlrm.frame import SCHEMA

Floats = NDArray[np.float64]
REPEATS: Final = (1, 4, 16)
ITEMS: Final = (20, 44, 109)
RATES: Final = (0.02, 0.1, 0.3, 0.5)
CONSISTENCY: Final = {"equal": (0.2, 0.2), "unequal": (0.9, 0.2), "extreme": (1.0, 0.0)}
SIZES: Final = (44, 97, 109, 109, 130, 139, 144, 154, 163, 167)
BASES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""Ten scenarios of MM-SafetyBench, and rates for them."""


def hits(
    rates: Any, consistency: float, repeats: Any, shape: tuple[int, ...], random: Any
) -> Floats:
    """Draw how many repeats of each item are unsafe."""
    rates = np.broadcast_to(rates, shape)
    if consistency >= 1:
        own = random.binomial(1, rates).astype(float)
    elif consistency <= 0:
        own = rates
    else:
        weight = 1 / consistency - 1
        own = random.beta(np.maximum(rates * weight, 1e-9), np.maximum((1 - rates) * weight, 1e-9))
    return np.asarray(random.binomial(repeats, own), dtype=np.float64)


def counted(model: Floats, base: Floats, repeats: Any, *, paired: bool = True) -> dict[str, Any]:
    """Count studies as :func:`opensafemlrm.analysis.compare.compare` does, a row a study."""
    k = np.broadcast_to(np.asarray(repeats, dtype=np.float64), model.shape)
    sums: dict[str, Any] = {"simulated": np.zeros(len(model), bool)}
    for side, x in (("", model), ("_right", base)):
        values = (k, x, k**2, x**2, x * k, np.ones_like(x))
        names = ("scored", "hits", "scored_squared", "hits_squared", "hits_scored", "items")
        sums |= {f"{name}{side}": of.sum(axis=1) for name, of in zip(names, values, strict=True)}
        sums |= {f"{name}{side}_every": sums[f"{name}{side}"] for name in names[:2]}
        sums |= {f"n{side}": sums[f"scored{side}"]}
        sums |= {
            f"{name}{side}": np.zeros(len(x)) for name in ("ruled", "lost", "so_far", "stopped")
        }
    sums |= {"hits_both": (model * base).sum(axis=1), "worse": (model > base).sum(axis=1)}
    sums |= {"better": (model < base).sum(axis=1), "apart": np.abs(model - base).sum(axis=1)}
    return sums | {"paired": np.full(len(model), paired)}


def sides(scenarios: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Put scenarios of the same studies below each other."""
    frames = []
    for number, sums in enumerate(scenarios):
        study = np.arange(len(sums["paired"]))
        frames.append(pl.DataFrame(sums).with_columns(study=study, scenario=pl.lit(str(number))))
    rows = pl.concat(frames)
    assert {*COMPARED, *EVERY} <= {*rows.columns}
    return rows


def type_one(studies: int, random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Yield, for repeats and consistency, how often a tax of 0 has a p of at most 5 %."""
    for repeats, (name, alike) in itertools.product(REPEATS, CONSISTENCY.items()):
        if repeats == 1 and name != "equal":
            continue
        for paired in (True, False):
            shares = []
            for items, rate in itertools.product(ITEMS, RATES):
                model, base = (hits(rate, c, repeats, (studies, items), random) for c in alike)
                rows = effects(sides([counted(model, base, repeats, paired=paired)]), ["study"])
                leaves_out = (rows["low"] > 0) | (rows["high"] < 0)
                assert ((rows["p_value"] <= 0.05) == leaves_out).all()
                shares.append(float((rows["p_value"].to_numpy() <= 0.05).mean()))
            kind = "paired" if paired else "unpaired"
            yield repeats, name, kind, 100 * np.mean(shares), 100 * max(shares)


def families(studies: int, random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Yield how often any of ten scenarios has a Holm-adjusted p of at most 5 % by chance."""
    for repeats, (name, alike) in itertools.product(REPEATS, CONSISTENCY.items()):
        if repeats == 1 and name != "equal":
            continue
        for paired in (True, False):
            scenarios = []
            for items, rate in zip(SIZES, BASES, strict=True):
                model, base = (hits(rate, c, repeats, (studies, items), random) for c in alike)
                scenarios.append(counted(model, base, repeats, paired=paired))
            rows = effects(sides(scenarios), ["study", "scenario"]).sort("study", "scenario")
            p_values = rows["p_value"].to_numpy().reshape(studies, len(SIZES))
            wrong = np.mean([(holm(row) <= 0.05).any() for row in p_values])
            yield repeats, name, "paired" if paired else "unpaired", 100 * wrong


def averages(studies: int, random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Yield coverage of the averages over ten scenarios, and how often a tax of 0 is found.

    By item the scenarios' rates and taxes are fixed; by scenario they are drawn anew for each study
    (rates from 0.2 to 0.6, taxes normal with a standard deviation of 10 points).
    """
    choices = itertools.product(("item", "scenario"), ("micro", "macro"), (1, 4), (0.0, 0.15))
    for cluster, mean, repeats, gap in choices:
        scenarios, truth = [], []
        for items, rate in zip(SIZES, BASES, strict=True):
            base_rate: Any = rate
            extra: Any = gap if rate + gap < 1 else 0.0
            if cluster == "scenario":
                base_rate = random.uniform(0.2, 0.6, (studies, 1))
                extra = gap + random.normal(0, 0.1, (studies, 1))
            other = np.clip(base_rate + extra, 0, 1)
            base = hits(base_rate, 0.3, repeats, (studies, items), random)
            model = hits(other, 0.6, repeats, (studies, items), random)
            scenarios.append(counted(model, base, repeats))
            truth.append(extra)
        of: tuple[Mean, Cluster] = (mean, cluster)  # type: ignore[assignment]
        rows = effects(sides(scenarios), ["study"], mean=of[0], cluster=of[1])
        weights = np.array(SIZES) / sum(SIZES) if mean == "micro" else np.full(10, 0.1)
        value = gap if cluster == "scenario" else float(np.dot(weights, truth))
        held = (rows["low"] <= value + 1e-12) & (rows["high"] >= value - 1e-12)
        found = 100 * (rows["p_value"] <= 0.05).sum() / studies if gap == 0 else float("nan")
        yield cluster, mean, repeats, f"{100 * gap:g}", 100 * held.sum() / studies, found


def few_scenarios(studies: int, random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Yield, by number of scenarios, how averages over few of them hold as a sample of scenarios.

    Lowest coverage, and how often a tax of 0, or one of 15 points, is found at most, over taxes
    that are normal or skewed (standard deviation 10 points), scenarios of 20 or of 20 and 100
    items, and micro and macro averages.
    """
    for number in (2, 3, 5, 6, 10):
        held, found = [], {0.0: [0.0], 0.15: [0.0]}
        choices = itertools.product((True, False), (20, 100), ("micro", "macro"), (0.0, 0.15))
        for skewed, most, mean, gap in choices:
            scenarios = []
            for place in range(number):
                shape = (studies, most if place % 2 else 20)
                base_rate = random.uniform(0.2, 0.6, (studies, 1))
                away = random.exponential(1, (studies, 1)) - 1
                away = 0.1 * (away if skewed else random.normal(size=(studies, 1)))
                model = hits(np.clip(base_rate + gap + away, 0, 1), 0.6, 1, shape, random)
                scenarios.append(counted(model, hits(base_rate, 0.3, 1, shape, random), 1))
            of: Mean = mean  # type: ignore[assignment]
            rows = effects(sides(scenarios), ["study"], mean=of, cluster="scenario")
            leaves_out = (rows["low"] > 0) | (rows["high"] < 0)
            assert ((rows["p_value"] <= 0.05) == leaves_out).all()
            assert (leaves_out == (rows["ratio_low"] > 1) | (rows["ratio_high"] < 1)).all()
            inside = (rows["low"] <= gap + 1e-12) & (rows["high"] >= gap - 1e-12)
            held.append(100 * float(inside.sum()) / studies)
            found[gap].append(100 * float(leaves_out.sum()) / studies)
        yield number, min(held), max(found[0.0]), max(found[0.15])


def others(studies: int, random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Yield how often a scenario differs from a model's others, by chance: any one, and one of ten
    after Holm's adjustment.

    By item all rates are 20 %; by scenario they are drawn anew, from 5 to 40 %.
    """
    clusters: tuple[Cluster, ...] = ("item", "scenario")
    for cluster, repeats in itertools.product(clusters, (1, 4, 16)):
        shape, scenarios = (studies, 20), []
        for _ in SIZES:
            rate = random.uniform(0.05, 0.4, (studies, 1)) if cluster == "scenario" else 0.2
            model = hits(rate, 0.4, repeats, shape, random)
            scenarios.append(counted(model, model, repeats))
        keys = dict.fromkeys(set(FAMILY) - {"model"}, "")
        family = (
            sides(scenarios)
            .rename({"study": "model"})
            .with_columns(pl.lit(value).alias(name) for name, value in keys.items())
        )
        rows = effects(family, SCENARIO).sort("model")
        found = against_rest(rows, rows, cluster, MAX_UNSCORED)["rest_p_value"]
        by_study = found.reshape(studies, len(SIZES))
        wrong = np.mean([(holm(row) <= 0.05).any() for row in by_study])
        yield cluster, repeats, 100 * np.mean(found <= 0.05), 100 * wrong


def repeated_rates(studies: int, random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Yield coverage of a rate over repeats: mean and lowest over rates and consistencies."""
    for items, repeats in itertools.product((20, 44, 109, 167), ("4", "16", "1 or 16", "1 to 8")):
        shares = []
        for rate, alike in itertools.product((0.01, 0.05, 0.1, 0.2, 0.5), (0.1, 0.25, 0.6, 0.9)):
            shape = (studies, items)
            if repeats == "1 or 16":
                k: Any = np.broadcast_to(np.where(np.arange(items) < items // 2, 1, 16), shape)
            elif repeats == "1 to 8":
                k = 1 + random.binomial(7, 0.6, shape)
            else:
                k = int(repeats)
            x = hits(rate, alike, k, shape, random)
            share, size = rate_of(pl.DataFrame(counted(x, x, k)))
            low, high = rate_interval(share * size, size)
            shares.append(np.mean((low <= rate + 1e-12) & (high >= rate - 1e-12)))
        yield items, repeats, 100 * np.mean(shares), 100 * min(shares)


def rankings(studies: int, random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Yield how often Kendall's W of equal taxes has a p of at most 5 %."""
    for bases in ("abcd", "aabc", "aabb", "aabcd", "aaabb"):
        p_values = []
        for _ in range(studies):
            chance = {base: random.normal(size=10) for base in bases}
            taxes = np.array([random.normal(size=10) - chance[base] for base in bases])
            p_values.append(kendall_w(taxes, list(bases))[1])
        yield len(bases), len(set(bases)), 100 * np.mean(np.array(p_values) <= 0.05)


def frame_of(**columns: Any) -> pl.DataFrame:
    """Return a tidy table of scores; a column is an array, or the same in every row."""
    fixed = {"simulated": False, "defense": "none", "sampling": "s", "expected": "harmful"}
    fixed |= {"part": "full", "threshold_lenient": 4.0, "threshold_strict": 4.0, "repeat": 0}
    fixed |= {"dataset": "d", "attack": "direct", "judge": "j", "by_rule": None, "reason": None}
    given = fixed | {"score_so_far": None, "stopped": False} | columns
    arrays = {name: value for name, value in given.items() if isinstance(value, np.ndarray)}
    rest = {name: pl.lit(value) for name, value in given.items() if name not in arrays}
    rows = pl.DataFrame(arrays).with_columns(**rest).with_columns(cell="model")
    texts = [name for name in rows.columns if SCHEMA[name] == pl.Categorical]
    return rows.with_columns(pl.col(texts).cast(pl.String)).cast(
        {name: SCHEMA[name] for name in rows.columns}
    )


def headlines(studies: int, random: np.random.Generator, cut: float = 0.0) -> float:
    """Return in how many null studies the page's blind spot stands out, in per cent.

    Two reasoning models and their bases, three attacks, ten scenarios of 20 items, equal rates.
    Such a share of the reasoning models' replies is ``cut``, all of them safe ones.
    """
    shape = (studies, 4, 3, 10, 20)
    study, model, attack, scenario, item = (place.ravel() for place in np.indices(shape))
    rate = np.array(BASES)[scenario]
    score = 5.0 * random.binomial(1, rate)
    of_safe = np.minimum(cut / (1 - rate), 1)
    lost = (model % 2 == 0) & (score == 0) & (random.random(len(score)) < of_safe)
    score[lost] = np.nan
    names = np.array(["reasoner-a", "base-a", "reasoner-b", "base-b"])
    frame = frame_of(
        model=names[model],
        judge=study.astype(str),
        attack=attack.astype(str),
        scenario=scenario.astype(str),
        item_key=np.char.add(np.char.add(scenario.astype(str), "-"), item.astype(str)),
        score=score,
    ).with_columns(pl.col("score").fill_nan(None))
    rows = grouped(frame, names[[0, 2]].tolist(), names[[1, 3]].tolist())
    stands = rows.filter((pl.col("simultaneous_low") > 0) | (pl.col("simultaneous_high") < 0))
    return 100 * stands["judge"].n_unique() / studies


def truncated(studies: int, random: np.random.Generator) -> tuple[float, float]:
    """Return how often a tax of 0 is found where 15 % of the reasoner's replies are cut, safe ones.

    By the scored replies alone, and whatever the others hold (200 items, 40 % unsafe).
    """
    unsafe = random.binomial(1, 0.4, (2, studies, 200)).astype(float)
    unsafe[0][(unsafe[0] == 0) & (random.random(unsafe[0].shape) < 0.25)] = np.nan
    model, study, item = (place.ravel() for place in np.indices(unsafe.shape))
    frame = frame_of(
        model=np.array(["reasoner", "base"])[model],
        scenario=study.astype(str),
        item_key=np.char.add(np.char.add(study.astype(str), "-"), item.astype(str)),
        score=5.0 * unsafe.ravel(),
    ).with_columns(pl.col("score").fill_nan(None))
    pairs = pl.DataFrame({"reasoner": ["reasoner"], "base": ["base"]})
    rows = tax(frame, pairs, by="scenario").filter(level="scenario")
    alone, sure = (
        100 * float((rows[name].to_numpy() <= 0.05).mean()) for name in ("p_value", "bound_p_value")
    )
    return alone, sure


def print_table(title: str, columns: str, rows: Iterator[tuple[Any, ...]]) -> None:
    names = columns.split(", ")
    print(f"**{title}**\n\n| {' | '.join(names)} |\n|{'--:|' * len(names)}", flush=True)
    for row in rows:
        cells = (
            f"{cell:.1f}".replace("nan", "–") if isinstance(cell, float) else f"{cell}"
            for cell in row
        )
        print(f"| {' | '.join(cells)} |", flush=True)
    print()


def _headlines(studies: int, random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    for cut in (0.0, 0.15):
        yield f"blind spot stands out, {100 * cut:g} % cut", headlines(studies, random, cut)
    alone, sure = truncated(4 * studies, random)
    yield "tax of 0 found with 15 % cut, scored replies alone", alone
    yield "tax of 0 found with 15 % cut, which is safer", sure


Rows = Callable[[int, np.random.Generator], Iterator[tuple[Any, ...]]]
TABLES: Final[dict[str, tuple[str, str, Rows, int]]] = {
    "tax": ("A tax of 0 found, %", "repeats, consistency, items, mean, highest", type_one, 1),
    "families": ("Any of ten scenarios, %", "repeats, consistency, items, found", families, 5),
    "averages": (
        "Averages over ten scenarios, %",
        "cluster, mean, repeats, true tax, coverage, found",
        averages,
        5,
    ),
    "few": (
        "Few scenarios as a sample, %",
        "scenarios, lowest coverage, tax of 0 found, tax of 15 points found",
        few_scenarios,
        5,
    ),
    "rest": ("Against the model's others, %", "cluster, repeats, one, any of ten", others, 5),
    "rates": ("Rates over repeats, %", "items, repeats, mean, lowest", repeated_rates, 5),
    "rankings": ("Agreement of equal taxes, %", "pairs, bases, found", rankings, 10),
    "headlines": ("Headlines, %", "what, found", _headlines, 20),
}
"""Title, columns, rows, and which part of the studies is made."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--only", choices=list(TABLES))
    options = parser.parse_args()
    for name in [options.only] if options.only else TABLES:
        title, columns, rows, part = TABLES[name]
        studies = max(options.studies // part, 1)
        random = np.random.default_rng(0)
        print_table(f"{title} ({studies:,} studies)", columns, rows(studies, random))


if __name__ == "__main__":
    main()
