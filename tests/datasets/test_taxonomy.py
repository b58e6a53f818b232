"""The shared list of scenarios: upstream's spelling on one side, one id on the other."""

from __future__ import annotations

import pytest

from opensafemlrm.datasets import taxonomy
from opensafemlrm.datasets.beavertails_v import CATEGORIES
from opensafemlrm.datasets.canary import SCENARIOS as CANARY
from opensafemlrm.datasets.figstep import TOPICS
from opensafemlrm.datasets.mm_safetybench import SCENARIOS as MM_SAFETYBENCH
from opensafemlrm.datasets.mossbench import TYPES


@pytest.mark.parametrize(
    ("dataset", "scenarios"),
    [
        ("beavertails-v", CATEGORIES),
        ("canary", CANARY),
        ("figstep", TOPICS),
        ("mm-safetybench", tuple(MM_SAFETYBENCH)),
        ("mossbench", tuple(TYPES)),
    ],
)
def test_every_published_scenario_has_an_id(dataset: str, scenarios: tuple[str, ...]) -> None:
    """One that is forgotten would vanish from every comparison across datasets."""
    assert [name for name in scenarios if taxonomy.of(dataset, name) is None] == []


def test_the_same_scenario_meets_across_datasets() -> None:
    assert (
        taxonomy.of("mm-safetybench", "01-Illegal_Activitiy")
        == taxonomy.of("figstep[subset=tiny]", "Illegal Activity")
        == taxonomy.of("jailbreakv-28k", "Illegal Activity")
        == "illegal-activity"
    )


def test_case_and_punctuation_do_not_matter() -> None:
    assert taxonomy.of("siuo", "Self-Harm") == taxonomy.of("siuo", "self harm") == "self-harm"


def test_what_is_not_known_is_not_guessed() -> None:
    assert taxonomy.of("figstep", "Lanterns") is None
    assert taxonomy.of("figstep", "self-harm") is None
    assert taxonomy.of("table/mine", "Lanterns") is None


def test_own_data_may_use_the_ids_themselves() -> None:
    assert taxonomy.of("table/mine", "Hate speech") == "hate-speech"
