"""The organisms over HTTP: the same replies as in the process, pictures accepted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestServer

from opensafemlrm.attacks.direct import Direct
from opensafemlrm.attacks.mm_safetybench import Typo
from opensafemlrm.datasets.canary import Canary
from opensafemlrm.models.demo.organism import NAMES, Organism
from opensafemlrm.models.demo.server import ORGANISM, organisms
from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from opensafemlrm.types import Item, ItemKind, ResponseStatus, Sampling

pytest.importorskip("onnxruntime")

ITEMS = [item for item in Canary().rows() if isinstance(item, Item)][::60]
CONTROL = next(
    item for item in Canary().rows() if isinstance(item, Item) and item.kind is ItemKind.BENIGN
)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with TestServer(organisms()) as server:
        yield str(server.make_url("/v1"))


async def test_a_client_gets_what_the_process_gives(url: str) -> None:
    served = OpenAICompatible(f"{ORGANISM}reasoner", base_url=url)
    local = Organism("reasoner", threads=1)
    for item in ITEMS:
        for attack in (Direct(), Typo()):
            prompt = attack.apply(item, 0)
            over_http = await served.generate(prompt, Sampling())
            here = await local.generate(prompt, Sampling())
            assert (over_http.status, over_http.text) == (here.status, here.text)
            assert over_http.usage.output_tokens == here.usage.output_tokens
    await served.aclose()
    await local.aclose()


async def test_the_temperature_is_heard(url: str) -> None:
    """The mistake: a server that decodes greedily whatever it is asked."""
    served = OpenAICompatible(f"{ORGANISM}base", base_url=url)
    prompt = Direct().apply(ITEMS[0], 0)
    texts = set()
    for seed in range(3):
        response = await served.generate(
            prompt, Sampling(temperature=4.0, max_tokens=20, seed=seed)
        )
        assert response.status in (ResponseStatus.OK, ResponseStatus.TRUNCATED)
        texts.add(response.text)
    await served.aclose()
    assert len(texts) > 1


async def test_the_reasoning_can_come_apart() -> None:
    async with TestServer(organisms(reasoning_parser=True)) as server:
        served = OpenAICompatible(f"{ORGANISM}reasoner", base_url=str(server.make_url("/v1")))
        response = await served.generate(Direct().apply(CONTROL, 0), Sampling())
        await served.aclose()
    assert response.reasoning
    assert "<think>" not in response.text


def test_every_bundled_organism_is_served() -> None:
    assert {f"{ORGANISM}{name}" for name in NAMES} == {
        "organism-base",
        "organism-reasoner",
        "organism-reasoner-safe",
    }
