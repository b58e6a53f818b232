"""Checkpoints in the process: seven families with images, and batches that change no reply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage

from opensafemlrm import images
from opensafemlrm.errors import ModelError
from opensafemlrm.types import Image, Prompt, Response, ResponseStatus, Sampling, Turn

torch = pytest.importorskip("torch", reason="torch is not installed (extra [hf])")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from opensafemlrm.models.local.hf import HuggingFace  # noqa: E402 # after the skip
from tests.models import tiny_checkpoints as tiny  # noqa: E402 # after the skip

torch.set_num_threads(1)  # threads cost more than they give to a model of this size

# transformers and torch warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")

BY_ITSELF = ("llava", "llava-next", "mllama")
"""Families whose processor loads without torchvision: they go the whole way from disk."""


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> Iterator[Callable[[str], Path]]:
    """Make the checkpoint of a family once, on disk as upstream's are."""
    made: dict[str, Path] = {}
    processors: dict[str, Any] = {}
    load = transformers.AutoProcessor.from_pretrained

    def load_processor(path: str, **options: Any) -> Any:
        return processors.get(path) or load(path, **options)

    def get(family: str) -> Path:
        if family not in made:
            folder = tmp_path_factory.mktemp(family.replace(".", "-"))
            build = tiny.FAMILIES.get(family, tiny.TEXT_ONLY)
            model, processor = tiny.make(build)
            model.save_pretrained(folder)
            if family in tiny.FAMILIES and family not in BY_ITSELF:
                processors[str(folder)] = processor
            else:
                processor.save_pretrained(folder)
            made[family] = folder
        return made[family]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers.AutoProcessor, "from_pretrained", load_processor)
        yield get


@pytest.fixture
async def load(checkpoints) -> AsyncIterator[Callable[..., HuggingFace]]:
    loaded: list[HuggingFace] = []

    def make(family: str, **options: Any) -> HuggingFace:
        options = {"dtype": "float32", "device": "cpu", **options}
        loaded.append(HuggingFace(str(checkpoints(family)), **options))
        return loaded[-1]

    yield make
    for model in loaded:
        await model.aclose()


def noise(size: tuple[int, int], seed: int) -> Image:
    pixels = torch.randint(0, 256, (size[1], size[0], 3), generator=torch.manual_seed(seed))
    return images.from_picture(PILImage.fromarray(pixels.to(torch.uint8).numpy()))


PROMPTS = [
    Prompt.user("what is it", noise((40, 40), 1)),
    Prompt.user("which one of these two is the larger one", noise((60, 30), 2), noise((30, 60), 3)),
    Prompt.user(noise((28, 28), 4), "so", system="be brief"),
    Prompt.user("no picture at all"),
    Prompt.user("none here", system="and a system message that is a good deal longer"),
]
SHORT = Sampling(max_tokens=12)


def essence(response: Response) -> tuple[Any, ...]:
    return (response.status, response.text, response.finish_reason, response.usage)


@pytest.mark.parametrize("family", tiny.FAMILIES)
async def test_batched_greedy_replies_are_those_of_one_by_one(load, family):
    """Padding on the wrong side, or a mask that is not sent, changes what a batch writes."""
    alone = load(family, max_batch=1)
    one_by_one = [essence(await alone.generate(prompt, SHORT)) for prompt in PROMPTS]
    together = load(family, max_batch=8)
    batched = await asyncio.gather(*(together.generate(prompt, SHORT) for prompt in PROMPTS))
    assert [essence(response) for response in batched] == one_by_one
    assert all(response.text for response in batched), [response.detail for response in batched]


@pytest.mark.parametrize("family", tiny.FAMILIES)
async def test_a_model_sees_its_images(load, family):
    """Published mistake: an image that is dropped, and the text sent alone."""
    model = load(family)
    letters = ("a", "b", "c")
    one, two, none = [
        await model.score_tokens(Prompt.user("what is it", *pictures), letters)
        for pictures in ([noise((40, 40), 1)], [noise((40, 40), 2)], [])
    ]
    assert len({one, two, none}) == 3
    assert all(score < 0 for score in one)


