"""Models of Inspect AI's providers, by its own mock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from PIL import Image as PILImage

from opensafemlrm import images, reasoning
from opensafemlrm.errors import EndpointDownError, ModelError
from opensafemlrm.types import Prompt, Response, ResponseStatus, Sampling, TraceStatus, Turn
from tests.models.scripted import HELLO

inspect = pytest.importorskip("inspect_ai.model", reason="Inspect AI is not installed")

from opensafemlrm.models.hosted.inspect import Inspect  # noqa: E402 # after the skip

pytestmark = pytest.mark.filterwarnings("ignore")  # Inspect's own affairs


@pytest.fixture
async def mock() -> AsyncIterator[Callable[..., Inspect]]:
    made: list[Inspect] = []

    def make(*outputs: Any, **options: Any) -> Inspect:
        """A mock that plays ``outputs``: replies, errors, or functions that make one."""
        left = list(outputs)

        def play(*asked: Any) -> Any:
            act = left.pop(0)
            if isinstance(act, Exception):
                raise act
            return act(*asked) if callable(act) else act

        made.append(Inspect("mockllm/model", model_args={"custom_outputs": play}, **options))
        return made[-1]

    yield make
    for model in made:
        await model.aclose()


def said(*parts: Any, stop: str = "stop", **usage: int) -> Any:
    message = inspect.ChatMessageAssistant(content=list(parts), model="m", source="generate")
    choice = inspect.ChatCompletionChoice(message=message, stop_reason=stop)
    counted = inspect.ModelUsage(input_tokens=3, output_tokens=5, **usage)
    return inspect.ModelOutput(model="m", choices=[choice], usage=counted)


TEXT = inspect.ContentText(text="hello")
THOUGHT = inspect.ContentReasoning(reasoning="first this")


async def ask(model: Inspect, prompt: Prompt = HELLO) -> Response:
    return await model.generate(prompt, Sampling())


async def test_the_mock_replies(mock):
    response = await ask(mock(said(TEXT)))
    assert (response.status, response.text) == (ResponseStatus.OK, "hello")


async def test_images_turns_and_sampling_arrive(mock):
    picture = images.from_picture(PILImage.new("RGB", (8, 6), "red"))
    seen: list[Any] = []

    def reply(messages: Any, tools: Any, choice: Any, config: Any) -> Any:
        del tools, choice
        seen.extend((messages, config))
        return said(TEXT)

    turns = (Turn("system", ("be brief",)), Turn("user", ("look", picture)))
    sampling = Sampling(0.5, 77, seed=3, top_p=0.9, stop=("x",))
    await mock(reply).generate(Prompt(turns), sampling)
    (system, user), config = seen
    assert system.text == "be brief"
    assert user.content[0].text == "look"
    assert user.content[1].image == images.data_uri(picture)
    assert (config.temperature, config.max_tokens, config.seed, config.top_p, config.stop_seqs) == (
        0.5, 77, 3, 0.9, ["x"]
    )  # fmt: skip


async def test_raw_reasoning_is_kept_apart(mock):
    response = await ask(mock(said(THOUGHT, TEXT)))
    trace = reasoning.parse(response)
    assert (trace.status, trace.reasoning, trace.answer) == (
        TraceStatus.CLOSED, "first this", "hello"
    )  # fmt: skip
    assert (response.usage.input_tokens, response.usage.output_tokens) == (3, 5)


async def test_a_redacted_thought_is_no_reasoning(mock):
    """Its ciphertext, judged, would be taken for harmless reasoning."""
    redacted = inspect.ContentReasoning(reasoning="q83jfs0", redacted=True)
    trace = reasoning.parse(await ask(mock(said(redacted, TEXT))))
    assert (trace.status, trace.reasoning) == (TraceStatus.HIDDEN, None)
    told = inspect.ContentReasoning(reasoning="q83jfs0", redacted=True, summary="in short")
    trace = reasoning.parse(await ask(mock(said(told, TEXT))))
    assert (trace.status, trace.reasoning) == (TraceStatus.SUMMARY, "in short")


async def test_counted_reasoning_that_was_not_sent_is_hidden(mock):
    response = await ask(mock(said(TEXT, reasoning_tokens=9)))
    assert reasoning.parse(response).status is TraceStatus.HIDDEN


@pytest.mark.parametrize(
    ("stop", "status", "code"),
    [
        ("max_tokens", ResponseStatus.TRUNCATED, None),
        ("model_length", ResponseStatus.TRUNCATED, None),
        ("content_filter", ResponseStatus.BLOCKED, "content_filter"),
    ],
)
async def test_how_a_reply_ended_is_typed(mock, stop, status, code):
    response = await ask(mock(said(TEXT, stop=stop)))
    assert (response.status, response.code) == (status, code)


async def test_an_error_is_a_failure_and_never_text(mock):
    usage = inspect.ModelUsage()  # without one, the mock counts tokens by a file it fetches
    failed = inspect.ModelOutput(model="m", choices=[], error="upstream said no", usage=usage)
    response = await ask(mock(failed))
    assert (response.status, response.code, response.text) == (
        ResponseStatus.FAILED, "empty_choices", ""
    )  # fmt: skip
    assert response.detail == "upstream said no"


async def test_what_a_provider_raises_is_typed_and_many_in_a_row_end_the_run(mock):
    model = mock(*[TimeoutError("slow")] * 3, give_up_after=3)
    for _ in range(2):
        response = await ask(model)
        assert (response.status, response.code, response.transient) == (
            ResponseStatus.FAILED, "TimeoutError", True
        )  # fmt: skip
    with pytest.raises(EndpointDownError, match="3 requests in a row"):
        await ask(model)


class AuthenticationError(Exception):
    pass


async def test_a_wrong_key_ends_the_run_at_once(mock):
    with pytest.raises(ModelError, match="AuthenticationError: no such key"):
        await ask(mock(AuthenticationError("no such key")))


class BadRequestError(Exception):
    status_code = 400

    def __init__(self, body: Any) -> None:
        super().__init__(f"Error code: 400 - {body}")
        self.body = body


async def test_a_providers_filter_and_money_that_is_spent_are_told_by_the_vendors_words(mock):
    filtered = {"code": "content_filter", "message": "it was filtered"}
    odd = {"message": "no such thing"}
    spent = {"message": "Your credit balance is too low"}
    model = mock(*map(BadRequestError, (filtered, odd, spent)))
    response = await ask(model)
    assert (response.status, response.code, response.detail) == (
        ResponseStatus.BLOCKED, "content_filter", "it was filtered"
    )  # fmt: skip
    response = await ask(model)
    assert (response.status, response.transient) == (ResponseStatus.FAILED, True)
    with pytest.raises(ModelError, match="credit balance"):
        await ask(model)


async def test_an_unknown_provider_is_said_before_anything_is_sent():
    with pytest.raises(ModelError, match="cannot be used"):
        await ask(Inspect("nobody/model"))
