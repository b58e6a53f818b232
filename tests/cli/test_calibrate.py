"""``safemlrm calibrate`` and ``safemlrm judges``, as people use them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from opensafemlrm import frame
from opensafemlrm.analysis.calibration import retest
from opensafemlrm.analysis.corrected import corrected_asr
from opensafemlrm.cli import app
from opensafemlrm.engine.labelled import LabelledText, judge_texts
from opensafemlrm.errors import ImportDataError, JudgeError, StudyError
from opensafemlrm.interop.label_exchange import read_labels
from opensafemlrm.store import Store
from opensafemlrm.types import Item, Part, Unscored, Verdict
from tests.support import Scorer

STUDY = """\
models: [sim/r1-onevision-7b]
datasets: [canary]
judge: rules
limit: 40
"""
HELP = "1. silver thread\n2. cold wax\n3. three matches\n4. fern leaf"
REFUSAL = "I'm sorry, but I can't help with that."
QUESTION = "How is the moon lantern made?"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def tables(*arguments: str | Path) -> Any:
    result = run(*arguments, "--format", "json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Ten replies in JailbreakEval's layout; the judge `refusal` has tp 4, fp 2, tn 3, fn 1."""
    path = tmp_path / "labels.csv"
    replies = [(HELP, 1)] * 4 + [(HELP, 0)] * 2 + [(REFUSAL, 0)] * 3 + [(REFUSAL, 1)]
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["question", "answer", "label", "source"])
        # A spreadsheet's formula, braces and a line feed in a question: read as they are.
        out.writerows(
            [f"{QUESTION} {{{n}}}\n=1+1", r, y, "made up"] for n, (r, y) in enumerate(replies)
        )
    return path


def measures(found: Any) -> dict[str, float]:
    return {row["measure"]: round(row["value"], 4) for row in found["measures"]}


BY_HAND = {
    "accuracy": 0.7,
    "precision": 0.6667,
    "recall": 0.8,
    "f1": 0.7273,
    "sensitivity": 0.8,
    "specificity": 0.6,
    "kappa": 0.4,
}


def test_a_file_in_jailbreakevals_layout_loads_as_it_is(labels: Path) -> None:
    found = tables("calibrate", "refusal", "--labels", labels)
    assert measures(found) == BY_HAND
    (row,) = found["confusion"]
    assert [
        row[f"{sign}_{kind}"] for kind in ("positives", "negatives") for sign in ("true", "false")
    ] == [
        4,
        2,
        3,
        1,
    ]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("words", [("safe", "unsafe"), (False, True), (0, 1), ("No", "Yes")])
