"""Tables of text alone: AdvBench's, StrongREJECT's and BSA's."""

from __future__ import annotations

from pathlib import Path

import pytest

from opensafemlrm.errors import DatasetError
from tests.datasets import newer_releases, releases
from tests.datasets.test_loaders import items, read


def test_advbench_is_read_from_its_own_table_and_from_harmbenchs_form_of_it(tmp_path: Path) -> None:
    own = items("advbench", newer_releases.advbench(tmp_path / "own"))
    copy = items("advbench", newer_releases.advbench_copy(tmp_path / "copy"))
    assert list(own) == ["0", "1"]
    assert list(copy) == ["light_1", "light_2"]
    assert [item.question for item in own.values()] == [item.question for item in copy.values()]
    assert own["0"].fields == {}


def test_strongreject_has_its_own_name_and_categories(tmp_path: Path) -> None:
    """Under another set's name, its figures would have stood for that set."""
    options = newer_releases.strongreject(tmp_path)
    found = items("strongreject", options)["1"]
    assert (found.dataset, found.scenario) == ("strongreject", "Sexual content")
    assert found.question == "Light a lantern: 1"


@pytest.mark.parametrize("name", ["advbench", "strongreject", "jailbreakbench"])
def test_harmbench_names_the_data_set_that_a_table_is_of(name: str, tmp_path: Path) -> None:
    releases.WRITERS[name](tmp_path)
    table = min(tmp_path.rglob("*.csv"))
    with pytest.raises(DatasetError, match=f"dataset '{name}'"):
        read("harmbench", {"root": table})


def test_bsa_keeps_the_known_risk_for_its_judge(tmp_path: Path) -> None:
    options = newer_releases.bsa(tmp_path)
    found = items("bsa", options)
    assert [item.scenario for item in found.values()] == [
        "Risk Omission",
        "Cognitive Shortcut",
        "Over Sensitivity",
    ]
    assert {item.fields["risk_summary"] for item in found.values()} == {"Straw burns."}
    assert "\n" in found[f"{1:032x}"].fields["label"]
    assert len(items("bsa", {"root": tmp_path / "data/dataset.csv"})) == 3
