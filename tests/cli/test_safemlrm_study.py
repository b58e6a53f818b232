"""The paper's own study as a file: what it would ask, on small made-up data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image as PILImage
from typer.testing import CliRunner, Result

from opensafemlrm import study
from opensafemlrm.cli import app
from opensafemlrm.datasets.mm_safetybench import STUDY as SCENARIOS
from opensafemlrm.errors import DatasetError, StudyError
from opensafemlrm.interop.opensafemlrm import PAIRS
from opensafemlrm.models.base import CatalogModel
from opensafemlrm.text_file import TextFile
from opensafemlrm.types import Prompt

UPSTREAM_STUDY = Path(__file__).parents[2] / "studies" / "safemlrm-upstream.yaml"
STUDY = Path(__file__).parents[2] / "studies" / "safemlrm.yaml"
HEADER = "dataset,category_id,task_id,category_name,question,instruction"
EACH = 2
SAFEBENCH = 3


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two harmless questions a scenario, where the study file looks for them."""
    mm, figstep = tmp_path / "data/mm-safetybench/data", tmp_path / "data/figstep"
    for scenario in SCENARIOS:
        rows = {
            str(i): {
                "Question": "How is tea made?",
                "Changed Question": f"How is tea {i} made?",
                "Key Phrase": "tea",
                "Phrase Type": "Product",
                "Rephrased Question": "How is this product made?",
                "Rephrased Question(SD)": "How is the product in the picture made?",
            }
            for i in range(EACH)
        }
        pictures = mm / "imgs" / scenario / "SD_TYPO"
        pictures.mkdir(parents=True)
        for i in rows:
            PILImage.new("RGB", (8, 8)).save(pictures / f"{i}.jpg")
        (mm / "processed_questions").mkdir(exist_ok=True)
        (mm / "processed_questions" / f"{scenario}.json").write_text(json.dumps(rows))
    (figstep / "question").mkdir(parents=True)
    lines = [f"SafeBench,1,{i},Tea,How is tea {i} made?,Steps to make tea." for i in range(1, 4)]
    (figstep / "question" / "safebench.csv").write_text("\n".join([HEADER, *lines]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dry_run() -> Result:
    arguments = ["run", str(STUDY), "--store", "store", "--dry-run"]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_it_has_the_models_and_pairs_of_the_paper() -> None:
    parsed = study.load(STUDY)
    assert len(parsed.models) == 9
    assert sorted((a.label, b.label) for a, b in parsed.pairs) == sorted(PAIRS)


def test_a_dry_run_counts_cells_and_requests(data: Path) -> None:
    """Nine models, two datasets, each with the plain question and its own jailbreak."""
    shown = dry_run().stdout
    items = EACH * len(SCENARIOS) + SAFEBENCH
    sent = 9 * 2 * items
    assert f"54 cells, {9 * 3 * items:,} samples" in shown
    assert f"{sent:,} replies to generate, and {sent:,} to judge in up to 3 parts" in shown
    assert "nothing is sent for them" in shown
    assert not (data / "store").exists()


UPSTREAM = {
    "upstream/OpenSafeMLRM/code/exp_on_MM-SafeBench/exp1.py": ("system_prompt", "Think, llama."),
    "upstream/OpenSafeMLRM/code/exp_on_MM-SafeBench/exp2.py": ("SYSTEM_PROMPT", "Think, qwen."),
    "upstream/OpenSafeMLRM/code/evaluation/eval_jailbreak_scripts/evaluation.py": (
        "judge_template",
        "Q %s A %s, on a scale of 1 to 5 #thescore:",
    ),
    "upstream/MML/const.py": ("fs_prompt", "Fill in the list."),
}


def test_the_authors_words_go_where_their_scripts_put_them(data: Path) -> None:
    """On made-up files in the places of the real ones; without them, each is named."""
    with pytest.raises(StudyError) as error:
        study.load(UPSTREAM_STUDY)
    for path in UPSTREAM:
        assert path in str(error.value)
    for path, (name, text) in UPSTREAM.items():
        (data / path).parent.mkdir(parents=True, exist_ok=True)
        (data / path).write_text(f"class A:\n    def f(self):\n        self.{name} = {text!r}\n")
    parsed = study.load(UPSTREAM_STUDY)
    plain = study.load(STUDY)
    assert [m.label for m in parsed.models] == [m.label for m in plain.models]
    assert parsed.models[5:] == plain.models[5:]  # the bases are asked as ever
    sent = {}
    for model in parsed.models[:5]:
        assert isinstance(model, CatalogModel)
        turns = model._turns(Prompt.user("Tea?"))
        sent[model.label] = [(turn.role, turn.text) for turn in turns]
    question = ("user", "Tea?")
    assert sent == {
        "R1-Onevision-7B": [question],
        "MM-Eureka-Qwen-7B": [("system", "Think, qwen."), question],
        "Mulberry-Qwen2VL-7B": [("system", "Think, qwen."), question],
        "Mulberry-LLaVA-8B": [("user", "Think, llama.\nTea?")],
        "Mulberry-Llama-11B": [("user", "Think, llama.\nTea?")],
    }
    assert parsed.attacks[2].identity()["carrier"] == TextFile("Fill in the list.").identity()
    assert parsed.judge.label.startswith("policy-rubric[openai/gpt-4o-mini,template=")


@pytest.mark.parametrize("missing", ["mm-safetybench", "figstep"])
def test_without_the_data_it_is_said_what_is_missing_and_where_to_get_it(
    data: Path, missing: str
) -> None:
    shutil.rmtree(data / "data" / missing)
    with pytest.raises(DatasetError, match=rf"data/{missing}/.*is missing.*https://github.com"):
        dry_run()
