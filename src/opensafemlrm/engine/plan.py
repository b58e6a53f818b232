"""What a study asks for, held against what the store has: a lazy stream of jobs."""

from __future__ import annotations

import dataclasses
import itertools
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from opensafemlrm import reasoning
from opensafemlrm.errors import AttackError, ImageError
from opensafemlrm.images import verify
from opensafemlrm.store import Cell, Slot, Store, database, generation_key, records
from opensafemlrm.store.database import Known, component_key
from opensafemlrm.study import Study, Subset
from opensafemlrm.types import (
    Attack,
    Call,
    Defense,
    Image,
    Item,
    Judge,
    Key,
    Model,
    Prompt,
    Response,
    Sampling,
    Search,
    Turn,
    identity_of,
    label_of,
)

if TYPE_CHECKING:
    from typing import Self

CHUNK: Final = 64
"""Items that are looked up in the store together."""
MOST_NOTES: Final = 20
"""Reasons kept per cell for items that could not be used; the rest are only counted."""


@dataclass(slots=True)
class Tally:
    """How the samples of one cell ended so far."""

    samples: int = 0
    stored: int = 0
    """Done before this run began."""
    ok: int = 0
    truncated: int = 0
    blocked: int = 0
    failed: int = 0
    judged: int = 0
    unscored: int = 0
    """Parts that have text and yet no score."""
    inapplicable: int = 0
    bad: int = 0
    """Items left out because an image could not be decoded (only with skip_bad)."""
    notes: list[str] = field(default_factory=list)

    @property
    def ended(self) -> int:
        """Samples that need nothing more."""
        return self.stored + self.judged + self.truncated + self.blocked + self.failed + self.lost

    @property
    def lost(self) -> int:
        """Samples for which nothing was sent."""
        return self.inapplicable + self.bad

    def note(self, text: str) -> None:
        """Keep a reason, unless there are many already."""
        if len(self.notes) < MOST_NOTES:
            self.notes.append(text)


@dataclass(frozen=True, slots=True)
class CellPlan:
    """One cell of the matrix: what it is made of, and how far it is."""

    subset: Subset
    attack: Attack | Search
    prompts_key: Key
    """What prompts are kept under: the attack, or the cell where the attack searches."""
    defense: Defense
    model: Model
    """The model as named in the study."""
    target: Model
    """The model with its defense around it: what prompts are sent to."""
    cell: Cell
    key: Key
    repeats: int
    tally: Tally

    @property
    def label(self) -> tuple[str, str, str, str]:
        """Model, dataset, attack and defense, as tables call them."""
        parts = (self.model, self.subset.dataset, self.attack, self.defense)
        return tuple(label_of(part) for part in parts)  # type: ignore[return-value] # four of four

    @property
    def searching(self) -> Search:
        """The attack, where it is one that searches."""
        if not isinstance(self.attack, Search):
            raise TypeError(f"{self.attack.name} does not search")
        return self.attack

    @property
    def splitter(self) -> str:
        """The format and version that split its replies."""
        return f"{self.target.reasoning_format}@{reasoning.VERSION}"


@dataclass(slots=True)
class Job:
    """One sample that is not up to date."""

    cell: CellPlan
    slot: Slot
    item: Item
    prompt: Prompt | None
    """What to send, unless the reply is in the store or nothing can be sent."""
    response: Response | None = None
    """The stored reply, where only its verdicts are missing."""
    to_search: bool = False
    """Whether the attack has to look for the prompt first."""
    inapplicable: str = ""
    """Why the attack cannot carry the item, where it cannot."""
    calls: tuple[Call, ...] = ()
    """Queries that a search made."""
    rows: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    """Rows that are written together with the outcome."""

    def give_up(self, reason: str) -> None:
        """Note that the attack cannot carry the item: nothing is sent."""
        self.inapplicable = reason
        self.rows.append((records.PUT_INAPPLICABLE, (self.slot.cell, self.slot.item, reason)))


