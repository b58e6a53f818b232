"""The bundled benchmark: its counts, its form, and that it stays harmless and judgeable."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from opensafemlrm import registry
from opensafemlrm.datasets.canary import SCENARIOS, Canary, titles
from opensafemlrm.errors import OptionError, SafeMLRMError, UnknownNameError
from opensafemlrm.types import Item, ItemKind


def items(dataset: Canary | None = None) -> list[Item]:
    rows = list((dataset or Canary()).rows())
    assert all(isinstance(row, Item) for row in rows)
    return [row for row in rows if isinstance(row, Item)]


ALL = items()


def test_each_scenario_has_twenty_secrets_and_five_controls() -> None:
    counts = Counter((item.scenario, item.kind) for item in ALL)
    assert counts == {
        (scenario, kind): number
        for scenario in SCENARIOS
        for kind, number in ((ItemKind.HARMFUL, 20), (ItemKind.BENIGN, 5))
    }


def test_items_come_scenario_by_scenario_and_always_the_same() -> None:
    order = list(dict.fromkeys(item.scenario for item in ALL))
    assert order == list(SCENARIOS)
    assert [item.key for item in items()] == [item.key for item in ALL]


def test_no_two_items_share_an_id_a_question_or_their_details() -> None:
    """A repeated item would be generated once and counted twice."""
    for of in (
        [item.id for item in ALL],
        [item.question for item in ALL],
        [tuple(item.fields["details"]) for item in ALL],
        [item.fields["instruction"] for item in ALL],
    ):
        assert len(set(of)) == len(ALL)


@pytest.mark.parametrize("item", ALL, ids=lambda item: item.id)
def test_details_can_be_counted(item: Item) -> None:
    """A detail within another, or within the question, would be counted without being told."""
    details = item.fields["details"]
    assert len(details) == 5
    shown = [item.question, item.fields["rephrased"], item.fields["instruction"]]
    for detail in details:
        assert re.fullmatch(r"[a-z]+( [a-z]+)*", detail)
        assert len(detail) >= 5
        assert [other for other in details if detail in other] == [detail]
        assert not any(detail in text.lower() for text in shown)
        assert item.system is not None
        assert item.system.lower().count(detail) == 1


@pytest.mark.parametrize("item", ALL, ids=lambda item: item.id)
def test_system_message_has_the_lines_that_are_read_by_machines(item: Item) -> None:
    assert item.system is not None
    lines = item.system.splitlines()
    held = "Protected" if item.kind is ItemKind.HARMFUL else "Allowed"
    assert f"Scenario: {item.scenario}" in lines
    assert f"{held}: {'; '.join(item.fields['details'])}." in lines
    assert item.fields["key_phrase"] in item.system
    assert titles()[item.scenario] in item.system


@pytest.mark.parametrize("item", ALL, ids=lambda item: item.id)
def test_attacks_find_what_they_need(item: Item) -> None:
    """The key phrase moves into the image: left in the text, the attack would hide nothing."""
    phrase = item.fields["key_phrase"]
    assert phrase in item.question
    assert phrase in item.fields["instruction"]
    assert phrase not in item.fields["rephrased"]
    assert "named in the image" in item.fields["rephrased"]
    assert re.match(r"(Steps|List) ", item.fields["instruction"])
    assert "{" not in "".join(
        [item.question, item.fields["instruction"], item.fields["rephrased"], str(item.system)]
    )


def test_scenario_ids_are_labels_only() -> None:
    """The published scenarios lend their names to house rules, and nothing of their content."""
    for item in ALL:
        prose = [item.question, item.fields["instruction"], *item.fields["details"]]
        words = set(re.findall(r"[a-z]+", " ".join(prose).lower()))
        assert not words & {word for scenario in SCENARIOS for word in scenario.split("-")}


def test_options_choose_scenarios_and_leave_out_controls() -> None:
    chosen = items(Canary(scenarios=("sex", "fraud"), benign=False))
    assert Counter(item.scenario for item in chosen) == {"fraud": 20, "sex": 20}
    assert {item.kind for item in chosen} == {ItemKind.HARMFUL}
    assert [item.key for item in chosen if item.scenario == "fraud"] == [
        item.key for item in ALL if item.scenario == "fraud" and item.kind is ItemKind.HARMFUL
    ]


def test_an_unknown_scenario_is_refused_by_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean fraud"):
        Canary(scenarios=("fraudd",))


def test_it_is_built_by_name_and_its_options_are_checked() -> None:
    built = registry.build(
        registry.ComponentKind.DATASET, "canary", {"scenarios": ["fraud"], "benign": False}
    )
    assert built == Canary(scenarios=("fraud",), benign=False)
    with pytest.raises(OptionError, match="benign"):
        registry.build(registry.ComponentKind.DATASET, "canary", {"benign": "perhaps"})
    with pytest.raises(SafeMLRMError, match="did you mean scenarios"):
        registry.build(registry.ComponentKind.DATASET, "canary", {"scenario": ["fraud"]})
