"""What is sent to a Chat Completions server, and how its replies are read."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from opensafemlrm import images, registry
from opensafemlrm.errors import OptionError
from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from opensafemlrm.models.hosted.vllm import VLLM
from opensafemlrm.types import Image, Prompt, ResponseStatus, Sampling, Turn, Usage
from tests.models.scripted import HELLO, completion

LAW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def picture(colour: str, media_type: Literal["image/png", "image/jpeg"] = "image/png") -> Image:
    return images.from_picture(PILImage.new("RGB", (8, 6), colour), media_type)


class TestRequest:
    async def test_images_go_as_data_uris_in_order(self, server, connect):
        red, blue = picture("red"), picture("blue", "image/jpeg")
        await connect().generate(Prompt.user("a", red, "b", blue, system="s"), Sampling())
        system, user = server.bodies[0]["messages"]
        assert system == {"role": "system", "content": "s"}
        first, one, second, two = user["content"]
        assert (first, second) == ({"type": "text", "text": "a"}, {"type": "text", "text": "b"})
        for part, image in ((one, red), (two, blue)):
            head, _, data = part["image_url"]["url"].partition(",")
            assert part["type"] == "image_url"
            assert head == f"data:{image.media_type};base64"
            assert base64.b64decode(data) == image.read()

    async def test_prompts_that_begin_alike_are_each_sent_whole(self, server, connect):
        """What was made of one prompt's first turn is sent in place of another's."""
        policy, model = Turn("system", ("policy",)), connect()
        for first, words in (policy, "a"), (policy, "b"), (Turn("system", ("other",)), "c"):
            await model.generate(Prompt((first, Turn("user", (words,)))), Sampling())
        sent = [[turn["content"] for turn in body["messages"]] for body in server.bodies]
        assert sent == [["policy", "a"], ["policy", "b"], ["other", "c"]]

    async def test_an_image_over_a_megabyte_arrives_whole(self, server, connect):
        noise = PILImage.effect_noise((1200, 1200), 90).convert("RGB")
        image = images.from_picture(noise)
        response = await connect().generate(Prompt.user(image), Sampling())
        url = server.bodies[0]["messages"][0]["content"][0]["image_url"]["url"]
        assert len(url) > 2**20
        assert url == images.data_uri(image)
        assert response.status is ResponseStatus.OK

    async def test_an_unreadable_image_fails_and_is_never_dropped(self, server, connect, tmp_path):
        path = tmp_path / "gone.png"
        image = replace(picture("red"), sha256="0" * 64, source=path)
        response = await connect().generate(Prompt.user("text", image), Sampling())
        assert response.status is ResponseStatus.FAILED
        assert response.code == "image_unreadable"
        assert "gone.png" in (response.detail or "")
        assert server.bodies == []

    @LAW
    @given(text=st.text(st.characters(codec=None), max_size=80))
    async def test_text_arrives_as_it_is(self, server, connect, text):
        server.bodies.clear()
        await connect().generate(Prompt.user(text, picture("red"), system=text), Sampling())
        system, user = server.bodies[0]["messages"]
        assert system["content"] == text
        assert user["content"][0]["text"] == text

    async def test_turns_keep_their_roles_and_order(self, server, connect):
        turns = (Turn("user", ("a",)), Turn("assistant", ("b", "c")), Turn("user", ("d",)))
        await connect().generate(Prompt(turns), Sampling())
        assert server.bodies[0]["messages"] == [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b\nc"},
            {"role": "user", "content": "d"},
        ]

    async def test_sampling_is_sent_and_unset_fields_are_not(self, server, connect):
        await connect().generate(HELLO, Sampling(0.5, 77, seed=3, top_p=0.9))
        await connect().generate(HELLO, Sampling(seed=None))
        first, second = server.bodies
        assert [first[k] for k in ("temperature", "max_tokens", "seed", "top_p")] == [
            0.5, 77, 3, 0.9
        ]  # fmt: skip
        assert first["model"] == "m"
        assert second.keys() == {"model", "messages", "temperature", "max_tokens"}

    async def test_options_shape_the_body(self, server, connect):
        model = connect(
            max_tokens_field="max_completion_tokens",
            extra_body={"temperature": None, "chat_template_kwargs": {"enable_thinking": False}},
            image_detail="low",
            system_prompt="first",
        )
        await model.generate(Prompt.user("x", picture("red"), system="second"), Sampling())
        await model.generate(HELLO, Sampling())
        body = server.bodies[0]
        assert "temperature" not in body
        assert "max_tokens" not in body
        assert body["max_completion_tokens"] == 4096
        assert body["chat_template_kwargs"] == {"enable_thinking": False}
        assert body["messages"][1]["content"][1]["image_url"]["detail"] == "low"
        assert [m["content"] for m in body["messages"] if m["role"] == "system"] == [
            "first\n\nsecond"
        ]
        assert server.bodies[1]["messages"][0] == {"role": "system", "content": "first"}

    async def test_every_option_can_be_left_out_of_the_body(self, server, connect):
        nothing = dict.fromkeys(("temperature", "max_tokens", "seed"))
        await connect(extra_body=nothing).generate(HELLO, Sampling())
        assert server.bodies[0].keys() == {"model", "messages"}


class TestIdentity:
    def test_where_and_how_fast_a_model_is_served_changes_no_key(self):
        plain = OpenAICompatible("m")
        moved = OpenAICompatible(
            "m", base_url="https://h/v1", api_key_env="K", timeout=1, concurrency=2, format="think"
        )
        assert plain.identity() == moved.identity()
        assert plain.identity() == {"name": "openai", "version": "1-A", "model": "m"}
        assert moved.reasoning_format.name == "think"

    @pytest.mark.parametrize(
        "options",
        [
            {"revision": "r"},
            {"system_prompt": "s"},
            {"extra_body": {"a": 1}},
            {"image_detail": "low"},
            {"max_tokens_field": "max_completion_tokens"},
        ],
    )
    def test_what_changes_replies_changes_key_and_label(self, options):
        plain, changed = OpenAICompatible("m"), OpenAICompatible("m", **options)
        assert plain.identity() != changed.identity()
        assert plain.label != changed.label
        assert plain.label == "openai/m"

    def test_two_templates_of_one_model_have_two_labels(self):
        """Thinking on and thinking off are a pair in a study: one row would mix them."""
        labels = {OpenAICompatible("m", extra_body={"thinking": on}).label for on in (True, False)}
        assert len(labels) == 2
        named = OpenAICompatible("m", extra_body={"thinking": False}, alias="m-fast")
        assert named.label == "m-fast"
        assert named.identity() == OpenAICompatible("m", extra_body={"thinking": False}).identity()

    def test_vllm_needs_no_address_and_no_key(self):
        model = registry.build(registry.ComponentKind.MODEL, "vllm/org/name")
        assert isinstance(model, VLLM)
        assert (model.label, model.base_url) == ("vllm/org/name", "http://localhost:8000/v1")

    def test_later_changes_of_the_given_mapping_change_nothing(self):
        given_body: dict[str, Any] = {"a": {"b": 1}}
        model = OpenAICompatible("m", extra_body=given_body)
        given_body["a"]["b"] = 2
        assert model.identity()["extra_body"] == {"a": {"b": 1}}
        assert hash(model) == hash(replace(model))

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"base_url": "localhost:8000"}, "https://HOST/v1"),
            ({"base_url": "http://u:hunter2@h/v1"}, "api_key_env"),
            ({"extra_body": {"stream": True}}, "stream"),
            ({"extra_body": {"a": {1}}}, "not JSON"),
            ({"concurrency": 0}, "concurrency"),
            ({"clock": 1}, "no option 'clock'"),
        ],
    )
    def test_wrong_options_are_told_before_any_request(self, options, said):
        with pytest.raises(OptionError, match=said) as caught:
            registry.build(registry.ComponentKind.MODEL, "openai/m", options)
        assert "hunter2" not in str(caught.value)


def spoken(content: Any = "answer", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def details(*entries: tuple[str, str, str]) -> dict[str, Any]:
    return spoken(reasoning_details=[{"type": f"reasoning.{k}", f: v} for k, f, v in entries])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (spoken(reasoning="why"), {"text": "answer", "reasoning": "why"}),
        (spoken(reasoning_content="why"), {"text": "answer", "reasoning": "why"}),
        (spoken(reasoning="", reasoning_content=None), {"text": "answer", "reasoning": ""}),
        (spoken(thinking="why"), {"text": "answer", "reasoning": "why"}),
        (spoken(reasoning={"content": "why"}), {"text": "answer", "reasoning": "why"}),
        (
            spoken(thinking_blocks=[{"type": "thinking", "thinking": "why"}]),
            {"text": "answer", "reasoning": "why"},
        ),
        (
            spoken(
                reasoning="why",
                reasoning_details=[
                    {"type": "reasoning.text", "text": "why", "format": "google-gemini-v1"}
                ],
            ),
            {"reasoning": "why", "reasoning_is_summary": True},
        ),
        (spoken(None, reasoning="why"), {"text": "", "reasoning": "why"}),
        (spoken(None), {"text": "", "reasoning": None, "reasoning_hidden": False}),
        (
            details(("text", "text", "wh"), ("text", "text", "y")),
            {"reasoning": "why", "reasoning_is_summary": False},
        ),
        (
            details(("summary", "summary", "short"), ("encrypted", "data", "xx")),
            {"reasoning": "short", "reasoning_is_summary": True, "reasoning_hidden": False},
        ),
        (
            details(("encrypted", "data", "xx")),
            {"reasoning": None, "reasoning_hidden": True},
        ),
        (
            {**details(("summary", "summary", "short")), "reasoning": "short"},
            {"reasoning": "short", "reasoning_is_summary": True},
        ),
        (
            spoken([{"type": "text", "text": "an"}, {"type": "output_text", "text": "swer"}]),
            {"text": "answer", "reasoning": None, "detail": None},
        ),
        (
            spoken([
                {"type": "thinking", "thinking": [{"type": "text", "text": "why"}]},
                {"type": "text", "text": "answer"},
                {"type": "audio", "audio": {}},
            ]),
            {"text": "answer", "reasoning": "why", "detail": "not kept: audio"},
        ),
        (spoken(None, refusal="I will not."), {"text": "I will not."}),
        (spoken(None, tool_calls=[{"id": 1}]), {"text": "", "detail": "not kept: tool_calls"}),
        (spoken("a\0b"), {"text": "a\0b", "detail": None}),
    ],
)  # fmt: skip
async def test_fields_of_real_servers_are_read(server, connect, message, expected):
    server.script = [completion(message)]
    response = await connect().generate(HELLO, Sampling())
    assert response.status is ResponseStatus.OK
    assert {name: getattr(response, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("finish", "status", "code"),
    [
        ("stop", ResponseStatus.OK, None),
        ("eos", ResponseStatus.OK, None),
        (7, ResponseStatus.OK, None),
        ("length", ResponseStatus.TRUNCATED, None),
        ("MAX_TOKENS", ResponseStatus.TRUNCATED, None),
        ("content_filter", ResponseStatus.BLOCKED, "content_filter"),
        ("content_filter: PROHIBITED_CONTENT", ResponseStatus.BLOCKED,
         "content_filter: PROHIBITED_CONTENT"),
        ("SAFETY", ResponseStatus.BLOCKED, "SAFETY"),
    ],
)  # fmt: skip
async def test_a_reply_that_was_cut_or_blocked_is_never_ok(server, connect, finish, status, code):
    """Published mistake: a truncated or filtered reply stored, and scored, as an answer."""
    server.script = [completion(spoken("half an ans"), finish)]
    response = await connect().generate(HELLO, Sampling())
    assert (response.status, response.code, response.text) == (status, code, "half an ans")


async def test_a_full_budget_without_a_finish_reason_is_a_cut_reply(server, connect):
    used = {"completion_tokens": 50}
    server.script = [completion(finish=None, usage=used)] * 2
    model = connect()
    assert (await model.generate(HELLO, Sampling(max_tokens=50))).status == "truncated"
    assert (await model.generate(HELLO, Sampling(max_tokens=51))).status == "ok"


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, Usage()),
        ("many", Usage()),
        ({"prompt_tokens": 3, "completion_tokens": 4}, Usage(3, 4)),
        (
            {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 6}},
            Usage(None, 9, 6),
        ),
        ({"prompt_tokens": -1, "completion_tokens": 2**63}, Usage()),
        ({"prompt_tokens": True, "completion_tokens": 1.5}, Usage()),
    ],
)
async def test_usage_is_what_the_server_counted_or_nothing(server, connect, usage, expected):
    server.script = [completion(usage=usage)]
    response = await connect().generate(HELLO, Sampling())
    assert response.usage == expected
    assert response.reasoning_hidden is (expected.reasoning_tokens == 6)


async def test_lone_surrogates_are_replaced_and_the_reply_says_so(server, connect):
    """SQLite cannot hold a lone surrogate: one such reply would end a run at its last step."""
    server.script = [rb'{"choices":[{"message":{"content":"a\ud83d\ude00b\ud800c"}}]}']
    response = await connect().generate(HELLO, Sampling())
    assert response.status is ResponseStatus.OK
    assert response.text == "a\N{GRINNING FACE}b\N{REPLACEMENT CHARACTER}c"
    assert "U+FFFD" in (response.detail or "")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["choices", "message", "content", "reasoning", "reasoning_details", "error", "type",
             "text", "usage", "completion_tokens_details", "refusal", "finish_reason", "code",
             "metadata", "innererror", "detail"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@LAW
@given(value=JSON_VALUES, inside=st.sampled_from(["body", "choice", "message"]))
async def test_whatever_json_comes_a_response_goes(server, connect, value, inside):
    """Published mistake: a missing key raises, or its error text becomes the answer."""
    choices = {"choice": [value], "message": [{"message": value}]}
    server.always = value if inside == "body" else {"choices": choices[inside]}
    if server.always is None:
        server.always = b"null"
    response = await connect(max_retries=0, give_up_after=10**6).generate(HELLO, Sampling())
    if response.status in (ResponseStatus.FAILED, ResponseStatus.BLOCKED):
        assert response.code
    if response.status is ResponseStatus.FAILED:
        assert response.text == ""
    for text in (response.text, response.reasoning, response.detail, response.code):
        (text or "").encode()  # storable


LONG = "moon soup " * 12_000
"""120,000 characters, some 30,000 tokens."""


@pytest.mark.parametrize(
    ("text", "tokens", "status"),
    [
        (LONG, 2051, ResponseStatus.FAILED),
        (LONG, 30_000, ResponseStatus.OK),
        (LONG, None, ResponseStatus.OK),
        ("moon soup", 1, ResponseStatus.OK),
        (LONG[:11_000], 512, ResponseStatus.FAILED),
        (LONG[:2_000], 256, ResponseStatus.FAILED),
        (LONG[:2_000], 10, ResponseStatus.OK),  # what some servers fill in
        ("月の光と猫" * 600, 256, ResponseStatus.FAILED),
        ("月の光と猫" * 600, 1_000, ResponseStatus.OK),
        ("ありがとうございます" * 200, 230, ResponseStatus.OK),  # one token each
        ("나는 집에 간다 " * 100, 400, ResponseStatus.OK),
        ("word" + " " * 5_000 + "word\n\n\n" * 20, 80, ResponseStatus.OK),
        ("=" * 9_000 + " - | - " * 500, 300, ResponseStatus.OK),
        ("a" * 9_000 + "ha" * 500, 150, ResponseStatus.OK),
        ("QUJD/x9+" * 1_000, 4_000, ResponseStatus.OK),
        ("QUJD/x9+" * 1_000, 300, ResponseStatus.FAILED),
        ("1 2 3 4 5 " * 200, 1_000, ResponseStatus.OK),
    ],
)
async def test_a_prompt_that_the_server_cut_is_no_reply_to_it(
    server, connect, text: str, tokens: int | None, status: ResponseStatus
) -> None:
    """Ollama drops the front and answers 200: a judge scored what it never saw."""
    server.script.append(completion(usage={"prompt_tokens": tokens, "completion_tokens": 3}))
    response = await connect().generate(Prompt.user(text), Sampling())
    assert response.status is status
    if status is ResponseStatus.FAILED:
        assert (response.code, response.transient) == ("prompt_cut", True)
        assert f"{tokens:,} tokens" in (response.detail or "")
        assert len(server.bodies) == 1, "it was paid for once, and not asked again at once"


@pytest.mark.parametrize(
    "cache",
    [
        {"prompt_tokens_details": {"cached_tokens": 1900}},
        {"cache_read_input_tokens": 1000, "cache_creation_input_tokens": 900},
        {"prompt_cache_hit_tokens": 1900},
        {"cached_tokens": 1900},
    ],
)
async def test_what_a_server_had_in_its_cache_was_read_all_the_same(server, connect, cache) -> None:
    """Some count cached tokens among the prompt's, some beside them."""
    usage = {"prompt_tokens": 120, "completion_tokens": 3, **cache}
    server.script.append(completion(usage=usage))
    reply = await connect().generate(Prompt.user(LONG[:9_000]), Sampling())
    assert (reply.status, reply.usage.input_tokens) == (ResponseStatus.OK, 120)
