"""What a study asks for, held against what the store has: a lazy stream of jobs."""

from __future__ import annotations

import dataclasses
import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from opensafemlrm import reasoning
from opensafemlrm.engine.prompt_images import PromptImages
from opensafemlrm.engine.tally import Tally
from opensafemlrm.errors import AttackError, ImageError
from opensafemlrm.store import Cell, SampleKey, Store, database, generation_key, records
from opensafemlrm.store.database import GenerationState, component_key
from opensafemlrm.study import Study
from opensafemlrm.subset import Subset
from opensafemlrm.types import (
    ALL_DEVICES,
    Attack,
    Call,
    Defense,
    Item,
    Judge,
    Key,
    Model,
    Prompt,
    Response,
    Sampling,
    Search,
    device_of,
    identity_of,
    is_resident,
    label_of,
)

if TYPE_CHECKING:
    from typing import Self

CHUNK: Final = 64
"""Items that are looked up in the store together."""


@dataclass(frozen=True, slots=True)
class CellPlan:
    """One cell of the matrix: what it is made of, and how far it is."""

    subset: Subset
    attack: Attack | Search
    transform: Attack | None
    """The attack, unless it searches."""
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
    slot: SampleKey
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
        self.rows.append(
            (records.PUT_INAPPLICABLE, (self.slot.cell, self.slot.item, records.storable(reason)))
        )


