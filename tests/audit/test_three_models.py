"""Three simulated models: one passes, one fails by the right rules, one is undecided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import typer
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from opensafemlrm.cli import app
from opensafemlrm.errors import ReportError
from tests.audit.stores import audit, edited, safemlrm, simulated

EEE = Path(__file__).parents[1] / "data/schemas/every_eval_ever-0.3.0.schema.json"
MODELS = {
    "passes": ("mulberry-llama-11b", "llama-3.2-11b-vision", "", 0),
    "fails": ("r1-onevision-7b", "qwen2.5-vl-7b", "", 5),
    "too few": ("mulberry-llama-11b", "llama-3.2-11b-vision", "limit: 20\n", 6),
}


@pytest.fixture(scope="module")
def audits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """The folder of each audit, and what its command said."""
    folder = tmp_path_factory.mktemp("audits")
    made = {}
    for name, (model, base, more, _) in MODELS.items():
        of_model = simulated(folder / name, model, base, more)
        made[name] = (of_model, audit(of_model))
    return made


def record(folder: Path) -> Any:
    return json.loads((folder / "store/audit/audit.json").read_text())


def verdicts(folder: Path) -> dict[str, str]:
    return {rule["name"]: rule["verdict"] for rule in record(folder)["rules"]}


@pytest.mark.parametrize("name", MODELS)
def test_each_ends_with_its_code_and_says_so(name: str, audits: Any) -> None:
    folder, result = audits[name]
    assert result.exit_code == MODELS[name][3]
    assert f"{record(folder)['verdict']}: {record(folder)['why']}" in " ".join(
        result.stderr.split()
    )


def test_the_right_rules_are_broken(audits: Any) -> None:
    folder, _ = audits["fails"]
    assert verdicts(folder) == {
        "answers": "fail",
        "tax": "fail",
        "refusals": "pass",
        "coverage": "pass",
    }
    assert record(folder)["why"] == "2 of 4 required rules broken: answers; tax."


def test_what_is_undecided_says_how_many_more_items_would_decide_it(audits: Any) -> None:
    folder, _ = audits["too few"]
    rules = {rule["name"]: rule for rule in record(folder)["rules"]}
    assert rules["tax"]["verdict"] == rules["refusals"]["verdict"] == "undecided"
    assert rules["tax"]["checks"][0]["reason"] == "too_few"
    assert rules["tax"]["more_items"] > 20
    assert 0 < rules["refusals"]["more_items"] < 100
    # With the 200 items that pass, it is decided.
    assert verdicts(audits["passes"][0])["tax"] == "pass"


@pytest.mark.parametrize("name", MODELS)
def test_the_files_are_valid_by_their_schemas_without_a_network(name: str, audits: Any) -> None:
    out = audits[name][0] / "store/audit"
    bill = (out / "cyclonedx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(bill) is None
    schema = json.loads(EEE.read_text())
    (file,) = (out / "every_eval_ever").iterdir()
    found = json.loads(file.read_text())
    assert list(jsonschema.Draft7Validator(schema).iter_errors(found)) == []
    answers = found["evaluation_results"][0]
    check = record(audits[name][0])["rules"][0]["checks"][0]
    assert answers["score_details"]["score"] == check["value"]
    assert found["source_metadata"]["additional_details"]["simulated"] == "true"


def test_junit_has_a_failure_for_what_is_broken_and_an_error_for_what_is_undecided(
    audits: Any,
) -> None:
    shown = {}
    for name, (folder, _) in audits.items():
        root = ElementTree.parse(folder / "store/audit/junit.xml").getroot()
        assert root is not None
        assert int(root.get("tests", 0)) == len(list(root.iter("testcase"))) == 4
        shown[name] = (int(root.get("failures", 0)), int(root.get("errors", 0)))
    assert shown["passes"] == (0, 0)
    assert shown["fails"] == (2, 0)
    assert shown["too few"][0] == 0
    assert shown["too few"][1] > 0


def test_two_runs_write_the_same_bytes(audits: Any) -> None:
    folder, _ = audits["too few"]
    again = audit(folder, "again")
    assert again.exit_code == 6
    first, second = folder / "store/audit", folder / "again/audit"
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(names) == 6
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_a_second_run_and_a_check_ask_for_nothing(audits: Any) -> None:
    folder, _ = audits["too few"]
    assert "0 made now" in audit(folder).stderr
    checked = safemlrm(
        *("audit", "check", folder / "store", "--policy", folder / "audit.yaml"),
        *("--out", folder / "checked"),
    )
    assert checked.exit_code == 6
    assert "replies:" not in checked.stderr
    made = [(folder / out / "audit.json").read_bytes() for out in ("store/audit", "checked")]
    assert made[0] == made[1]


@pytest.mark.parametrize("name", MODELS)
def test_verify_ends_as_the_audit_did(name: str, audits: Any) -> None:
    result = safemlrm("audit", "verify", audits[name][0] / "store")
    assert result.exit_code == MODELS[name][3]
    assert "verified" in result.stderr


ONE_VERDICT = (
    "UPDATE verdicts SET score = 1 - score WHERE rowid = "
    "(SELECT min(rowid) FROM verdicts WHERE score IN (0, 1))"
)


def test_verify_finds_one_changed_verdict(audits: Any, tmp_path: Path) -> None:
    folder, _ = audits["passes"]
    other = edited(folder / "store", tmp_path / "store", ONE_VERDICT)
    result = safemlrm("audit", "verify", other)
    assert result.exit_code == 5
    assert "sha256: the record says" in result.stderr
    assert "not verified" in result.stderr


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("limits", []),
        ("method", "By eye."),
        ("evaluated", ["2026-01-01", "2099-01-01"]),
        ("components", []),
        ("studies", ["models: [other]"]),
        ("approved", True),
    ],
)
def test_verify_finds_whatever_else_a_record_says(
    key: str, value: Any, audits: Any, tmp_path: Path
) -> None:
    folder, _ = audits["passes"]
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(record(folder) | {key: value}))
    result = safemlrm("audit", "verify", folder / "store", "--audit", path)
    assert result.exit_code == 5
    assert key in result.stderr


def test_verify_finds_a_record_that_was_made_nicer(audits: Any, tmp_path: Path) -> None:
    folder, _ = audits["fails"]
    found = record(folder)
    found["verdict"] = found["rules"][0]["verdict"] = "pass"
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(found))
    result = safemlrm("audit", "verify", folder / "store", "--audit", path)
    assert result.exit_code == 5
    assert "verdict: the record says 'pass', the store 'fail'" in result.stderr


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cells": []}, "the store has none of the record's cells"),
        ({"cells": [{"cell": "zz"}]}, "the store has none of the record's cells"),
        ({"cells": [{"cell": 5}]}, "cells.0.cell is not as it was"),
        ({"cells": ["x"]}, "cells.0 is not as it was"),
        ({"verdict": "best"}, "verdict is not as it was"),
        ({"policy": {}}, "policy.sha256 is not as it was"),
        ({"judge": ["x"]}, "judge is not as it was"),
        ({"studies": [{}]}, "studies.0 is not as it was"),
    ],
)
def test_a_record_of_another_form_is_said(
    audits: Any, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    """It ended in a traceback."""
    folder, _ = audits["passes"]
    path = tmp_path / "audit.json"
    path.write_text(json.dumps({**record(folder), **changes}))
    try:
        told = safemlrm("audit", "verify", folder / "store", "--audit", path).stderr
    except ReportError as error:
        told = str(error)
    assert said in told


def test_verify_finds_another_policy(audits: Any, tmp_path: Path) -> None:
    folder, _ = audits["passes"]
    path = tmp_path / "other.yaml"
    path.write_text((folder / "audit.yaml").read_text().replace("0.6", "0.7"))
    result = safemlrm("audit", "verify", folder / "store", "--policy", path)
    assert result.exit_code == 5
    assert "decided by another policy" in result.stderr
    same = safemlrm("audit", "verify", folder / "store", "--policy", folder / "audit.yaml")
    assert same.exit_code == 0


def test_an_audit_that_has_expired_is_undecided(audits: Any, tmp_path: Path) -> None:
    folder, _ = audits["passes"]
    # One old reply is enough, and to run the study again does not make it younger.
    statement = "UPDATE generations SET created = 86400 WHERE rowid = 1"
    old = edited(folder / "store", tmp_path / "store", statement)
    checked = safemlrm("audit", "check", old, "--policy", folder / "audit.yaml")
    assert checked.exit_code == 0
    result = safemlrm("audit", "verify", old)
    assert result.exit_code == 6
    assert "expired on 1970-04-02" in result.stderr


def test_the_certificate_says_what_holds_and_that_it_is_simulated(audits: Any) -> None:
    folder, _ = audits["fails"]
    page = (folder / "store/audit/certificate.html").read_text()
    found = record(folder)
    for words in (
        "Failed.",
        "certifies nothing of any real model",
        found["policy"]["sha256"],
        found["expires"],
        "safemlrm audit verify STORE",
        "Suicide and self-harm",
        found["cells"][0]["sha256"][:16],
        "name: canary",
    ):
        assert words in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_example_workflow_runs_a_command_that_there_is() -> None:
    root = Path(__file__).parents[2]
    steps = yaml.safe_load((root / "examples/audit-workflow.yml").read_text())["jobs"]["audit"]
    (line,) = [s["run"] for s in steps["steps"] if s.get("run", "").startswith("safemlrm")]
    command: Any = typer.main.get_command(app)
    words = line.split()[1:]
    for word in ("audit", "run"):
        command = command.get_command(command.make_context("x", [word]), word)
    parameters = command.make_context("run", words[2:]).params
    assert (str(parameters["study"]), parameters["max_cost"]) == ("study.yaml", 50)
