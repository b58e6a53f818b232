"""One model of all pairs and scenarios: against a library, and whether its intervals hold."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM

from opensafemlrm.analysis.hierarchical import Rows, blind_spots, fit

PAIRS = [("r0", "b0"), ("r1", "b0"), ("r2", "b1")]
SCENARIOS = 10
SCHEMA = {"model": pl.String, "scenario": pl.String, "item": pl.String}


def test_effects_and_their_spread_are_those_of_a_library() -> None:
    """20 groups of 8 to 60 samples, against the variational posterior of statsmodels."""
    drawing = np.random.default_rng(3)
    n = drawing.integers(8, 60, 20)
    rate = expit(-1 + drawing.normal(0, 0.8, 20))
    hits = drawing.binomial(n, rate)
    group = np.repeat(np.arange(20), n)
    outcome = np.concatenate([np.arange(k) < h for k, h in zip(n, hits, strict=True)])
    of_group = (group[:, None] == np.arange(20)).astype(float)
    library = BinomialBayesMixedGLM(
        outcome.astype(float),
        np.ones((len(group), 1)),
        of_group,
        np.zeros(20, int),
        vcp_p=1,
        fe_p=5,
    ).fit_vb()
    design = np.hstack([np.ones((20, 1)), np.eye(20)])
    found = fit(Rows(hits.astype(float), n.astype(float), design, np.arange(20)), 1, [20])
    expected = np.concatenate([library.fe_mean, library.vc_mean])
    assert found.effects == pytest.approx(expected, abs=0.05)
    assert found.deviations == pytest.approx(np.exp(library.vcp_mean), abs=0.05)
    errors = np.sqrt(found.covariance.diagonal())[1:]
    assert errors == pytest.approx(library.vc_sd, rel=0.15)


def study(seed: int, items: int = 0) -> tuple[pl.DataFrame, dict[tuple[str, str], float]]:
    """Counts of three pairs, two with one base, and the true rates; with items, 80 a scenario."""
    drawing = np.random.default_rng(seed)
    scenario, more = drawing.normal(0, 0.8, SCENARIOS), drawing.normal(0, 0.4, SCENARIOS)
    log_odds = {base: -1 + drawing.normal(0, 0.5) + scenario for base in ("b0", "b1")}
    for model, base in PAIRS:
        tax = 0.5 + drawing.normal(0, 0.3) + more + drawing.normal(0, 0.3, SCENARIOS)
        log_odds[model] = log_odds[base] + tax
    effects = drawing.normal(0, 1, (SCENARIOS, items))
    everywhere = np.random.default_rng(0).normal(0, 1, 2_000) if items else np.zeros(1)
    rates: dict[tuple[str, str], float] = {}
    rows: list[tuple[str, str, str | None, int, int]] = []
    for model, of_scenario in log_odds.items():
        for place, one in enumerate(of_scenario):
            name = f"s{place}"
            rates[model, name] = float(expit(one + everywhere).mean())
            if items:
                unsafe = drawing.uniform(size=items) < expit(one + effects[place])
                rows += [(model, name, f"{name}-{i}", int(u), 1) for i, u in enumerate(unsafe)]
            else:
                rows.append((model, name, None, int(drawing.binomial(80, expit(one))), 80))
    schema = {**SCHEMA, "hits": pl.Int64, "n": pl.Int64}
    return pl.DataFrame(rows, schema, orient="row"), rates


@pytest.mark.once
@pytest.mark.no_cover
@pytest.mark.parametrize(("items", "studies"), [(0, 10), (30, 2)])
def test_intervals_of_ratios_and_ranks_hold_the_truth(items: int, studies: int) -> None:
    """Over all blind spots; the most extreme of each pair by itself too, which is the headline."""
    inside, places, worst = [], [], []
    for seed in range(100, 100 + studies):
        counts, rates = study(seed, items)
        rows = blind_spots(counts, PAIRS)
        for pair, of_pair in rows.partition_by("model", "base", as_dict=True).items():
            model, base = map(str, pair)
            true = {s: rates[model, s] - rates[base, s] for s in of_pair["scenario"]}
            for row in of_pair.iter_rows(named=True):
                scenario = row["scenario"]
                ratio = rates[model, scenario] / rates[base, scenario]
                held = row["shrunken_ratio_low"] <= ratio <= row["shrunken_ratio_high"]
                place = 1 + sum(other > true[scenario] for other in true.values())
                inside.append(held)
                places.append(row["rank_low"] <= place <= row["rank_high"])
                worst += [held] if row["rank"] == 1 else []
    assert np.mean(inside) >= 0.9
    assert np.mean(places) >= 0.9
    assert np.mean(worst) >= 0.8


def test_a_scenario_with_few_samples_is_drawn_to_the_others() -> None:
    """2 of 2 against 0 of 2 is no blind spot of 100 points."""
    rows = [("r0", f"s{k}", None, 20, 100) for k in range(8)] + [("r0", "few", None, 2, 2)]
    rows += [("b0", f"s{k}", None, 10, 100) for k in range(8)] + [("b0", "few", None, 0, 2)]
    counts = pl.DataFrame(rows, {**SCHEMA, "hits": pl.Int64, "n": pl.Int64}, orient="row")
    found = blind_spots(counts, [("r0", "b0")])
    few = found.filter(scenario="few")
    assert 0 < few["shrunken_difference"].item() < 0.5
    assert few["shrunken_ratio_low"].item() > 0
    assert few["shrunken_ratio_high"].is_finite().all()


def test_a_scenario_that_one_side_lacks_has_no_row() -> None:
    counts, _ = study(1)
    counts = counts.filter(~((pl.col("model") == "b1") & (pl.col("scenario") == "s3")))
    found = blind_spots(counts, PAIRS)
    assert "s3" not in found.filter(model="r2")["scenario"]
    assert found.filter(model="r2")["rank"].sort().to_list() == [*range(1, SCENARIOS)]
    assert blind_spots(counts.clear(), []).is_empty()