@dataclass(frozen=True, slots=True)
class Survey:
    """What a run of one cell would do."""

    samples: int
    to_generate: int
    to_judge: int
    """Replies that need verdicts, those still to be generated among them."""
    note: str
    """Why the attack cannot carry the dataset's first item, if it cannot."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The cells of a study, registered in a store."""

    study: Study
    cells: tuple[CellPlan, ...]
    judge_key: Key

    @classmethod
    def of(cls, study: Study, *, skip_bad: bool = False) -> Self:
        """Lay out the matrix and count the items. Raises DatasetError for a bad row."""
        subsets = [Subset.of(d, study.limit, skip_bad=skip_bad) for d in study.datasets]
        cells = []
        for model, defense in itertools.product(study.models, study.defenses):
            target = defense.wrap(model)
            for subset, attack in itertools.product(subsets, study.attacks):
                cell = Cell(
                    dataset=_key("dataset", subset.dataset),
                    attack=component_key("attack", _attack_identity(attack, study.judge)),
                    defense=_key("defense", defense),
                    model=_key("model", model),
                    sampling=study.sampling,
                )
                tally = Tally(samples=subset.size * study.repeats)
                cells.append(
                    CellPlan(
                        subset,
                        attack,
                        cell.key if isinstance(attack, Search) else cell.attack,
                        defense,
                        model,
                        target,
                        cell,
                        cell.key,
                        study.repeats,
                        tally,
                    )
                )
        return cls(study, tuple(cells), _key("judge", study.judge))

    def register(self, store: Store) -> None:
        """Write what the study is made of into the store."""
        with store.transaction():
            for cell in self.cells:
                store.put_component("dataset", cell.subset.dataset)
                identity = _attack_identity(cell.attack, self.study.judge)
                store.put_identity("attack", label_of(cell.attack), identity)
                store.put_component("defense", cell.defense)
                store.put_component("model", cell.model)
                store.put_cell(cell.cell)
            store.put_component("judge", self.study.judge)
            for reasoner, base in self.study.pairs:
                store.put_pair(_key("model", reasoner), _key("model", base))

    def survey(self, cell: CellPlan, connection: sqlite3.Connection | None) -> Survey:
        """Count what a run would do, sending and writing nothing."""
        to_generate = to_judge = 0
        note = ""
        for number, chunk in enumerate(_chunks(cell)):
            if number == 0:
                note = _try_attack(cell, chunk[0][0])
            known = self._known(connection, chunk)
            for _, slot in chunk:
                state = known.get(slot.key)
                missing = state is None or state.transient
                to_generate += missing
                to_judge += missing or _wants_judging(state, cell)
        return Survey(cell.tally.samples, to_generate, to_judge, note)

    def jobs(
        self, cell: CellPlan, store: Store, connection: sqlite3.Connection
    ) -> Iterator[list[Job]]:
        """Yield, chunk by chunk, what is missing. Uses ``connection`` only to read."""
        for chunk in _chunks(cell):
            known = self._known(connection, chunk)
            missing = [
                (item, slot)
                for item, slot in chunk
                if (state := known.get(slot.key)) is None or state.transient
            ]
            unjudged = [
                (item, slot)
                for item, slot in chunk
                if (state := known.get(slot.key)) is not None and _wants_judging(state, cell)
            ]
            cell.tally.stored += len(chunk) - len(missing) - len(unjudged)
            jobs = _jobs_to_generate(cell, store, connection, missing)
            replies = database.responses(connection, [slot.key for _, slot in unjudged])
            jobs += [Job(cell, slot, item, None, replies[slot.key]) for item, slot in unjudged]
            if jobs:
                yield jobs

    def _known(
        self, connection: sqlite3.Connection | None, chunk: list[tuple[Item, Slot]]
    ) -> dict[Key, Known]:
        if connection is None:
            return {}
        return database.known_generations(
            connection, self.judge_key, [slot.key for _, slot in chunk]
        )


def _attack_identity(attack: Attack | Search, judge: Judge) -> dict[str, Any]:
    """Return what makes prompts comparable: of a search, the judge that guides it as well."""
    identity: dict[str, Any] = identity_of(attack)
    return {**identity, "judge": identity_of(judge)} if isinstance(attack, Search) else identity