async def test_a_reply_drawn_by_seed_is_its_own_whatever_else_is_in_the_batch(load):
    drawn = [Sampling(1.5, 12, seed=seed, top_p=0.95) for seed in range(4)]
    alone = load("llava", max_batch=1)
    one_by_one = [await alone.generate(PROMPTS[0], sampling) for sampling in drawn]
    together = load("llava", max_batch=8)
    batched = await asyncio.gather(
        together.generate(PROMPTS[0], SHORT),
        *(together.generate(PROMPTS[0], sampling) for sampling in drawn),
    )
    assert [each.text for each in batched[1:]] == [each.text for each in one_by_one]
    assert len({each.text for each in one_by_one}) > 1
    assert batched[0].text == (await alone.generate(PROMPTS[0], SHORT)).text


async def test_a_begun_reply_goes_on_with_what_is_new(load):
    """Budget forcing rests on this: the reply begins where the given text ends."""
    model = load("qwen2.5-vl")
    whole = (await model.generate(PROMPTS[0], SHORT)).text
    begun = Prompt((*PROMPTS[0].turns, Turn("assistant", (whole[:5],))))
    rest = await model.generate(begun, Sampling(max_tokens=12 - 5))
    assert rest.text == whole[5:]


async def test_it_stops_before_the_first_stop_text(load):
    model = load("llava")
    whole = (await model.generate(PROMPTS[0], SHORT)).text
    stop = whole[4:6]
    response, other = await asyncio.gather(
        model.generate(PROMPTS[0], Sampling(max_tokens=12, stop=(stop,))),
        model.generate(PROMPTS[2], SHORT),
    )
    assert response.text == whole[: whole.index(stop)]
    assert (response.status, response.finish_reason) == (ResponseStatus.OK, "stop")
    alone = await model.generate(PROMPTS[2], SHORT)
    assert other.text == alone.text


async def test_each_row_of_a_batch_has_its_own_limit(load):
    model = load("llava")
    limits = [3, 12, 7]
    batched = await asyncio.gather(
        *(model.generate(PROMPTS[0], Sampling(max_tokens=limit)) for limit in limits)
    )
    assert [response.usage.output_tokens for response in batched] == limits
    assert {response.status for response in batched} == {ResponseStatus.TRUNCATED}


async def test_the_end_token_ends_a_reply_and_is_no_part_of_it(load, checkpoints):
    model = load("llava")
    await model.generate(PROMPTS[0], SHORT)
    config = model._state.engine._model.generation_config
    config.suppress_tokens = [t for t in config.suppress_tokens if t != config.eos_token_id]
    config.exponential_decay_length_penalty = (2, 100.0)
    response = await model.generate(PROMPTS[0], SHORT)
    assert (response.status, response.finish_reason) == (ResponseStatus.OK, "stop")
    assert "<|im_end|>" not in response.text
    assert response.usage.output_tokens == len(response.text) + 1


async def test_special_tokens_that_mark_reasoning_are_kept(load):
    """Kimi and GLM mark their reasoning by special tokens: dropped, the thought is lost."""
    model = load("llava")
    await model.generate(PROMPTS[0], SHORT)
    engine = model._state.engine
    mark = engine._tokenizer.convert_tokens_to_ids("<|im_start|>")
    others = sorted(set(range(len(engine._tokenizer))) - {mark})
    engine._model.generation_config.suppress_tokens = others
    response = await model.generate(PROMPTS[0], Sampling(max_tokens=2))
    assert response.text == "<|im_start|>" * 2


async def test_a_prompt_beyond_the_context_fails_alone(load):
    model = load("llava")
    long, short = await asyncio.gather(
        model.generate(Prompt.user("x" * 3000), SHORT),
        model.generate(Prompt.user("no picture at all"), SHORT),
    )
    assert (long.status, long.code, long.transient) == (
        ResponseStatus.FAILED, "context_length", False
    )  # fmt: skip
    assert short.text == (await model.generate(Prompt.user("no picture at all"), SHORT)).text


