"""Attacks that search: they ask the target and a judge before the prompt is sent."""

from __future__ import annotations

from opensafemlrm.calls import given
from opensafemlrm.components import Judge, Search
from opensafemlrm.engine.prepare import Sample
from opensafemlrm.engine.prompt_images import PromptImages
from opensafemlrm.errors import AttackError
from opensafemlrm.types import SearchResult


async def search_prompt(sample: Sample, attack: Search, judge: Judge, images: PromptImages) -> None:
    """Search for the prompt of ``sample``; every query is written with its reply.

    Where the search cannot be applied to the item, the sample says why.
    """
    try:
        subject = (sample.item, sample.cell.target, judge, sample.sampling)
        result = await given(attack, "search", SearchResult, *subject)
    except AttackError as error:
        sample.give_up(str(error))
        return
    sample.send(images.put(result.prompt, sample.item))
    sample.calls = result.calls
    for call in result.calls:
        sample.note_images(images.put(call.prompt, sample.item))