def _key(kind: str, component: Any) -> Key:
    return component_key(kind, identity_of(component))


def _chunks(cell: CellPlan) -> Iterator[list[tuple[Item, Slot]]]:
    items = cell.subset.items()
    base_seed = cell.cell.sampling.seed or 0
    while chunk := list(itertools.islice(items, CHUNK)):
        yield [
            (
                item,
                Slot(
                    cell.key,
                    item.key,
                    repeat,
                    base_seed + repeat,
                    generation_key(cell.key, item.key, repeat),
                ),
            )
            for item in chunk
            for repeat in range(cell.repeats)
        ]


def _wants_judging(state: Known | None, cell: CellPlan) -> bool:
    return (
        state is not None
        and state.status == "ok"
        and (not state.judged or state.splitter != cell.splitter)
    )


def _jobs_to_generate(
    cell: CellPlan,
    store: Store,
    connection: sqlite3.Connection,
    missing: list[tuple[Item, Slot]],
) -> list[Job]:
    wanted = [(slot.item, slot.seed) for _, slot in missing]
    stored = database.stored_prompts(connection, cell.prompts_key, wanted)
    jobs = []
    for item, slot in missing:
        content = stored.get((slot.item, slot.seed))
        if content is not None:
            prompt = database.decode_prompt(store, content)
            jobs.append(Job(cell, slot, item, prompt))
            continue
        try:
            job = _fresh_job(cell, store, item, slot)
        except ImageError as error:
            if not cell.subset.skip_bad:
                raise
            cell.tally.bad += 1
            cell.tally.note(str(error))
            continue
        jobs.append(job)
    return jobs


def _fresh_job(cell: CellPlan, store: Store, item: Item, slot: Slot) -> Job:
    """Apply the attack; where it cannot be applied, the job only notes why."""
    job = Job(cell, slot, item, None, rows=[(records.PUT_ITEM, records.item_row(item))])
    attack = cell.attack
    if isinstance(attack, Search):
        job.to_search = True
        return job
    try:
        prompt = attack.apply(item, slot.seed)
    except AttackError as error:
        job.give_up(str(error))
        return job
    job.prompt = keep_images(prompt, store, item)
    job.rows += [(records.PUT_IMAGE, records.image_row(image)) for image in job.prompt.images]
    job.rows.append(prompt_row(cell, slot, job.prompt))
    return job


def prompt_row(cell: CellPlan, slot: Slot, prompt: Prompt) -> tuple[str, tuple[Any, ...]]:
    """Return the statement and the row that keep a prompt."""
    content = records.prompt_json(prompt)
    return records.PUT_PROMPT, (cell.prompts_key, slot.item, slot.seed, content)


def keep_images(prompt: Prompt, store: Store, item: Item) -> Prompt:
    """Put the images of a prompt into the store, looked at once; return it with those."""
    if not prompt.images:
        return prompt

    def kept(image: Image) -> Image:
        # Looked at once, when it comes into the store: what is sent can be decoded.
        if not store.image_path(image.sha256, image.media_type).exists():
            try:
                verify(image)
            except ImageError as error:
                reason = f"{error.reason} (item {item.id})"
                raise ImageError(reason, path=error.path or item.origin) from error
        return store.put_image(image)

    return Prompt(
        tuple(
            Turn(turn.role, tuple(p if isinstance(p, str) else kept(p) for p in turn.parts))
            for turn in prompt.turns
        )
    )


def _try_attack(cell: CellPlan, item: Item) -> str:
    attack = cell.attack
    if isinstance(attack, Search):
        return ""
    try:
        attack.apply(item, 0)
    except AttackError as error:
        return str(error)
    return ""


def sampling_for(cell: CellPlan, slot: Slot) -> Sampling:
    """Return the sampling of one repeat: the study's, with the repeat's own seed."""
    sampling = cell.cell.sampling
    if sampling.seed is None or sampling.seed == slot.seed:
        return sampling
    return dataclasses.replace(sampling, seed=slot.seed)
