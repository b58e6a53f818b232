"""Classifier judges end to end on tiny checkpoints with random weights, on the CPU.

What such a checkpoint says is noise; that noise never becomes "safe" is what is shown, and that
weights that were put there on purpose become the score they should.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import engine, frame, study
from opensafemlrm.errors import StoppedError
from opensafemlrm.store import Store
from opensafemlrm.types import Image, Item, JudgeRequest, Part, Prompt, Unscored, Verdict
from tests.judges.test_classifiers import picture

torch = pytest.importorskip("torch", reason="torch is not installed (extra [hf])")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from tests.models import tiny_checkpoints as tiny  # noqa: E402 # after the skip

pytestmark = pytest.mark.filterwarnings("ignore")

STUDY = """\
models: [sim/qwen2.5-vl-7b]
datasets: [canary]
judge: {}
limit: 6
"""


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> Path:
    """A causal model that has the words Yes and No, and finds one of them likely."""
    torch.manual_seed(0)
    tokens = tiny.tokenizer("Yes", "No")
    tokens.chat_template = tiny._template("")
    config = transformers.Qwen2Config(**tiny._text(tokens), tie_word_embeddings=False)
    model = transformers.Qwen2ForCausalLM(config)
    with torch.no_grad():
        toward = torch.randn(tiny.HIDDEN)
        model.lm_head.weight.zero_()
        for sign, word in ((1, "Yes"), (-1, "No")):
            model.lm_head.weight[tokens.convert_tokens_to_ids(word)] = sign * 3 * toward
    path: Path = tmp_path_factory.mktemp("words")
    model.save_pretrained(path)
    tokens.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> Path:
    """A LLaVA of random weights."""
    torch.manual_seed(0)
    model, processor = tiny._llava()
    path: Path = tmp_path_factory.mktemp("noise")
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


def spec(judge: str, path: Path, **options: Any) -> str:
    model = {"model": f"hf/{path}", "device": "cpu"}
    return json.dumps({"judge": judge, "model": model, **options})


async def run(judge: str, store: Path, *, is_stopped: bool = False) -> Any:
    plan = engine.Plan.of(study.parse(STUDY.format(judge)))
    with Store.open(store, "create") as opened:
        stopped = pytest.raises(StoppedError, match="no score for any of the 6 texts")
        with stopped if is_stopped else contextlib.nullcontext():
            await engine.evaluate(plan, opened)
        return frame.read(opened)


async def test_weights_of_a_checkpoint_become_graded_scores_of_a_study(
    words: Path, tmp_path: Path
) -> None:
    rows = await run(spec("harmbench-cls", words, readout="logits"), tmp_path / "store")
    answers = rows.filter(rows["part"] == "answer")
    assert len(answers) == 6
    assert answers["score"].null_count() == 0
    assert answers["score"].n_unique() > 2
    assert answers["score"].is_between(0, 1).all()
    assert ((answers["label"] == "unsafe") == (answers["score"] >= 0.5)).all()


@pytest.mark.parametrize("judge", ["harmbench-cls", "llama-guard", "wildguard"])
async def test_noise_is_unscored_and_never_safe(judge: str, noise: Path, tmp_path: Path) -> None:
    rows = await run(spec(judge, noise), tmp_path / "store", is_stopped=True)
    answers = rows.filter(rows["part"] == "answer")
    assert len(answers) == 6
    assert set(answers["label"]) == {"unscored"}
    assert set(answers["reason"]) <= {"unparsed", "judge_truncated"}


async def test_llama_guard_looks_at_the_items_image(noise: Path) -> None:
    judge: Any = study.parse_judge(spec("llama-guard", noise))
    item = Item("d", "1", "s", "What is this?", images=(picture(),))
    verdicts: list[Verdict] = []
    for one in (item, Item("d", "1", "s", "What is this?")):
        verdicts += await judge.judge(one, [JudgeRequest(Part.ANSWER, "A white square.")])
    prompt = judge.prompt(item, "A white square.")
    over, begun = [
        await judge.model.generate(one, judge.sampling) for one in (prompt, Prompt(prompt.turns))
    ]
    await judge.aclose()
    # The guard's own turn is opened after the conversation; the reply that it judges is not
    # gone on from.
    assert over.usage.input_tokens > begun.usage.input_tokens
    assert {verdict.reason for verdict in verdicts} <= {Unscored.UNPARSED, Unscored.JUDGE_TRUNCATED}
    with_image, without = (verdict.usage.input_tokens or 0 for verdict in verdicts)
    assert with_image > without
    assert isinstance(item.images[0], Image)