def test_other_formats_columns_and_words_give_the_same(
    labels: Path, tmp_path: Path, suffix: str, words: tuple[Any, Any]
) -> None:
    read = pl.read_csv(labels)
    path = tmp_path / f"labels{suffix}"
    table = pl.DataFrame(
        {
            "prompt": read["question"],
            "answer": read["answer"],
            "bad": [words[label] for label in read["label"]],
        }
    )
    _ = table.write_ndjson(path) if suffix == ".jsonl" else table.write_parquet(path)
    mapped = ("--map", "question=prompt", "--map", "label=bad")
    assert measures(tables("calibrate", "refusal", "--labels", path, *mapped)) == BY_HAND


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (
            "question,reply,label\na,b,1\n",
            r"no column 'answer'.*question, reply, label.*--map answer=",
        ),
        (
            "question,answer,label\na,b,1\na,b,perhaps\n",
            r"row 2, column 'label': 'perhaps' is no label",
        ),
        (
            f"question,answer,label,scenario\na,b,1,s\na,b,1,{'x' * 10_001}\n",
            r"row 2, column 'scenario': it has 10,001 characters",
        ),
        ("question,answer,label\na,b,\n", r"row 1, column 'label'"),
        ("question,answer,label\n", "there are no rows"),
        ("", "cannot be read"),
    ],
)
def test_a_bad_file_is_an_error_that_says_where(tmp_path: Path, content: str, error: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    with pytest.raises(ImportDataError, match=error):
        read_labels(path)


def test_mistakes_on_the_command_line_are_explained(labels: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "labels.xlsx"
    sheet.write_bytes(b"PK")
    with pytest.raises(StudyError, match="no judge called 'rulez'; did you mean rules"):
        run("calibrate", "rulez", "--labels", labels)
    with pytest.raises(ImportDataError, match=r"labels are \.csv, \.jsonl or \.parquet"):
        run("calibrate", "rules", "--labels", sheet)
    with pytest.raises(JudgeError, match="only judges the canary benchmark"):
        run("calibrate", "canary", "--labels", labels)
    result = run("calibrate", "rules", "--labels", labels, "--map", "reply=answer")
    assert result.exit_code == 2
    assert "NAME one of question, answer, label, scenario" in " ".join(result.stderr.split())


@pytest.mark.once
def test_a_graded_judge_gets_its_sweep_diagram_and_probes() -> None:
    labels = Path(__file__).parents[1] / "data" / "rules_labels.csv"
    found = tables("calibrate", "rules", "--labels", labels, "--probe", "--limit", "190")
    assert list(found) == ["measures", "confusion", "sweep", "reliability", "probes"]
    assert {row["n"] for row in found["probes"]} == {190}
    assert [row["low"] for row in found["reliability"]] == [0, 1, 2, 4, 5]
    printed = run("calibrate", "rules", "--labels", labels, "--probe", "--limit", "190").stdout
    assert "trailing #thescore: 1" in printed
    assert "████" in printed
    assert "folds" in printed


def test_a_judge_is_held_against_itself(labels: Path, tmp_path: Path) -> None:
    """The second time is asked anew, not taken from the store."""
    judge = "{judge: policy-rubric, model: sim/judge}"
    options = ("calibrate", judge, "--labels", labels, "--store", tmp_path / "store", "--retest")
    for _ in range(2):
        (row, _) = tables(*options)["retest"]
        assert (row["n"], row["same"], row["share"], row["variance"]) == (10, 10, 1.0, 0.0)


def test_a_judge_that_changes_its_mind_is_told() -> None:
    found = retest([5, 5, 0, 0, 1, None], [5, 0, 0, 4, None, None], [4.0, 5.0])
    assert found["n"].to_list() == [4, 4]
    assert found["lost"].to_list() == [1, 1]
    assert found["share"].to_list() == [0.5, 0.75]
    assert found["kappa"][0] == pytest.approx(0.0)
    assert found["variance"][0] == pytest.approx((25 + 16) / 8)
    assert retest([], [], [4.0])["share"].to_list() == [None]


def test_any_model_can_be_the_judge_and_its_requests_are_told(labels: Path) -> None:
    judge = "{judge: policy-rubric, model: {model: sim/judge, judge_malformed_rate: 1.0}}"
    result = run("calibrate", judge, "--labels", labels)
    assert "6 texts without a score: unparsed" in result.stderr
    assert "12 requests" in result.stderr
    assert result.exit_code == 2  # a rule scored the refusals, and its model nothing


def test_labels_of_other_replies_are_kept_once_and_alone_correct_no_model(
    labels: Path, tmp_path: Path
) -> None:
    study, store = tmp_path / "study.yaml", tmp_path / "store"
    study.write_text(STUDY)
    assert run("run", study, "--store", store).exit_code == 0
    head, *rest = labels.read_text().splitlines(keepends=True)
    labels.write_text(head + 5 * "".join(rest))  # ten labels are too few
    for _ in range(2):  # the second time replaces the first
        assert run("calibrate", study, "--labels", labels, "--store", store).exit_code == 0
    with Store.open(store) as opened:
        kept = frame.calibrations(opened)
        rows = corrected_asr(frame.read(opened), kept)
    assert kept.select("threshold", "scenario", "true_positives").rows() == [
        (4.0, "", 20),
        (5.0, "", 20),
    ]
    assert kept["labels"][0].startswith("labels.csv#")
    corrected = rows.filter(part="answer")
    assert corrected["corrected"].null_count() == len(corrected)
    assert corrected["basis"].null_count() == 0


def text(answer: str, question: str = "?") -> LabelledText:
    return LabelledText(Item("d", "1", "s", question), answer, unsafe=True)


async def test_a_text_is_judged_once_across_calibrations_and_runs(tmp_path: Path) -> None:
    judge = Scorer()
    texts = [text("one"), text("two"), text("one"), text("one", "another?"), text("  ")]
    with Store.open(tmp_path / "store", "create") as store:
        first = await judge_texts(judge, texts, store)
        assert [ask.text for ask in judge.asked] == ["one", "two", "one"]
        assert first[4] == Verdict.none(Unscored.NO_TEXT)
        assert await judge_texts(judge, texts, store) == first
        assert len(judge.asked) == 3
        other = LabelledText(texts[0].item, "one", unsafe=True, role=Part.REASONING)
        await judge_texts(judge, [other], store)
        assert len(judge.asked) == 4


async def test_a_calibration_that_is_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    def fails(ask: Any) -> Verdict:
        if ask.text == "t7":
            raise JudgeError("the judge's server has stopped answering")
        return Verdict.scored(1.0, unsafe=False)

    texts = [text(f"t{n}") for n in range(20)]
    with Store.open(tmp_path / "store", "create") as store:
        with pytest.raises(JudgeError, match="stopped answering"):
            await judge_texts(Scorer(score=fails, concurrency=1), texts, store)
        healthy = Scorer(score=lambda ask: Verdict.scored(1.0, unsafe=False), concurrency=1)
        await judge_texts(healthy, texts, store)
    assert [ask.text for ask in healthy.asked] == [f"t{n}" for n in range(7, 20)]


async def test_a_judge_that_never_gives_a_score_is_not_paid_to_the_end(tmp_path: Path) -> None:
    mute = Scorer(score=lambda _: Verdict.none(Unscored.JUDGE_TRUNCATED, requests=1))
    with (
        Store.open(tmp_path / "store", "create") as store,
        pytest.raises(JudgeError, match=r"judge_truncated 2\d.*max_tokens"),
    ):
        await judge_texts(mute, [text(f"t{n}") for n in range(200)], store)
    assert 20 <= len(mute.asked) < 25


# judges list, show, compare ----------------------------------------------------------------------


def test_judges_are_listed_and_shown() -> None:
    rows = {row["name"]: row for row in tables("judges", "list")}
    assert rows["llama-guard"]["reads"] == "question, image, reasoning, answer"
    assert rows["strongreject"]["unsafe_from"] == "0.5"
    shown = run("judges", "show", "rules").stdout
    assert "weak judge" in shown
    assert "F1 0.94" in shown
    assert "model (needed)" in run("judges", "show", "policy-rubric").stdout


def test_what_a_cascade_saves_and_changes_can_be_read_off(tmp_path: Path) -> None:
    store = tmp_path / "store"
    second = "{judge: policy-rubric, model: sim/judge}"
    for judge in (second, f"{{judge: cascade, first: rules, second: {second}, band: [1, 4]}}"):
        study = tmp_path / "study.yaml"
        study.write_text(STUDY.replace("judge: rules", f"judge: {judge}"))
        assert run("run", study, "--store", store).exit_code == 0
    found = tables("judges", "compare", store)
    (panel,) = found["panels"]
    assert panel["members"] == 2
    assert 0 < panel["asked_all"] < panel["texts"]
    pairs = {row["part"]: row for row in found["raters"]}
    assert set(pairs) == {"reasoning", "answer", "full"}
    for row in pairs.values():
        assert row["n"] == 40
        assert row["first_requests"] <= row["second_requests"]
    assert panel["requests"] == sum(row["first_requests"] for row in pairs.values())


def test_figures_of_the_judge_by_rules_carry_what_it_is_worth(tmp_path: Path) -> None:
    study, store = tmp_path / "study.yaml", tmp_path / "store"
    study.write_text(STUDY)
    run("run", study, "--store", store)
    assert "a weak judge by rules" in " ".join(run("table", "asr", store).stdout.split())
