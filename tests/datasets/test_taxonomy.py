"""The shared list of scenarios: upstream's spelling on one side, one id on the other."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm.datasets import taxonomy
from opensafemlrm.datasets.canary import SCENARIOS as CANARY
from opensafemlrm.datasets.mm_safetybench import SCENARIOS as MM_SAFETYBENCH
from opensafemlrm.datasets.questions import MOSSBENCH_TYPES
from opensafemlrm.registry import ComponentKind, available

NAMES: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("scenario_names.toml").read_text("utf-8")
)
LAYOUTS = Path(__file__).with_name("layouts.json")


@pytest.mark.parametrize("dataset", taxonomy.datasets())
def test_every_key_of_the_map_is_a_name_of_the_release(dataset: str) -> None:
    """Data review 10: a key that was made up mapped nothing, and nobody was told."""
    known = NAMES[dataset]
    assert known["source"]
    assert set(taxonomy.scenarios(dataset)) == set(known["names"]) - set(known.get("unmapped", {}))
    assert set(known.get("unmapped", {})) <= set(known["names"])


def test_every_name_is_of_a_data_set_that_there_is() -> None:
    assert set(NAMES) == set(taxonomy.datasets()) <= set(available(ComponentKind.DATASET, print))


@pytest.mark.parametrize("dataset", [name for name, known in NAMES.items() if "layout" in known])
def test_names_are_those_of_the_real_files(dataset: str) -> None:
    """Data review 10: fixtures and map followed names that no release has."""
    layouts = {one["dataset"]: one for one in json.loads(LAYOUTS.read_text("utf-8"))}
    real: set[str] = set()
    for name, column in NAMES[dataset]["layout"]:
        layout = layouts[name]
        real |= set(layout["columns"][column]["values"] if column else layout["keys"])
    names = set(NAMES[dataset]["names"])
    if dataset == "hades":  # the release holds five of the fourteen
        assert names <= real
    else:
        assert names - {"safe_safes", "safe_unsafes"} == real


BEAVERTAILS_V = (
    "animal_abuse",
    "dangerous_behavior",
    "deception_in_personal_relationships",
    "discriminatory_depictions",
    "environmental_damage",
    "false_information",
    "financial_and_academic_fraud",
    "hacking_or_digital_crime",
    "harmful_health_content",
    "horror_and_gore",
    "identity_misuse_and_impersonation",
    "insulting_and_harassing_behavior",
    "pornographic_content",
    "privacy_invasion_and_surveillance",
    "psychological_harm_and_manipulation",
    "psychological_horror_and_dark_themes",
    "sensitive_information_in_key_areas",
    "sexual_crimes",
    "terrorism_or_extremism",
    "violence_and_physical_harm",
)

FIGSTEP = (
    "Illegal Activity",
    "Hate Speech",
    "Malware Generation",
    "Physical Harm",
    "Fraud",
    "Adult Content",
    "Privacy Violation",
    "Legal Opinion",
    "Financial Advice",
    "Health Consultation",
)

MIR_SAFETYBENCH = (
    "Hate_Speech",
    "Violence",
    "Self-Harm",
    "Illegal_Activities",
    "Harassment",
    "Privacy",
)


@pytest.mark.parametrize(
    ("dataset", "scenarios"),
    [
        ("beavertails-v", BEAVERTAILS_V),
        ("canary", CANARY),
        ("figstep", FIGSTEP),
        ("mir-safetybench", MIR_SAFETYBENCH),
        ("mm-safetybench", tuple(MM_SAFETYBENCH)),
        ("mossbench", tuple(MOSSBENCH_TYPES)),
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


AILUMINATE = [
    "violent-crimes",
    "non-violent-crimes",
    "sex-related-crimes",
    "child-sexual-exploitation",
    "defamation",
    "specialised-advice",
    "privacy",
    "intellectual-property",
    "indiscriminate-weapons",
    "hate",
    "self-harm",
    "sexual-content",
]
STUDY = ("01", "02", "03", "04", "06", "07", "09", "10", "11", "12")


def test_the_second_map_has_ailuminates_twelve_hazards_and_no_other() -> None:
    assert list(taxonomy.titles("ailuminate")) == AILUMINATE
    table = taxonomy._table("ailuminate")
    assert set(table["shared"]) <= set(taxonomy.titles())
    assert set(table["shared"].values()) <= set(AILUMINATE)
    for dataset, narrower in table["scenarios"].items():
        assert set(narrower) <= set(NAMES[dataset]["names"]), dataset
        assert set(narrower.values()) <= {"", *AILUMINATE}


def test_the_studys_scenarios_leave_six_of_twelve_hazards_untested() -> None:
    """An audit that names no untested hazard takes silence for safety."""
    studied = [name for name in MM_SAFETYBENCH if name.startswith(STUDY)]
    tested = {taxonomy.of("mm-safetybench", name, "ailuminate") for name in studied}
    assert len(studied) == 10
    assert sorted(set(AILUMINATE) - tested) == [
        "child-sexual-exploitation",
        "defamation",
        "indiscriminate-weapons",
        "intellectual-property",
        "self-harm",
        "sex-related-crimes",
    ]


def test_a_scenario_that_is_narrower_than_its_shared_id_has_its_own_hazard() -> None:
    assert taxonomy.of("harmbench", "chemical_biological", "ailuminate") == "indiscriminate-weapons"
    assert taxonomy.of("harmbench", "harmful", "ailuminate") is None
    assert taxonomy.of("msts", "Sex-Related Crimes", "ailuminate") == "sex-related-crimes"
    assert taxonomy.of("table/mine", "Defamation", "ailuminate") == "defamation"
    assert taxonomy.of("table/mine", "Hate speech", "ailuminate") == "hate"
    assert taxonomy.of("figstep", "defamation", "ailuminate") is None
    assert taxonomy.scenarios("siuo", "ailuminate")["self-harm"] == "self-harm"
    assert "dangerous behavior" not in taxonomy.scenarios("siuo", "ailuminate")
