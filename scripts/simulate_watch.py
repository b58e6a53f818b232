"""Try the probe of `safemlrm watch`: how often it sees a swap, and how often one that is none.

    python scripts/simulate_watch.py organisms [--store DIR]   three organisms at temperature 0.7
    python scripts/simulate_watch.py rates                     made-up models with close rates

``organisms`` asks each model every question of canary :data:`REPEATS` times, through the engine,
and keeps the replies in a store. A trial draws from them without replacement: the whole run (one
reply an item), the probe's reference, and the new replies, of the same model or of another.
``rates`` draws verdicts from made-up chances of an unsafe reply; the second model's log odds are
moved. The tables are in docs/watch.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

import opensafemlrm as osm
from opensafemlrm.analysis.swap import swap_test
from opensafemlrm.api import make_plan
from opensafemlrm.engine import Plan
from opensafemlrm.frame import OUTCOME_COLUMNS, read
from opensafemlrm.store.source import open_source
from opensafemlrm.types import Sampling
from opensafemlrm.watch import ERROR, REFERENCE, SHARE
from opensafemlrm.watch.probe import FEATURES, choose, replies_of

MODELS: Final = ("organism/base", "organism/reasoner", "organism/reasoner-safe")
REPEATS: Final = 20
WEEKS: Final = 10
DRAWS: Final = 999


def organisms(folder: Path, trials: int) -> None:
    """Print detections and false alarms among real organisms."""
    study = osm.Study(
        models=MODELS,
        datasets=["canary"],
        judge="canary",
        sampling=Sampling(temperature=0.7, max_tokens=512),
        repeats=REPEATS,
    )
    osm.evaluate(study, folder, progress=False)
    plan = make_plan(study)
    with open_source(folder) as source:
        frame, replies = read(source, OUTCOME_COLUMNS), replies_of(source, plan)
    for share in (SHARE, SHARE / 4):
        print(f"\na probe of {share:.1%} of the requests, error {ERROR:g} a week")
        print("| model | now | weeks | seen | median p |\n|:--|:--|--:|--:|--:|")
        for old in MODELS:
            for now in MODELS:
                p = _p_values(plan, frame, replies, old, now, share, trials)
                found = f"{(p <= ERROR).sum()}"
                print(f"| {old} | {now} | {p.size} | {found} | {np.median(p):.4f} |", flush=True)


def _p_values(  # what a trial is made of
    plan: Plan,
    frame: pl.DataFrame,
    replies: pl.DataFrame,
    old: str,
    now: str,
    share: float,
    trials: int,
) -> np.ndarray:
    """Return the p-values of trials: one week each of a swap, ten of an unchanged model."""
    cells = [dataclasses.replace(c, repeats=1) for c in plan.cells if c.model.label == old]
    of_old = frame.filter(pl.col("model").cast(pl.String) == old)
    items = replies.filter(model=old)["item_key"].unique().sort().to_list()
    before, after = (_array(replies.filter(model=name), items) for name in (old, now))
    rng, found = np.random.default_rng(11), []
    names = pl.Series(items).cast(pl.Categorical)
    for _ in range(trials):
        lots = rng.permuted(np.tile(np.arange(REPEATS), (len(items), 1)), axis=1)
        audit = pl.DataFrame({"item_key": names, "repeat": lots[:, 0]})
        rows = of_old.join(audit.cast({"repeat": pl.Int64}), on=["item_key", "repeat"], how="semi")
        (chosen,) = choose(rows, cells, share).values()
        index = np.array([items.index(key) for key in chosen])
        reference = REFERENCE + 1
        weeks = 1 if old != now else WEEKS
        for week in range(weeks):
            # Of an unchanged model, the replies of earlier weeks join the reference.
            shown = lots[index, 1 : reference + week]
            values = before[index[:, None], shown]
            new = after[index, lots[index, reference + week]][:, None]
            found.append(_test(np.concatenate([values, new], axis=1)))
    return np.array(found)


def _test(values: np.ndarray) -> float:
    """Compare the last reply of each item with the others; values: items × replies × features."""
    items, count, features = values.shape
    flat = values.reshape(-1, features)
    is_new = np.tile(np.arange(count) == count - 1, items)
    named = {str(i): flat[:, i] for i in range(features)}
    return swap_test(named, np.repeat(np.arange(items), count), is_new, draws=DRAWS).p_value


def _array(replies: pl.DataFrame, items: list[str]) -> np.ndarray:
    ordered = replies.sort("item_key", "repeat").select(pl.col(FEATURES).cast(pl.Float64))
    return ordered.to_numpy().reshape(len(items), REPEATS, len(FEATURES))


def rates(trials: int) -> None:
    """Print detections of a model that differs in the chance of an unsafe reply alone."""
    rng = np.random.default_rng(12)
    print("| requests of a probe | moved by (log odds) | ASR then | ASR now | seen |")
    print("|--:|--:|--:|--:|--:|")
    for requests in (25, 100, 250):
        for moved in (0.0, 0.5, 1.0, 2.0):
            odds = rng.normal(-1.0, 2.0, (trials, 10 * requests))
            chance, later = (1 / (1 + np.exp(-odds - by)) for by in (0.0, moved))
            # Two repeats in the whole run: those that differ are on the border.
            audit = rng.random((2, *odds.shape)) < chance
            border = (audit[0] != audit[1]) + rng.random(odds.shape) / 2
            half = requests // 2
            seen = 0
            for i in range(trials):
                order = np.argsort(-border[i])
                rest = rng.permutation(order[half:])[: requests - half]
                chosen = np.concatenate([order[:half], rest])
                before = rng.random((REFERENCE, requests)) < chance[i, chosen]
                new = rng.random((1, requests)) < later[i, chosen]
                values = np.concatenate([before, new]).T[:, :, None].astype(float)
                seen += _test(values) <= ERROR
            asr = f"{chance.mean():.1%} | {later.mean():.1%}"
            print(f"| {requests} | {moved:g} | {asr} | {seen / trials:.1%} |", flush=True)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("which", choices=("organisms", "rates"))
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--store", type=Path, help="where the organisms' replies are kept")
    options = parser.parse_args()
    if options.which == "rates":
        rates(options.trials)
    elif options.store is not None:
        organisms(options.store, options.trials)
    else:
        with tempfile.TemporaryDirectory() as folder:
            organisms(Path(folder) / "store", options.trials)


if __name__ == "__main__":
    main()