async def test_out_of_memory_halves_the_batch_and_goes_on(load, monkeypatch):
    model = load("llava")
    expected = [(await model.generate(prompt, SHORT)).text for prompt in PROMPTS[:3]]
    engine = model._state.engine
    generate, sizes = engine._model.generate, []

    def small(**inputs: Any) -> Any:
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 EiB")
        return generate(**inputs)

    monkeypatch.setattr(engine._model, "generate", small)
    batched = await asyncio.gather(*(model.generate(prompt, SHORT) for prompt in PROMPTS[:3]))
    assert [response.text for response in batched] == expected
    assert sizes == [3, 1, 1, 1]


async def test_a_single_request_that_does_not_fit_is_a_failure(load, monkeypatch):
    model = load("llava")
    await model.generate(PROMPTS[0], SHORT)

    def never(**_: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: not enough memory: out of memory")

    monkeypatch.setattr(model._state.engine._model, "generate", never)
    response = await model.generate(PROMPTS[0], SHORT)
    assert (response.status, response.code) == (ResponseStatus.FAILED, "out_of_memory")


async def test_a_prompt_that_the_template_cannot_take_fails_alone(load):
    """A literal image token in a question has no image: it fails, and its batch does not."""
    model = load("llava")
    bad = Prompt.user("what is <image> here", noise((40, 40), 1))
    failed, well = await asyncio.gather(
        model.generate(bad, SHORT), model.generate(PROMPTS[0], SHORT)
    )
    assert (failed.status, failed.code) == (ResponseStatus.FAILED, "prompt_unusable")
    assert well.status is ResponseStatus.TRUNCATED


async def test_a_language_model_takes_text_and_never_drops_an_image(load):
    model = load("text-only")
    texts = [Prompt.user("one"), Prompt.user("another and longer", system="be brief")]
    batched = await asyncio.gather(*(model.generate(prompt, SHORT) for prompt in texts))
    alone = load("text-only", max_batch=1)
    one_by_one = [await alone.generate(prompt, SHORT) for prompt in texts]
    assert [r.text for r in batched] == [r.text for r in one_by_one]
    refused = await model.generate(PROMPTS[0], SHORT)
    assert (refused.status, refused.code) == (ResponseStatus.FAILED, "no_images")


async def test_raw_text_goes_without_a_template(load):
    model, chat = load("text-only", raw=True), load("text-only")
    prompt = Prompt.user("Answer: ")
    raw_response, chat_response = [await m.generate(prompt, SHORT) for m in (model, chat)]
    assert raw_response.usage.input_tokens == len("Answer: ")
    assert chat_response.usage.input_tokens > len("Answer: ")


async def test_scores_are_log_probabilities_and_the_same_batched(load):
    model = load("llava")
    letters = tuple("abcdefghijklmnopqrstuvwxyz")
    batched = await asyncio.gather(*(model.score_tokens(p, letters) for p in PROMPTS))
    for prompt, scores in zip(PROMPTS, batched, strict=True):
        assert scores == pytest.approx(await model.score_tokens(prompt, letters), abs=1e-4)
        assert sum(torch.tensor(scores).exp().tolist()) < 1
    with pytest.raises(ModelError, match="'yes' is 3 tokens"):
        await model.score_tokens(PROMPTS[0], ("yes",))


async def test_closing_stops_the_batch_that_runs_and_the_model_can_be_used_again(load):
    model = load("llava")
    await model.generate(PROMPTS[0], SHORT)
    running = asyncio.create_task(model.generate(PROMPTS[0], Sampling(max_tokens=1500)))
    await asyncio.sleep(0.1)
    await model.aclose()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    await model.aclose()
    assert (await model.generate(PROMPTS[0], SHORT)).text


async def test_what_cannot_be_loaded_says_so_before_anything_runs(tmp_path):
    with pytest.raises(ModelError, match="cannot be loaded"):
        await HuggingFace(str(tmp_path / "nothing"), device="cpu").generate(PROMPTS[0], SHORT)


async def test_without_a_chat_template_nothing_is_made_up(load, checkpoints, tmp_path):
    words = tiny.tokenizer()
    folder = checkpoints("text-only")
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    words.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="has no chat template"):
        await HuggingFace(str(tmp_path), device="cpu").generate(Prompt.user("x"), SHORT)
