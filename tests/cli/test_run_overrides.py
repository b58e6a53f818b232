"""Parts of a study, named in the command: a small run first, which the whole one goes on from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import opensafemlrm as osm
from opensafemlrm.cli import app
from opensafemlrm.errors import OptionError, StudyError, UnknownNameError
from opensafemlrm.store import Store

STUDY = """\
models: [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
pairs: [[sim/r1-onevision-7b, sim/qwen2.5-vl-7b]]
datasets: [canary]
attacks: [direct, typo]
judge: canary
limit: 40
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


def run(study: Path, *more: str, to: str = "store") -> Result:
    store = str(study.parent / to)
    arguments = ["run", str(study), "--store", store, *more]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def replies(result: Result) -> str:
    return next(line for line in result.stderr.splitlines() if line.startswith("replies"))


def manifest(study: Path, *more: str, to: str = "store") -> list[dict[str, object]]:
    result = run(study, "--dry-run", "--format", "json", *more, to=to)
    cells: list[dict[str, object]] = json.loads(result.stdout)
    return cells


def test_a_whole_run_goes_on_from_a_small_one(study: Path) -> None:
    small = run(study, "--limit", "10", "--model", "sim/r1-onevision-7b", "--attack", "typo")
    assert "10 asked for; 0 were in the store, 10 made now" in replies(small)
    assert "160 asked for; 10 were in the store, 150 made now" in replies(run(study))


def test_a_dry_run_lists_cells_that_an_outside_runner_can_take_one_by_one(study: Path) -> None:
    cells = manifest(study)
    assert [cell["to_generate"] for cell in cells] == [40] * 4
    for cell in cells:
        assert str(cell["cell"]).startswith(str(cell["id"]))
    said = replies(run(study, "--only", str(cells[2]["id"]).lower()))
    assert "40 asked for; 0 were in the store, 40 made now" in said
    assert [cell["in_store"] for cell in manifest(study)] == [0, 0, 40, 0]
    run(study, *(word for cell in cells for word in ("--only", str(cell["cell"]))))
    assert [cell["in_store"] for cell in manifest(study)] == [40] * 4
    # Another judge has its work to do, on replies that are there.
    other = manifest(study, "--judge", "refusal")
    assert [cell["in_store"] for cell in other] == [40] * 4
    assert [cell["to_generate"] for cell in other] == [0] * 4


@pytest.mark.parametrize("name", ["0", "FFFFFFFF", ""])
def test_an_id_that_no_cell_or_several_have_is_refused(study: Path, name: str) -> None:
    with pytest.raises(OptionError, match="cell"):
        run(study, "--only", name)


def test_a_name_that_the_study_does_not_have_is_refused(study: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"model of this study.*sim/qwen2\.5-vl-7b"):
        run(study, "--model", "sim/qwen2.5-vl-7")


def test_every_judge_of_a_study_judges_every_reply(study: Path) -> None:
    study.write_text(STUDY.replace("judge: canary", "judges: [canary, rules]"))
    assert [cell["to_judge"] for cell in manifest(study)] == [80] * 4
    result = run(study)
    assert "judged by canary: 0 replies before, 160 now, 0 left" in (result.stderr)
    assert "judged by rules: 0 replies before, 160 now, 0 left" in result.stderr
    rates = osm.open(study.parent / "store").asr(part="full")
    assert set(rates["judge"]) == {"canary", "rules"}
    assert rates.filter(judge="canary")["n"].sum() == rates.filter(judge="rules")["n"].sum()
    again = run(study)
    assert "160 were in the store, 0 made now" in replies(again)
    assert "judged by rules: 160 replies before, 0 now" in again.stderr


def test_a_second_judge_asks_no_model_again(study: Path) -> None:
    """Replies that failed are asked again by the first judge's turn alone."""
    failing = "{model: sim/r1-onevision-7b, failure_rate: 1.0}"
    study.write_text(
        STUDY.replace("judge: canary", "judges: [canary, rules]").replace(
            "models: [sim/r1-onevision-7b", f"models: [{failing}"
        )
    )
    result = run(study)
    assert "80 failed" in replies(result)
    assert "judged by rules: 0 replies before, 80 now" in result.stderr


def test_judges_in_the_command_take_the_place_of_the_studys(study: Path) -> None:
    run(study, "--limit", "10", "--judge", "rules", "--judge", "canary")
    with Store.open(study.parent / "store") as store:
        (said,) = {text for (text,) in store.connection.execute("SELECT study FROM runs")}
    assert said.startswith("# run with limit: 10, judges: ['rules', 'canary']\nmodels:")
    rates = osm.open(study.parent / "store").asr(part="full")
    assert set(rates["judge"]) == {"canary", "rules"}


def test_a_judge_takes_its_model_with_it(study: Path) -> None:
    with pytest.raises(StudyError, match=r"^--judge policy-rubric=gpt-4o: .*mean openai/gpt-4o"):
        run(study, "--judge", "policy-rubric=gpt-4o", "--dry-run")
    shown = run(study, "--judge", "policy-rubric=sim/judge", "--dry-run")
    assert shown.exit_code == 0


def test_python_takes_several_judges_too(tmp_path: Path) -> None:
    study = osm.Study(["sim/qwen2.5-vl-7b"], ["canary"], judges=["canary", "rules"], limit=5)
    found = osm.evaluate(study, tmp_path / "store", progress=False)
    assert set(found.asr()["judge"]) == {"canary", "rules"}
