"""Components by name: what they are made of is built with them, and mistakes are told in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from opensafemlrm import registry
from opensafemlrm.cli import app
from opensafemlrm.errors import BuildError, PluginError
from opensafemlrm.registry import ComponentKind


def test_a_model_or_a_judge_among_the_options_is_built_by_its_name():
    judge = registry.build(ComponentKind.JUDGE, "policy-rubric", {"model": "sim/judge"})
    assert judge.model.label == "sim/judge"
    guard = registry.build(
        ComponentKind.DEFENSE,
        "self-reminder+guard-output",
        {"guard-output": {"guard": {"judge": "policy-rubric", "model": "http://127.0.0.1:9/v1#m"}}},
    )
    assert guard.parts[1].guard.model.base_url == "http://127.0.0.1:9/v1"


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
        ("dataset", "canary", {"benign": "perhaps"}, ("benign",), "write true or false"),
    ],
)
def test_a_mistake_is_told_with_the_place_where_it_stands(
    kind: str, name: str, options: dict[str, Any], path: tuple[str | int, ...], says: str
):
    with pytest.raises(BuildError, match=says) as caught:
        registry.build(ComponentKind(kind), name, options)
    assert caught.value.path == path


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package, as pip would, three of whose components cannot be loaded."""
    metadata = tmp_path / "broken-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[opensafemlrm.attacks]\nlantern = broken_plugin:Lantern\n"
        "[opensafemlrm.judges]\nmoon = broken_plugin_judge:Moon\n"
        "[opensafemlrm.defenses]\nsun = broken_plugin_end:Sun\n"
    )
    (tmp_path / "broken_plugin.py").write_text("import a_module_that_is_not_there\n")
    (tmp_path / "broken_plugin_end.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "broken_plugin_judge.py").write_text("class Moon:\n    name = 'moon'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._plugins.cache_clear()
    yield
    registry._plugins.cache_clear()


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("attacks", "skipped: the attack 'lantern' cannot be loaded from broken_plugin:Lantern"),
        ("judges", "skipped: the judge 'moon' .* no frozen dataclass based on Judge"),
        ("defenses", "skipped: the defense 'sun' cannot be loaded .*: SystemExit: 3"),
    ],
)
def test_a_plugin_that_is_broken_is_named_in_one_line_and_the_others_are_listed(
    kind: str, says: str
):
    result = CliRunner().invoke(app, [kind, "list"])
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) > 5
    (line,) = result.stderr.splitlines()
    assert re.match(says, line)


@pytest.mark.usefixtures("broken")
def test_a_plugin_that_is_broken_is_an_error_where_it_is_asked_for():
    with pytest.raises(PluginError, match="No module named 'a_module_that_is_not_there'"):
        registry.build(ComponentKind.ATTACK, "typo+lantern")
