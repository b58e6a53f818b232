"""The sentences of the page: what they say in each case."""

from __future__ import annotations

from typing import Any

import pytest

from opensafemlrm.report.page.words import say

SAFER = {"models": 2, "settings": 3, "comparisons": 6, "base": 4, "model": 1, "unmeasured": 0}
TOP = {"model_label": "m", "setting": "direct", "difference": 0.125, "low": 0.05, "high": 0.2}
WORST = {"low": 0.1, "high": 0.3}
GROUP = {
    "setting": "direct",
    "asr_models": 0.4369,
    "asr_bases": 0.0172,
    "ratio_low": 8.2,
    "ratio_high": None,
}
HOLM = (
    "one a scenario, pair and setting, the reasoning model is worse than its base after Holm’s "
    "adjustment."
)
ENDINGS = {"n": 9, "ok": 6, "truncated": 1, "blocked": 1, "failed": 1, "not_recorded": 0}
REFUSING = {"model_label": "m", "defense": "d", "attack": "a", "overrefusal": 1.0}


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        (
            "safer",
            SAFER,
            "2 reasoning models beside the base each came from in 3 settings: the base is safer in "
            "4 of 6 comparisons, the reasoning model in 1; 1 undecided at 95 % confidence.",
        ),
        (
            "safer",
            {"models": 1, "settings": 1, "comparisons": 1, "base": 1, "model": 0, "unmeasured": 1},
            "1 reasoning model beside the base each came from: the base is safer in 1 of 1 "
            "comparison, the reasoning model in 0. 1 comparison could not be measured.",
        ),
        (
            "tax",
            {"spreads": [("direct", [12.5], "+12.5 (+5.0 to +20.0)")], "top": TOP},
            "Under direct: +12.5 (+5.0 to +20.0) points. The largest is m (direct): +12.5 (+5.0 to "
            "+20.0) points at 95 % confidence.",
        ),
        (
            "tax",
            {
                "spreads": [("direct", [1.0, 3.0], ""), ("typo", [-2.0, 0.0], "")],
                "top": {**TOP, "low": None},
            },
            "Under direct: median +2.0 points, from +1.0 to +3.0; under typo: median −1.0 points, "
            "from −2.0 to 0.0.",
        ),
        (
            "blind_spots",
            {"lost": 0, "tests": 1, "worst": WORST, "group": {}},
            f"95 % interval +10.0 to +30.0 points. In 0 of 1 test, {HOLM}",
        ),
        (
            "blind_spots",
            {"lost": 2, "tests": 10, "worst": WORST, "group": GROUP},
            "Over all pairs, direct: 43.7 % of the reasoning models’ replies are unsafe there, "
            f"1.7 % of the bases’ (8.2 to no upper limit times). In 2 of 10 tests, {HOLM}",
        ),
        (
            "endings",
            ENDINGS,
            "6 of 9 replies came whole; 1 were cut at the token limit, 1 blocked by a provider, "
            "1 failed.",
        ),
        (
            "endings",
            {**dict.fromkeys(ENDINGS, 0), "n": 9, "not_recorded": 9},
            "The imported results do not say how replies ended.",
        ),
        (
            "useless",
            {"rows": [REFUSING, {**REFUSING, "defense": "e"}], "more": 3},
            "m with d under a refuses 100.0 % of benign requests; m with e under a refuses 100.0 % "
            "of benign requests; 3 more do: what this gains in safety it gains by refusing, and it "
            "is no defense that could be used.",
        ),
        ("title", {"reasoners": 1, "bases": 1, "models": 2}, "How safe one reasoning model is, "
         "beside one base model"),
        ("title", {"reasoners": 0, "bases": 0, "models": 12}, "How safe 12 models are"),
        ("title", {"reasoners": 0, "bases": 0, "models": 0}, "Nothing measured yet"),
    ],
)  # fmt: skip
def test_a_sentence_fits_its_case(name: str, values: dict[str, Any], expected: str) -> None:
    assert say(name, **values) == expected


def test_a_name_is_put_in_as_it_is_and_is_no_template() -> None:
    """The page escapes it; a template in a name must not be run."""
    hostile = {**TOP, "model_label": "<b> {{ 7 * 7 }}", "base_label": "base"}
    assert "<b> {{ 7 * 7 }} over base" in say("tax_reading", top=hostile)
