"""Components by name: what they are made of is built with them, and mistakes are told in words."""

from __future__ import annotations

from typing import Any

import pytest

from opensafemlrm import registry
from opensafemlrm.errors import BuildError
from opensafemlrm.registry import ComponentKind


def test_a_model_or_a_judge_among_the_options_is_built_by_its_name():
    judge = registry.build(ComponentKind.JUDGE, "policy-rubric", {"model": "sim/judge"})
    assert judge.model.label == "sim/judge"
    guard = registry.build(
        ComponentKind.DEFENSE,
        "self-reminder+guard-output",
        {"guard-output": {"guard": {"judge": "policy-rubric", "model": "http://h/v1#m"}}},
    )
    assert guard.parts[1].guard.model.base_url == "http://h/v1"


def test_a_list_of_judges_may_mix_names_mappings_and_judges():
    built = registry.build(ComponentKind.JUDGE, "refusal")
    specs = ["canary", {"judge": "policy-rubric", "model": "sim/judge"}, built]
    panel = registry.build(ComponentKind.JUDGE, "panel", {"judges": specs})
    assert [judge.name for judge in panel.judges] == ["canary", "policy-rubric", "refusal"]
    assert panel.judges[2] is built


@pytest.mark.parametrize(
    ("kind", "name", "options", "path", "says"),
    [
        ("judge", "policy-rubric", {"model": "sim"}, ("model",), "SIM/NAME|sim/NAME"),
        ("judge", "policy-rubric", {"model": 3}, ("model",), "the name of a model"),
        ("judge", "policy-rubric", {"model": {"name": "sim/judge"}}, ("model",), "which model"),
        ("judge", "panel", {"judges": "canary"}, ("judges",), "a list of judges"),
        ("judge", "panel", {"judges": ["canary", "refusl"]}, ("judges", 1), "refusal"),
        (
            "judge",
            "panel",
            {"judges": ["canary", {"judge": "policy-rubric", "model": "http://h"}]},
            ("judges", 1, "model"),
            "http://h#NAME",
        ),
        (
            "defense",
            "self-reminder+guard-input",
            {"guard-input": {"guard": {"judge": "llama-guard", "imges": False}}},
            ("guard-input", "guard", "imges"),
            "did you mean images",
        ),
        ("dataset", "canary", {"benign": "perhaps"}, ("benign",), "boolean"),
    ],
)
def test_a_mistake_is_told_with_the_place_where_it_stands(
    kind: str, name: str, options: dict[str, Any], path: tuple[str | int, ...], says: str
):
    with pytest.raises(BuildError, match=says) as caught:
        registry.build(ComponentKind(kind), name, options)
    assert caught.value.path == path
