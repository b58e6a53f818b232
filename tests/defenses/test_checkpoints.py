"""The defenses that write into the reasoning, on a tiny random checkpoint on the CPU."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import reasoning
from opensafemlrm.defenses.safethink import SafeThink
from opensafemlrm.defenses.thinking import AGAIN, LessThink, MoreThink, ZeroThink
from opensafemlrm.types import JudgeRequest, Part, Prompt, ResponseStatus, Sampling, Verdict
from tests.support import Scorer

torch = pytest.importorskip("torch", reason="torch is not installed (extra [hf])")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from opensafemlrm.models.local.hf import HuggingFace  # noqa: E402 # after the skip
from opensafemlrm.wrapped import defend  # noqa: E402 # after the skip
from tests.models import tiny_checkpoints as tiny  # noqa: E402 # after the skip

torch.set_num_threads(1)  # threads cost more than they give to a model of this size

# transformers and torch warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")

PROMPT = Prompt.user("what is it", system="be brief")
CLOSING = "</think>"


def thinker() -> tuple[Any, Any]:
    """A language model that has the end of a thought as one token."""
    words = tiny.tokenizer(CLOSING)
    words.chat_template = tiny._template("")
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**tiny._text(words))), words


@pytest.fixture
async def load(tmp_path: Path) -> AsyncIterator[Callable[..., HuggingFace]]:
    """Load a checkpoint that writes nothing but ``allowed`` tokens, one at least, and ends."""
    loaded: list[HuggingFace] = []

    def make(*allowed: str) -> HuggingFace:
        model, words = tiny.make(thinker)
        config = model.generation_config
        free = {words.convert_tokens_to_ids(token) for token in allowed}
        end = words.eos_token_id
        config.suppress_tokens = sorted({*range(len(words))} - free - {end})
        config.begin_suppress_tokens = [end]
        config.forced_eos_token_id = end
        model.save_pretrained(tmp_path)
        words.save_pretrained(tmp_path)
        loaded.append(HuggingFace(str(tmp_path), dtype="float32", device="cpu", format="think"))
        return loaded[-1]

    yield make
    for model in loaded:
        await model.aclose()


LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")


async def test_zerothink_has_no_thought_and_an_answer(load: Callable[..., HuggingFace]) -> None:
    response = await defend(load(*LETTERS), ZeroThink()).generate(PROMPT, Sampling(max_tokens=9))
    trace = reasoning.parse(response, "think")
    assert response.status is ResponseStatus.OK
    assert trace.part(Part.REASONING) is None
    assert trace.part(Part.ANSWER) is not None


async def test_lessthink_thinks_its_canned_thought(load: Callable[..., HuggingFace]) -> None:
    response = await defend(load(*LETTERS), LessThink()).generate(PROMPT, Sampling(max_tokens=9))
    trace = reasoning.parse(response, "think")
    assert trace.reasoning is not None
    assert trace.reasoning.strip() == LessThink.thought
    assert trace.part(Part.ANSWER) is not None


async def test_morethink_is_in_the_thought_once_a_round(load: Callable[..., HuggingFace]) -> None:
    target = defend(load(CLOSING), MoreThink(rounds=2))
    response = await target.generate(PROMPT, Sampling(max_tokens=2))
    trace = reasoning.parse(response, "think")
    assert trace.status.value == "closed"
    assert trace.reasoning is not None
    assert trace.reasoning.count(AGAIN.strip()) == 2
    assert [call.purpose for call in response.calls] == ["round 0", "round 1"]


async def test_safethink_is_in_the_thought_after_each_unsafe_step(
    load: Callable[..., HuggingFace],
) -> None:
    def score(ask: JudgeRequest) -> Verdict:
        corrected = "think safely" in ask.text
        return Verdict.scored(0 if corrected else 5, unsafe=not corrected)

    target = defend(load(*LETTERS), SafeThink(Scorer(score), steps=2))
    response = await target.generate(PROMPT, Sampling(max_tokens=5))
    trace = reasoning.parse(response, "think")
    assert trace.reasoning is not None
    assert trace.reasoning.count("Wait, think safely.") == 1
    before, after = trace.reasoning.split("Wait, think safely.")
    assert before.strip()  # what the model wrote first is kept
    assert len(after.split()) == 2
    assert [call.score for call in response.calls] == [5, 5, 0, 0]
