"""Samples and their prompts: the attack is applied, and what it needs is put into the store."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from opensafemlrm.calls import called
from opensafemlrm.components import Search
from opensafemlrm.engine.missing import MissingWork
from opensafemlrm.engine.plan import CellPlan
from opensafemlrm.engine.prompt_images import PromptImages
from opensafemlrm.errors import AttackError, ImageError
from opensafemlrm.faults import named_faults
from opensafemlrm.store import SampleKey, records
from opensafemlrm.store.tables import Row
from opensafemlrm.types import Call, Item, Prompt, Response, Sampling


@dataclass(slots=True)
class Sample:
    """One sample that is not up to date."""

    cell: CellPlan
    key: SampleKey
    item: Item
    prompt: Prompt | None = None
    """What to send, unless the reply is in the store or nothing can be sent."""
    response: Response | None = None
    """The stored reply, where only its verdicts are missing."""
    search: Search | None = None
    """The attack, where it has to look for the prompt first."""
    not_applicable: str = ""
    """Why nothing can be sent: the attack or the defense cannot be applied to the item."""
    calls: tuple[Call, ...] = ()
    """Queries that the search made."""
    rows: list[Row] = field(default_factory=list)
    """Rows that are written together with the outcome."""

    def give_up(self, reason: str) -> None:
        """Note that nothing can be sent, and why."""
        self.not_applicable = reason
        self.rows.append(records.inapplicable_row(self.key, reason))

    def send(self, prompt: Prompt) -> None:
        """Note what to send; its images are in the store."""
        self.prompt = prompt
        self.note_images(prompt)
        row = records.prompt_row(self.cell.prompts_key, self.key.item, self.key.seed, prompt)
        self.rows.append(row)

    def note_images(self, prompt: Prompt) -> None:
        """Note the images of a prompt that is sent on the sample's behalf."""
        self.rows += map(records.image_row, prompt.images)

    @property
    def sampling(self) -> Sampling:
        """The study's sampling, with the repeat's own seed."""
        sampling = self.cell.cell.sampling
        if sampling.seed is None or sampling.seed == self.key.seed:
            return sampling
        return dataclasses.replace(sampling, seed=self.key.seed)


def prepare(cell: CellPlan, images: PromptImages, work: MissingWork) -> list[Sample]:
    """Apply the attack to what is missing. Raises ImageError for a bad image, unless skipped."""
    samples = []
    for item, key, content in work.to_generate:
        try:
            with named_faults(item):
                samples.append(_new_sample(cell, images, item, key, content))
        except ImageError as error:
            if not cell.subset.skip_invalid:
                raise
            cell.tally.skip(str(error))
    samples += [Sample(cell, key, item, response=reply) for item, key, reply in work.to_judge]
    return samples


def _new_sample(
    cell: CellPlan, images: PromptImages, item: Item, key: SampleKey, content: str | None
) -> Sample:
    """Apply the attack, unless the prompt is stored; where it cannot be applied, say why."""
    if content is not None:
        return Sample(cell, key, item, records.prompt_from_json(content, images.store.image))
    sample = Sample(cell, key, item, rows=[records.item_row(item)])
    if isinstance(cell.attack, Search):
        sample.search = cell.attack
        return sample
    try:
        prompt = called(cell.attack, "apply", Prompt, item, key.seed)
    except AttackError as error:
        sample.give_up(str(error))
        return sample
    sample.send(images.put(prompt, item))
    return sample
