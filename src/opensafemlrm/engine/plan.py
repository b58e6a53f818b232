"""The matrix of a study: its cells, what they are made of and how the store knows them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Self, TypeAlias

from opensafemlrm import reasoning
from opensafemlrm.components import (
    Attack,
    Component,
    Defense,
    Judge,
    Model,
    Search,
    places,
)
from opensafemlrm.engine.again import NOTHING, Again
from opensafemlrm.engine.tally import Tally
from opensafemlrm.errors import DatasetError, OptionError, StudyError
from opensafemlrm.models.budget import price_of
from opensafemlrm.store import Cell, Store
from opensafemlrm.store.database import component_key
from opensafemlrm.store.known import thresholds_and_scale
from opensafemlrm.study import Study, unreadable
from opensafemlrm.subset import Shard, Subset
from opensafemlrm.types import JSON, Key
from opensafemlrm.wrapped import defend


@dataclass(frozen=True)
class CellPlan:
    """One cell of the matrix: what it is made of, and how far it is."""

    subset: Subset
    attack: Attack | Search
    defense: Defense
    model: Model
    """The model as named in the study."""
    target: Model
    """The model with its defense around it: what prompts are sent to."""
    cell: Cell
    repeats: int
    tally: Tally = field(default_factory=Tally, compare=False)

    @cached_property
    def key(self) -> Key:
        """What the store knows the cell by."""
        return self.cell.key

    @property
    def id(self) -> str:
        """The key as people are shown it."""
        return self.key.hex().upper()

    @property
    def prompts_key(self) -> Key:
        """What prompts are stored under: the attack, or the cell where the attack searches."""
        return self.key if isinstance(self.attack, Search) else self.cell.attack

    @property
    def samples(self) -> int:
        """How many samples the study asks for."""
        return self.subset.size * self.repeats

    @property
    def label(self) -> tuple[str, str, str, str]:
        """Model, dataset, attack and defense, as tables call them."""
        return (
            self.model.label,
            self.subset.dataset.label,
            self.attack.label,
            self.defense.label,
        )

    @cached_property
    def price(self) -> tuple[float, float] | None:
        """US dollars for a million tokens of the model in and out; ``None`` where not known."""
        return price_of(self.model)

    @property
    def reasoning_parser(self) -> str:
        """The format that its replies are parsed by, and the version of the parser."""
        return f"{self.target.reasoning_format}@{reasoning.VERSION}"


MIN_ID: Final = 4
"""Characters of a cell's key that may stand for it."""
Round: TypeAlias = Callable[[CellPlan], Collection[Key] | None]
"""Says of which items a cell is brought up to date now; ``None``: of all."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The cells of a study."""

    study: Study
    cells: tuple[CellPlan, ...]
    judge_key: Key
    again: Again = NOTHING
    """Which final failures are asked again."""
    turn: int = 0
    """Which of the study's judges gives verdicts; replies are made in the turn of the first."""

    @property
    def judge(self) -> Judge:
        """The judge that gives verdicts."""
        return self.study.judges[self.turn]

    def turns(self) -> list[Plan]:
        """Return a plan for each judge of the study, to be run one after the other."""
        rest = range(1, len(self.study.judges))
        return [self, *map(self._turn, rest)]

    def _turn(self, turn: int) -> Plan:
        cells = tuple(replace(cell, tally=Tally()) for cell in self.cells)
        key = _key("judge", self.study.judges[turn])
        return replace(self, cells=cells, judge_key=key, turn=turn)

    def only(self, ids: Collection[str]) -> Plan:
        """Return the plan of the cells whose keys begin so. Raises OptionError for any other id."""
        chosen = []
        for name in ids:
            cells = [cell for cell in self.cells if cell.id.startswith(name.upper())]
            if len(cells) != 1 or len(name) < MIN_ID:
                raise OptionError(
                    f"{name!r} is the id of {len(cells) or 'no'} cell{'s' * (len(cells) > 1)} of "
                    f"this study; an id has {MIN_ID} characters or more, and "
                    "`safemlrm run STUDY --store STORE --dry-run` lists them"
                )
            chosen += cells
        return replace(self, cells=tuple(cell for cell in self.cells if cell in chosen))

    @classmethod
    def of(
        cls,
        study: Study,
        *,
        skip_invalid: bool = False,
        again: Again = NOTHING,
        shard: Shard | None = None,
    ) -> Self:
        """Lay out the matrix and count the items, of one ``shard`` or of all.

        Raises DatasetError for a bad row, StudyError where several data sets have one, DefenseError
        where a model lacks what a defense needs.
        """
        if shard is not None:
            shard = replace(shard, whole_scenarios=study.stop is not None)
        try:
            subsets = [
                Subset.of(dataset, study.limit, skip_invalid=skip_invalid, shard=shard)
                for dataset in study.datasets
            ]
        except DatasetError as error:
            faults = [fault for dataset in study.datasets for fault in unreadable(dataset)]
            if others := [fault for fault in faults if fault != str(error)]:
                raise StudyError(str(error), *others) from error
            raise
        return cls.over(study, subsets, again)

    @classmethod
    def over(cls, study: Study, subsets: Sequence[Subset], again: Again = NOTHING) -> Self:
        """Lay out the matrix over subsets of the study's datasets, in their order."""
        cells = []
        for model, defense in itertools.product(study.models, study.defenses):
            target = defend(model, defense)
            for subset, attack in itertools.product(subsets, study.attacks):
                cell = Cell(
                    dataset=_key("dataset", subset.dataset),
                    attack=component_key("attack", _attack_identity(attack, study.judge)),
                    defense=_key("defense", defense),
                    model=_key("model", model),
                    sampling=study.sampling,
                )
                plan = CellPlan(subset, attack, defense, model, target, cell, study.repeats)
                cells.append(plan)
        return cls(study, tuple(cells), _key("judge", study.judge), again)

    def register(self, store: Store, address: str | None = None) -> None:
        """Write what the study is made of into the store, and what its data sets hold.

        ``address`` is where the store's rows go on to, if they do.
        """
        with store.transaction():
            for subset in {id(cell.subset): cell.subset for cell in self.cells}.values():
                key = store.put_component("dataset", subset.dataset)
                if subset.held is not None:
                    store.put_reading(key, places(subset.dataset), subset.held, address)
            for cell in self.cells:
                identity = _attack_identity(cell.attack, self.study.judge)
                store.put_identity("attack", cell.attack.label, identity)
                store.put_component("defense", cell.defense)
                store.put_component("model", cell.model)
                store.put_cell(cell.cell)
            store.put_component("judge", self.judge)
            self._check_scores(store)
            store.reopen_verdicts(self.judge_key)
            for reasoner, base in self.study.pairs:
                store.put_pair(_key("model", reasoner), _key("model", base))
            for series in self.study.series:
                store.put_series(
                    series.name,
                    [
                        (_key("model", v.model), v.step, None if v.date is None else str(v.date))
                        for v in series.versions
                    ],
                )

    def _check_scores(self, store: Store) -> None:
        """Raise StudyError where scores of this judge's identity mean something else there."""
        known = thresholds_and_scale(store, self.judge_key)
        own = self.judge.thresholds, self.judge.scale
        if any(old and [*old] != [*new] for old, new in zip(known, own, strict=True)):
            limits = ", ".join(f"{limit:g}" for limit in known[0])
            raise StudyError(
                f"the store has scores of {self.judge.label} that are unsafe from {limits} on, and "
                "its class has other thresholds or another scale now: raise its version, "
                f"{self.judge.version!r}"
            )

    def drop_unanswered(self, store: Store) -> None:
        """Drop the failures of models that never answered, at the end of a run that was ended."""
        for label, tally in self.by_model().items():
            if tally.only_failed:
                for key in {c.cell.model for c in self.cells if c.model.label == label}:
                    store.drop_unanswered(key)

    def by_model(self) -> dict[str, Tally]:
        """Return how the samples of each model ended so far, by its label."""
        tallies: dict[str, Tally] = {}
        for (label, _), tally in self.by_defense().items():
            tallies.setdefault(label, Tally()).add(tally)
        return tallies

    def by_defense(self) -> dict[tuple[str, str], Tally]:
        """Return the same by the labels of model and defense."""
        tallies: dict[tuple[str, str], Tally] = {}
        for cell in self.cells:
            tallies.setdefault((cell.model.label, cell.defense.label), Tally()).add(cell.tally)
        return tallies

    async def aclose(self) -> None:
        """Close every component of the study, and the models and judges that they were given."""
        for component in self.study.components:
            await component.aclose()


def _attack_identity(attack: Attack | Search, judge: Judge) -> Mapping[str, JSON]:
    """Return what makes prompts comparable: of a search, the judge that guides it as well."""
    identity = attack.identity()
    return {**identity, "judge": judge.identity()} if isinstance(attack, Search) else identity


def _key(kind: str, component: Component) -> Key:
    return component_key(kind, component.identity())