@dataclass(frozen=True, slots=True)
class MissingWork:
    """What the store lacks of one chunk of a cell; it can travel to another process."""

    missing: list[tuple[Item, SampleKey, str | None]]
    """Samples to generate, each with its prompt where the store has it."""
    unjudged: list[tuple[Item, SampleKey, Response]]
    """Replies that lack verdicts."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a run of one cell would do."""

    samples: int
    to_generate: int
    to_judge: int
    """Replies that need verdicts, those still to be generated among them."""
    not_sent: int
    """Samples that the attack cannot carry; counted where it cannot carry the first item."""
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
        """Lay out the matrix and count the items.

        Raises DatasetError for a bad row, DefenseError where a model lacks what a defense needs.
        """
        subsets = [Subset.of(d, study.limit, skip_bad=skip_bad) for d in study.datasets]
        return cls.over(study, subsets)

    @classmethod
    def over(cls, study: Study, subsets: Sequence[Subset]) -> Self:
        """Lay out the matrix over subsets of the study's datasets, in their order."""
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
                transform = None if isinstance(attack, Search) else attack
                cells.append(
                    CellPlan(
                        subset,
                        attack,
                        transform,
                        cell.key if transform is None else cell.attack,
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

    def turns(self) -> list[list[list[CellPlan]]]:
        """Return the cells by model; models in one list take turns, since they need one memory.

        A model is loaded once: all its cells come before the next model's. Models that each name a
        device of their own run side by side, unless one of them takes all devices.
        """
        lanes: dict[int, list[CellPlan]] = {}
        for cell in self.cells:
            lanes.setdefault(id(cell.model), []).append(cell)
        served = [[cells] for cells in lanes.values() if not is_resident(cells[0].model)]
        resident: dict[str, list[list[CellPlan]]] = {}
        for cells in lanes.values():
            if is_resident(cells[0].model):
                resident.setdefault(device_of(cells[0].model), []).append(cells)
        if ALL_DEVICES in resident:
            return [list(itertools.chain.from_iterable(resident.values())), *served]
        return [*resident.values(), *served]

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
        to_generate = to_judge = not_sent = 0
        note = ""
        for number, chunk in enumerate(_chunks(cell)):
            if number == 0:
                note = _try_attack(cell, chunk[0][0])
            known = self._known(connection, chunk)
            for item, slot in chunk:
                state = known.get(slot.key)
                missing = state is None or state.transient
                # An attack that can carry the first item is taken to carry all of them: to draw
                # every picture would take as long as the run.
                if missing and note and _try_attack(cell, item):
                    not_sent += 1
                    continue
                to_generate += missing
                to_judge += missing or _wants_judging(state, cell)
        return Survey(cell.tally.samples, to_generate, to_judge, not_sent, note)

    def jobs(
        self, cell: CellPlan, pictures: PromptImages, connection: sqlite3.Connection
    ) -> Iterator[list[Job]]:
        """Yield, chunk by chunk, what is missing. Uses ``connection`` only to read."""
        for wanted in self.wanted(cell, connection):
            if jobs := prepare(cell, pictures, wanted):
                yield jobs

    def wanted(self, cell: CellPlan, connection: sqlite3.Connection) -> Iterator[MissingWork]:
        """Yield, chunk by chunk, what the store lacks. Uses ``connection`` only to read."""
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
            places = [(slot.item, slot.seed) for _, slot in missing]
            prompts = database.stored_prompts(connection, cell.prompts_key, places)
            replies = database.responses(connection, [slot.key for _, slot in unjudged])
            if missing or unjudged:
                yield MissingWork(
                    [(item, slot, prompts.get((slot.item, slot.seed))) for item, slot in missing],
                    [(item, slot, replies[slot.key]) for item, slot in unjudged],
                )

    def _known(
        self, connection: sqlite3.Connection | None, chunk: list[tuple[Item, SampleKey]]
    ) -> dict[Key, GenerationState]:
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


def _chunks(cell: CellPlan) -> Iterator[list[tuple[Item, SampleKey]]]:
    items = cell.subset.items()
    base_seed = cell.cell.sampling.seed or 0
    while chunk := list(itertools.islice(items, CHUNK)):
        yield [
            (
                item,
                SampleKey(
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


def _wants_judging(state: GenerationState | None, cell: CellPlan) -> bool:
    return (
        state is not None
        and state.status == "ok"
        and (not state.judged or state.splitter != cell.splitter)
    )


def prepare(cell: CellPlan, pictures: PromptImages, wanted: MissingWork) -> list[Job]:
    """Apply the attack to what is missing. Raises ImageError for a bad image, unless skipped."""
    jobs = []
    for item, slot, content in wanted.missing:
        if content is not None:
            prompt = database.decode_prompt(pictures.store, content)
            jobs.append(Job(cell, slot, item, prompt))
            continue
        try:
            job = _fresh_job(cell, pictures, item, slot)
        except ImageError as error:
            if not cell.subset.skip_bad:
                raise
            cell.tally.bad += 1
            cell.tally.note(str(error))
            continue
        jobs.append(job)
    jobs += [Job(cell, slot, item, None, response) for item, slot, response in wanted.unjudged]
    return jobs


def _fresh_job(cell: CellPlan, pictures: PromptImages, item: Item, slot: SampleKey) -> Job:
    """Apply the attack; where it cannot be applied, the job only notes why."""
    job = Job(cell, slot, item, None, rows=[(records.PUT_ITEM, records.item_row(item))])
    if cell.transform is None:
        job.to_search = True
        return job
    try:
        prompt = cell.transform.apply(item, slot.seed)
    except AttackError as error:
        job.give_up(str(error))
        return job
    job.prompt = pictures.keep(prompt, item)
    job.rows += [(records.PUT_IMAGE, records.image_row(image)) for image in job.prompt.images]
    job.rows.append(prompt_row(cell, slot, job.prompt))
    return job


def prompt_row(cell: CellPlan, slot: SampleKey, prompt: Prompt) -> tuple[str, tuple[Any, ...]]:
    """Return the statement and the row that keep a prompt."""
    content = records.prompt_json(prompt)
    return records.PUT_PROMPT, (cell.prompts_key, slot.item, slot.seed, content)


def _try_attack(cell: CellPlan, item: Item) -> str:
    """Return why the attack cannot carry ``item``, if that can be told without a request."""
    try:
        if (check := getattr(cell.attack, "check", None)) is not None:
            check(item)
        if cell.transform is not None:
            cell.transform.apply(item, 0)
    except AttackError as error:
        return str(error)
    return ""


def sampling_for(cell: CellPlan, slot: SampleKey) -> Sampling:
    """Return the sampling of one repeat: the study's, with the repeat's own seed."""
    sampling = cell.cell.sampling
    if sampling.seed is None or sampling.seed == slot.seed:
        return sampling
    return dataclasses.replace(sampling, seed=slot.seed)
