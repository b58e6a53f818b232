"""The smallest tax that a study of some size can find."""

from __future__ import annotations

import re

import numpy as np
import pytest

from opensafemlrm.analysis.intervals import difference_interval
from opensafemlrm.analysis.power import detectable_tax, power_note


@pytest.mark.parametrize("items", [100, 400])
def test_four_of_five_studies_find_it(items: int) -> None:
    random = np.random.default_rng(0)
    tax = detectable_tax(items)
    model, base = (random.binomial(items, rate, 4000) / items for rate in (0.2 + tax, 0.2))
    low, _ = difference_interval(model, np.full(4000, items), base, np.full(4000, items))
    assert np.mean(low > 0) == pytest.approx(0.8, abs=0.08)


def test_items_help_more_than_repeats_unless_a_repeat_is_as_good_as_an_item() -> None:
    once = detectable_tax(200)
    assert detectable_tax(800) == pytest.approx(once / 2, rel=0.1)
    assert once / 2 < detectable_tax(200, repeats=4) < once
    assert detectable_tax(200, repeats=4, consistency=0) == detectable_tax(800)
    assert detectable_tax(200, repeats=4, consistency=1) == pytest.approx(once)
    assert power_note("canary", 200, 1).startswith("canary: 200 harmful items will show")


def test_too_few_items_show_no_tax_rather_than_one_above_a_hundred() -> None:
    """The mistake: 2 harmful items "will show a reasoning tax of 112 points or more"."""
    said = power_note("canary", 2, 1)
    assert said.startswith("canary: 2 harmful items are too few to show any reasoning tax")
    enough = int(re.findall(r"; (\d+) show one of 80 points", said)[0])
    assert detectable_tax(enough) <= 0.8 < detectable_tax(enough - 1)
