"""Attacks that search: they ask the target and a judge before the prompt is sent."""

from __future__ import annotations

from typing import Any

from opensafemlrm.engine.plan import Job, prompt_row, sampling_for
from opensafemlrm.engine.prompt_images import PromptImages
from opensafemlrm.errors import AttackError
from opensafemlrm.store import records
from opensafemlrm.types import Judge, Search


class Searching:
    """Turns a job to search into a job to send, or into one that says why it cannot be sent."""

    def __init__(self, judge: Judge, pictures: PromptImages) -> None:
        self._judge, self._pictures = judge, pictures

    async def search(self, job: Job) -> None:
        """Search for the prompt of ``job``; every query becomes a row that is written with it."""
        cell = job.cell
        attack: Search = cell.searching
        try:
            found = await attack.search(
                job.item, cell.target, self._judge, sampling_for(cell, job.slot)
            )
        except AttackError as error:
            job.give_up(str(error))
            return
        job.prompt = self._pictures.keep(found.prompt, job.item)
        job.calls = found.calls
        job.rows.append(prompt_row(cell, job.slot, job.prompt))
        for prompt in (job.prompt, *(call.prompt for call in found.calls)):
            kept = self._pictures.keep(prompt, job.item)
            rows: list[tuple[str, tuple[Any, ...]]] = [
                (records.PUT_IMAGE, records.image_row(image)) for image in kept.images
            ]
            job.rows.extend(rows)
