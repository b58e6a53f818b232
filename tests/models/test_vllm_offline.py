"""``vllm-offline/``: vLLM's batch engine in this process, behind the one async method.

The module ``vllm`` that stands in here takes what vLLM's documentation says that ``LLM``, its
``chat`` and ``SamplingParams`` take, and nothing else.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from opensafemlrm import images
from opensafemlrm.errors import ModelError, OptionError
from opensafemlrm.models.local.vllm_offline import VLLMOffline
from opensafemlrm.registry import ComponentKind, build
from opensafemlrm.types import Prompt, Response, ResponseStatus, Sampling, Turn, Usage

GREEN = images.from_picture(Image.new("RGB", (8, 8), "green"))


@dataclass
class SamplingParams:
    temperature: float = 1.0
    max_tokens: int | None = 16
    seed: int | None = None
    top_p: float = 1.0
    stop: list[str] | None = None
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True


@dataclass
class Fake:
    """What the stand-in was asked, and how it misbehaves."""

    made: list[dict[str, Any]] = field(default_factory=list)
    batches: list[Any] = field(default_factory=list)
    how: list[dict[str, Any]] = field(default_factory=list)
    refuses: str = "never"
    finish: str = "stop"
    extra: int = 0
    error: Exception | None = None


@pytest.fixture
def fake(monkeypatch) -> Fake:
    state = Fake()

    class LLM:
        def __init__(self, model: str, **arguments: Any) -> None:
            if state.error is not None:
                raise state.error
            state.made.append({"model": model, **arguments})

        def chat(
            self,
            messages: list[list[dict[str, Any]]],
            sampling_params: list[SamplingParams],
            use_tqdm: bool = True,
            add_generation_prompt: bool = True,
            continue_final_message: bool = False,
            chat_template_kwargs: dict[str, Any] | None = None,
        ) -> list[Any]:
            assert not use_tqdm, "its bars would stand among the run's"
            assert len(messages) == len(sampling_params)
            state.batches.append((messages, sampling_params))
            state.how.append(
                {
                    "begins": add_generation_prompt,
                    "goes_on": continue_final_message,
                    "template": chat_template_kwargs,
                }
            )
            if state.error is not None:
                raise state.error
            if any(state.refuses in str(conversation) for conversation in messages):
                raise ValueError("the prompt is longer than the model's context")
            return [output(c, state.finish) for c in messages] + [None] * state.extra

    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = LLM, SamplingParams  # type: ignore[attr-defined] # a fake
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.delitem(sys.modules, "opensafemlrm.models.local.vllm_engine", raising=False)
    return state


def output(conversation: list[dict[str, Any]], finish: str) -> Any:
    said = conversation[-1]["content"]
    text = said if isinstance(said, str) else "a picture"
    written = SimpleNamespace(text=f"about {text}", token_ids=[1, 2, 3], finish_reason=finish)
    return SimpleNamespace(outputs=[written], prompt_token_ids=[1] * 7)


@pytest.fixture
async def load(fake) -> AsyncIterator[Callable[..., VLLMOffline]]:
    made: list[VLLMOffline] = []

    def make(**options: Any) -> VLLMOffline:
        made.append(build(ComponentKind.MODEL, "vllm-offline/org/name", options))
        return made[-1]

    yield make
    for model in made:
        await model.aclose()
    sys.modules.pop("opensafemlrm.models.local.vllm_engine", None)


async def ask(model: VLLMOffline, *texts: str, **sampling: Any) -> list[Response]:
    asking = (model.generate(Prompt.user(text), Sampling(**sampling)) for text in texts)
    return list(await asyncio.gather(*asking))


async def test_requests_that_wait_are_one_batch_and_each_gets_its_own_reply(load, fake):
    responses = await ask(load(), "tea", "milk", "honey", seed=5, stop=("end",))
    assert [response.text for response in responses] == ["about tea", "about milk", "about honey"]
    assert {response.status for response in responses} == {ResponseStatus.OK}
    assert responses[0].usage == Usage(7, 3)
    ((_, parameters),) = fake.batches
    assert parameters == [SamplingParams(0.0, 4096, 5, 1.0, ["end"])] * 3


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("google/gemma-4-31b-it", True),
        ("mistralai/Magistral-Small-2507", True),
        ("moonshotai/Kimi-K2.5", True),
        ("Qwen/Qwen3-VL-8B-Thinking", False),
        ("org/unlisted", False),
    ],
)
async def test_special_tokens_are_kept_where_reasoning_stands_between_some(fake, name, kept):
    """vLLM strips them, and the marks with them: the whole thought would be the answer."""
    model = build(ComponentKind.MODEL, f"vllm-offline/{name}", {})
    await ask(model, "tea")
    await model.aclose()
    ((_, (parameters,)),) = fake.batches
    assert parameters.skip_special_tokens is not kept
    assert parameters.spaces_between_special_tokens is not kept


async def test_no_batch_is_larger_than_asked(load, fake):
    await ask(load(max_batch=2), *"abcde")
    assert [len(messages) for messages, _ in fake.batches] == [2, 2, 1]


async def test_images_and_the_catalogue_s_words_reach_the_engine(load, fake):
    model = load(system_prompt="Be brief.", template={"colour": "blue"})
    await model.generate(Prompt.user(GREEN, "what is it?"), Sampling())
    ((((system, user),), _),) = fake.batches
    assert system == {"role": "system", "content": "Be brief."}
    assert user["content"][0]["image_url"]["url"].startswith("data:image/")
    assert user["content"][1] == {"type": "text", "text": "what is it?"}
    assert fake.how[0]["template"] == {"colour": "blue"}


async def test_a_begun_reply_is_gone_on_from_and_not_answered(load, fake):
    model = load()
    begun = Prompt((Turn("user", ("tea?",)), Turn("assistant", ("<think>",))))
    await asyncio.gather(model.generate(begun, Sampling()), ask(model, "milk"))
    assert sorted((how["begins"], how["goes_on"]) for how in fake.how) == [
        (False, True),
        (True, False),
    ]


async def test_the_engine_is_loaded_once_with_room_for_the_study_s_images(load, fake):
    model = load(engine={"max_model_len": 100}, revision="abc")
    model.set_image_limit(3)
    await ask(model, "a", "b")
    assert fake.made == [
        {
            "model": "org/name",
            "revision": "abc",
            "limit_mm_per_prompt": {"image": 3},
            "max_model_len": 100,
        }
    ]


async def test_one_prompt_that_does_not_fit_costs_the_others_nothing(load, fake):
    fake.refuses = "milk"
    tea, milk, honey = await ask(load(), "tea", "milk", "honey")
    assert (tea.text, honey.text) == ("about tea", "about honey")
    assert (milk.status, milk.code) == (ResponseStatus.FAILED, "prompt_unusable")
    assert not milk.transient
    assert "longer than the model's context" in (milk.detail or "")


@pytest.mark.parametrize(
    ("finish", "status"),
    [
        ("length", ResponseStatus.TRUNCATED),
        ("abort", ResponseStatus.FAILED),
        (None, ResponseStatus.FAILED),
    ],
)
async def test_a_reply_that_was_cut_or_aborted_is_no_answer(load, fake, finish, status):
    fake.finish = finish
    (response,) = await ask(load(), "tea")
    assert response.status is status


async def test_replies_are_never_given_to_the_wrong_request(load, fake):
    fake.extra = 1
    with pytest.raises(ModelError, match="2 replies to 1 request"):
        await ask(load(), "tea")


async def test_an_engine_that_died_ends_the_run(load, fake):
    model = load()
    await ask(model, "tea")
    fake.error = RuntimeError("EngineCore died")
    with pytest.raises(ModelError, match=r"vllm-offline/org/name.*EngineCore died"):
        await ask(model, "tea")


async def test_a_checkpoint_that_cannot_be_loaded_is_told(load, fake):
    fake.error = OSError("no such repository")
    with pytest.raises(ModelError, match="cannot be loaded by vLLM: no such repository"):
        await ask(load(), "tea")


async def test_it_is_loaded_anew_after_it_was_closed(load, fake):
    model = load()
    await ask(model, "tea")
    await model.aclose()
    await ask(model, "tea")
    assert len(fake.made) == 2


async def test_without_vllm_it_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    monkeypatch.delitem(sys.modules, "opensafemlrm.models.local.vllm_engine", raising=False)
    model = build(ComponentKind.MODEL, "vllm-offline/m", {})
    with pytest.raises(ModelError, match=r"pip install vllm.*serve: true"):
        await ask(model, "tea")


def test_what_changes_replies_is_in_the_identity_and_what_does_not_is_not():
    plain = build(ComponentKind.MODEL, "vllm-offline/m", {})
    assert (
        plain.identity()
        == build(ComponentKind.MODEL, "vllm-offline/m", {"max_batch": 3}).identity()
    )
    longer = build(ComponentKind.MODEL, "vllm-offline/m", {"engine": {"quantization": "fp8"}})
    assert plain.identity() != longer.identity()
    with pytest.raises(OptionError, match="engine may not set model"):
        build(ComponentKind.MODEL, "vllm-offline/m", {"engine": {"model": "other"}})
