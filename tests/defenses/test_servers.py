"""Defenses over HTTP: a server that goes on from begun replies gives what the process gives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp.test_utils import TestServer
from PIL import Image as PILImage

from opensafemlrm import images, reasoning, registry
from opensafemlrm.datasets.canary import Canary
from opensafemlrm.defenses.safethink import TURN, SafeThink
from opensafemlrm.errors import DefenseError
from opensafemlrm.judges.policy_rubric import PolicyRubric
from opensafemlrm.models.demo.server import ServerOptions, simulated
from opensafemlrm.models.demo.sim import Simulated
from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from opensafemlrm.models.hosted.vllm import VLLM
from opensafemlrm.registry import ComponentKind
from opensafemlrm.types import Item, Prompt, ResponseStatus, Sampling, Turn
from opensafemlrm.wrapped import defend

NAME = "r1-onevision-7b"
PICTURE = images.from_picture(PILImage.new("RGB", (8, 8), "white"))
ITEMS = [row for row in Canary().rows() if isinstance(row, Item)][::25]
SAMPLING = Sampling()
BY_NAME = (
    "adashield-s", "ecso", "lessthink", "morethink", "none", "reflect", "scenario-aware",
    "self-reminder", "zerothink",
)  # fmt: skip


def defenses() -> dict[str, Any]:
    built = {name: registry.build(ComponentKind.DEFENSE, name, {}) for name in BY_NAME}
    return {**built, "safethink": SafeThink(PolicyRubric(Simulated("judge")))}


@asynccontextmanager
async def served(*, parser: bool = False) -> AsyncIterator[VLLM]:
    """Serve the simulated models as vLLM would, ``parser`` splitting the reasoning off."""
    async with TestServer(simulated(ServerOptions(reasoning_parser=parser))) as server:
        url = str(server.make_url("/v1"))
        model = VLLM(f"simulated-{NAME}", base_url=url, format="think")
        yield model
        await model.aclose()


def prompts(item: Item) -> list[Prompt]:
    """What an item may be sent as: text, text and image, and several turns."""
    earlier = (Turn("user", ("Good morning.",)), Turn("assistant", ("Good morning to you.",)))
    head = () if item.system is None else (Turn("system", (item.system,)),)
    return [
        Prompt.user(item.question, system=item.system),
        Prompt.user(PICTURE, item.question, system=item.system),
        Prompt((*head, *earlier, Turn("user", (PICTURE, item.question)))),
    ]


@pytest.mark.parametrize("name", [*BY_NAME, "safethink"])
async def test_a_defended_server_replies_as_the_defended_process_does(name: str) -> None:
    """A server that starts a new turn in place of going on would write a second thought."""
    defense = defenses()[name]
    here = defend(Simulated(NAME), defense)
    async with served() as model:
        there = defend(model, defense)
        for item in ITEMS:
            for prompt in prompts(item)[name == "ecso" :]:
                expected = await here.generate(prompt, SAMPLING)
                got = await there.generate(prompt, SAMPLING)
                assert (got.status, got.text) == (expected.status, expected.text)
                assert [(call.purpose, call.score, call.response.text) for call in got.calls] == [
                    (call.purpose, call.score, call.response.text) for call in expected.calls
                ]


@pytest.mark.parametrize("name", ["zerothink", "lessthink", "morethink", "safethink"])
async def test_a_server_that_splits_the_reasoning_off_loses_no_answer(name: str) -> None:
    """Put together without its end tag, the answer would be read as more reasoning."""
    defense = defenses()[name]
    here = defend(Simulated(NAME), defense)
    async with served(parser=True) as model:
        there = defend(model, defense)
        for item in ITEMS:
            prompt = Prompt.user(item.question, system=item.system)
            expected = reasoning.parse(await here.generate(prompt, SAMPLING), "think")
            got = reasoning.parse(await there.generate(prompt, SAMPLING), "think")
            assert got.answer == expected.answer
            # A step that ends with the thought looks as one that does not: the thought goes on.
            assert (got.reasoning or "").startswith(expected.reasoning or "")


async def test_safethink_turns_a_thought_over_http_and_the_turn_is_in_the_trace() -> None:
    defense = defenses()["safethink"]
    turned = 0
    async with served() as model:
        target = defend(model, defense)
        for item in ITEMS:
            response = await target.generate(prompts(item)[1], SAMPLING)
            trace = reasoning.parse(response, "think")
            assert trace.reasoning is not None
            steps = [call for call in response.calls if call.purpose.startswith("step")]
            unsafe = sum((call.score or 0) >= 4 for call in steps)
            assert trace.reasoning.count(TURN.strip()) == unsafe
            turned += unsafe
    assert turned > 0


async def test_a_server_that_fails_on_the_way_is_a_failure_without_a_text() -> None:
    """The begun thought must not pass for a reply of the model."""
    async with TestServer(simulated(ServerOptions(blocked_rate=1))) as server:
        model = VLLM(f"simulated-{NAME}", base_url=str(server.make_url("/v1")), format="think")
        for name in ("zerothink", "morethink", "safethink"):
            response = await defend(model, defenses()[name]).generate(
                prompts(ITEMS[0])[0], SAMPLING
            )
            assert response.status is ResponseStatus.BLOCKED
            assert response.text == ""
        await model.aclose()


async def test_a_hosted_chat_without_prefill_is_told_so_before_anything_is_sent() -> None:
    model = OpenAICompatible("some-model", base_url="http://127.0.0.1:1/v1")
    with pytest.raises(DefenseError, match="go on from a reply that was begun"):
        defend(model, defenses()["zerothink"])
