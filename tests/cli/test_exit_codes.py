"""One table of exit codes for all commands, and runs that never end with 0 over nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from opensafemlrm.cli import app
from opensafemlrm.cli._console import MEANINGS, ExitCode
from tests.cli.test_run_ends import LLM_JUDGE, Reply, fine, run, serving, write_study

CLI = Path(__file__).parents[2] / "docs" / "cli.md"


def test_help_and_the_reference_have_every_code() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    for code, meaning in MEANINGS.items():
        assert f"  {code.value} " in shown
        assert f"| {code.value} | {meaning} |" in CLI.read_text("utf-8")
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 4, 5, 6, 130]


def few(tmp_path: Path, url: str, judge: str = LLM_JUDGE, n: int = 3) -> Path:
    study = write_study(tmp_path, url, "a", judge)
    study.write_text(study.read_text("utf-8").replace("limit: 40", f"limit: {n}"), "utf-8")
    return study


def unreadable(model: str, number: int) -> Reply:
    return (200, "It is a 4 of 5.", "stop") if model == "judge" else fine(model, number)


def test_few_texts_without_one_score_end_with_2_and_are_judged_again(tmp_path: Path) -> None:
    """Three texts never reached the twenty that stop a judge, and the exit code was 0."""
    with serving(unreadable) as (url, asked):
        for _ in range(2):
            result = run(few(tmp_path, url))
            assert result.exit_code == 2
            assert "it gave no score for any of the 3 texts (unparsed 3)" in result.stderr
        assert asked == {"a": 3, "judge": 12}, "each text twice a run, and no reply twice"
    with serving(fine) as (url, asked):
        assert run(few(tmp_path, url)).exit_code == 0
        assert asked == {"judge": 3}
        assert run(few(tmp_path, url)).exit_code == 0
        assert asked == {"judge": 3}


def test_what_a_judge_of_other_scores_could_not_read_stays_as_it_is(tmp_path: Path) -> None:
    def once(model: str, number: int) -> Reply:
        return unreadable(model, number) if model == "judge" and number > 1 else fine(model, number)

    with serving(once) as (url, asked):
        assert run(few(tmp_path, url)).exit_code == 0
        before = asked["judge"]
        assert run(few(tmp_path, url)).exit_code == 0
        assert asked["judge"] == before


@pytest.mark.parametrize(
    ("limits", "code", "words"),
    [
        ("unscored=50%", 0, ""),
        ("unscored=10%,failed=5%", 4, "33.3 % unscored, more than 10 %"),
        ("failed=0.3", 4, "openai/a · canary · direct · none: 33.3 % failed, more than 30 %"),
        ("truncated=0", 0, ""),
        ("missing=10%", 2, "--fail-on: 'missing=10%' is not KIND=SHARE, such as unscored=10%"),
        ("unscored=120%", 2, "by a share from 0 to 100%"),
        ("unscored", 2, "unscored, failed, blocked, truncated"),
    ],
)
def test_fail_on_ends_with_4_where_more_of_a_cell_is_missing(
    tmp_path: Path, limits: str, code: int, words: str
) -> None:
    def one_of_three(model: str, number: int) -> Reply:
        return (422, "not with this item", "") if number == 2 else fine(model, number)

    with serving(one_of_three) as (url, asked):
        result = run(few(tmp_path, url, "canary"), "--fail-on", limits)
    assert result.exit_code == code
    assert words in " ".join(result.stderr.replace("│", " ").split())
    assert bool(asked) == (code != 2), "nothing is requested before the option is understood"


def test_where_no_prompt_can_be_sent_the_run_does_not_end_with_0(tmp_path: Path) -> None:
    """An attack that carried no item: 0 of 20 sent, and "next: table asr"."""
    with serving(fine) as (url, asked):
        study = few(tmp_path, url, "canary")
        study.write_text(study.read_text("utf-8") + "attacks: [rotate]\n", "utf-8")
        for _ in range(2):
            result = run(study)
            assert result.exit_code == 2
            assert "no prompt could be sent to the model openai/a" in result.stderr
            assert "has no image of its own" in result.stderr
        study.write_text(study.read_text("utf-8").replace("[rotate]", "[rotate, direct]"))
        assert run(study).exit_code == 0
    assert asked == {"a": 3}
