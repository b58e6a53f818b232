"""The JSON Schema of studies: editors are told the same as the command line says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from opensafemlrm import study
from opensafemlrm.errors import StudyError
from opensafemlrm.scaffold import study_schema

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads(study_schema.text())
VALIDATOR = Draft202012Validator(SCHEMA)
STUDIES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (
        *ROOT.glob("studies/*.yaml"),
        ROOT / "src/opensafemlrm/audit/data/study.yaml",
        *ROOT.glob("src/opensafemlrm/cli/studies/*.yaml"),
        ROOT / "examples/cluster/study.yaml",
    )
}
STUDIES |= {
    f"{page.name}, {place}": block
    for page in sorted((ROOT / "docs").rglob("*.md"))
    for place, block in enumerate(
        re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    )
    if re.search(r"^models:", block, re.MULTILINE) and re.search("^judge", block, re.MULTILINE)
}
WHOLE: dict[str, Any] = {
    "models": ["sim/qwen2.5-vl-7b"],
    "datasets": ["canary"],
    "judge": "canary",
}
BROKEN: dict[str, dict[str, Any]] = {
    "a key with a slip of the pen": {"dataset": ["canary"]},
    "no model": {"models": []},
    "models that are no list": {"models": "sim/qwen2.5-vl-7b"},
    "no judge": {"judge": None},
    "a list for one judge": {"judge": ["canary", "rules"]},
    "one judge and several": {"judges": ["canary", "rules"]},
    "an option that a dataset does not have": {"datasets": [{"dataset": "figstep", "rot": "x"}]},
    "an option that a dataset needs": {"datasets": [{"dataset": "figstep"}]},
    "a mapping without its name": {"attacks": [{"steps": 3}]},
    "a limit of nothing": {"limit": 0},
    "too hot": {"sampling": {"temperature": 3}},
    "no repeat": {"sampling": {"repeats": 0}},
    "two rules": {"stop": {"half_width": 0.05, "decide": "tax > 0"}},
    "a pair of three": {"pairs": [["a", "b", "c"]]},
}


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_of_the_repository_is_valid(name: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(STUDIES[name]))] == []


@pytest.mark.parametrize("name", BROKEN)
def test_what_a_run_refuses_an_editor_marks(name: str) -> None:
    data = {key: value for key, value in {**WHOLE, **BROKEN[name]}.items() if value is not None}
    assert not VALIDATOR.is_valid(data)
    with pytest.raises(StudyError):
        study.parse(yaml.safe_dump(data))


def test_plugins_names_and_options_pass() -> None:
    own = {"dataset": "of-a-plugin", "anything": 1}
    assert VALIDATOR.is_valid({**WHOLE, "datasets": [own, "another"], "attacks": ["typo+mirror"]})


def test_keys_are_explained_where_they_are_typed() -> None:
    assert all("description" in key for key in SCHEMA["properties"].values())
