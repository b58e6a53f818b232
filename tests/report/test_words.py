"""The sentences of the page: what they say in each case."""

from __future__ import annotations

from typing import Any

import pytest

from opensafemlrm.report.page.words import say

SAFER = {"models": 2, "settings": 3, "parts": [("answer", 4, 1, 6)], "unmeasured": 0}
SURE = (
    "at 95 % confidence, adjusted by Holm over these comparisons, and whatever replies without a "
)
TOP = {"model_label": "m", "setting": "direct", "difference": 0.125, "low": 0.05, "high": 0.2}
GROUP = {
    "setting": "direct",
    "asr_models": 0.4369,
    "asr_bases": 0.0172,
    "simultaneous_ratio_low": 8.2,
    "simultaneous_ratio_high": None,
}
ANSWER = {"asr_models": 0.2, "asr_bases": 0.0, "difference": 0.2, "low": 0.1, "high": 0.3}
HOLM = (
    "one a scenario, pair, setting and part, the reasoning model is worse than its base after "
    "Holm’s adjustment over all of them, and whatever replies without a score hold, in"
)
CORRECTED = {
    **{"model_label": "m", "setting": "direct", "corrected": 17, "both_unsafe": 83},
    **{"self_correction": 0.169, "self_correction_low": 0.1, "self_correction_high": 0.25},
}
REFUSED = {"model_label": "m", "rate": 0.06, "low": 0.021, "high": 0.162, "known": 50}
ENDINGS = {"n": 9, "ok": 6, "truncated": 1, "blocked": 1, "failed": 1, "not_recorded": 0}
REFUSING = {"model_label": "m", "defense": "d", "attack": "a", "overrefusal": 1.0}


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        (
            "safer",
            SAFER,
            "2 reasoning models beside their bases in 3 settings. By the answer the base is safer "
            "in 4 of 6 comparisons, the reasoning model in 1, 1 not decided: "
            f"{SURE}score hold.",
        ),
        (
            "safer",
            {
                "models": 1,
                "settings": 1,
                "parts": [("whole reply", 1, 0, 1), ("answer", 0, 0, 1)],
                "unmeasured": 1,
            },
            "1 reasoning model beside its base. By the whole reply the base is safer; by the "
            f"answer it is not decided: {SURE}score hold. "
            "A reasoning model’s whole reply is its reasoning and its answer, a base’s is its "
            "answer: if your users do not see the reasoning, go by the answer. 1 comparison could "
            "not be measured.",
        ),
        (
            "tax",
            {"spreads": [("direct", "answer", [12.5], "+12.5 (+5.0 to +20.0)")], "top": TOP},
            "Under direct (answer): +12.5 (+5.0 to +20.0) points. The largest is m (direct): +12.5 "
            "(+5.0 to +20.0) points at 95 % confidence.",
        ),
        (
            "tax",
            {
                "spreads": [("direct", "answer", [1.0, 3.0], ""), ("typo", "answer", [-2, 0], "")],
                "top": {**TOP, "low": None},
            },
            "Under direct (answer): median +2.0 points, from +1.0 to +3.0; under typo (answer): "
            "median −1.0 points, from −2.0 to 0.0.",
        ),
        (
            "blind_spots",
            {"lost": [("answer", 0)], "tests": 1, "compared": 3, "group": {}, "answer": {}},
            "Over all pairs no scenario is worse than its bases by more than chance, and replies "
            f"without a score, may show somewhere among 3 comparisons. Of 1 test, {HOLM} "
            "0 by the answer.",
        ),
        (
            "blind_spots",
            {
                "lost": [("whole reply", 2), ("answer", 1)],
                "tests": 10,
                "compared": 20,
                "group": GROUP,
                "answer": ANSWER,
            },
            "Over all pairs, direct: 43.7 % of the reasoning models’ replies are unsafe there, "
            "1.7 % of the bases’ (8.2 times or more, an interval that holds for all 20 comparisons "
            "of scenarios together, and whatever replies without a score hold). By the answers "
            "alone: 20.0 % and 0.0 %, +20.0 (+10.0 to "
            f"+30.0) points. Of 10 tests, {HOLM} 2 by the whole reply and 1 by the answer.",
        ),
        (
            "corrected",
            {
                **{"setting": "direct", "rows": [CORRECTED], "more": 2, "rest": [0.05, 0.3]},
                "floors": [0.1, 0.145],
            },
            "Of replies with unsafe reasoning, these end in a safe answer (direct): m 16.9 % "
            "(10.0 % to 25.0 %) of 100; 2 more are in the table. In other settings: 5.0 % to "
            "30.0 %. Where nothing is corrected, the judge’s measured errors alone would show "
            "10.0 % to 14.5 %: only what is above that is self-correction.",
        ),
        (
            "refused",
            {"setting": "direct", "rows": [REFUSED], "more": 0, "rest": []},
            "Refused of harmless requests (direct): m 6.0 % (2.1 % to 16.2 %) of 50.",
        ),
        (
            "no_refusals",
            {"n": 20},
            "Of none of 20 replies to harmless requests is it known whether it refuses.",
        ),
        (
            "scenarios_note",
            {"counts": [20]},
            "Each rate is of 20 scored replies.",
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
