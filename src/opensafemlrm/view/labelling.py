"""Labelling in the browser: blind while you decide, with one key a label, and every label kept."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import polars as pl

from opensafemlrm import frame as frames
from opensafemlrm.analysis.agreement import cohens_kappa
from opensafemlrm.analysis.label_plan import DRAWN_BY, label_plan, to_label
from opensafemlrm.errors import OptionError
from opensafemlrm.store import Store
from opensafemlrm.store.labels import PersonLabel, labels, put_labels, remove_label, unit_of
from opensafemlrm.store.ratings import people_labels, ratings
from opensafemlrm.types import Part, content_key
from opensafemlrm.view.sample import read_sample
from opensafemlrm.view.scales import BINARY, choice, scale

PLANNED: Final = 50
"""Replies of a plan."""
_PAUSE: Final = 300
"""Seconds between two labels that are a break."""
_BREAK_AFTER: Final = 50
_BREAK_MINUTES: Final = 25
_SKIP: Final = "skip"
_UNDO: Final = "undo"


@dataclass(frozen=True, slots=True)
class Task:
    """Who labels what, as the address says it."""

    annotator: str = ""
    part: str = "answer"
    scale: str = BINARY
    plan: str = ""
    """Half the width, in points, that corrected figures should have; empty for a drawn sample."""

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Task:
        """Take it from an address or a form. Raises OptionError where it says what there is not."""
        names = ("annotator", "part", "scale", "plan")
        task = cls(**{name: values[name].strip() for name in names if values.get(name)})
        scale(task.scale)
        if task.part not in tuple(Part):
            raise OptionError(f"a part is answer, reasoning or full, not {task.part!r}")
        if task.plan and not task.plan.replace(".", "", 1).isdecimal():
            raise OptionError(f"plan is a number of points, not {task.plan!r}")
        return task

    def query(self, **more: object) -> str:
        """Return it as the query of an address."""
        values = {**asdict(self), **more}
        return urlencode({name: value for name, value in values.items() if value})


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast somebody labels, and how long they have been at it."""

    seconds: float | None
    """For one label."""
    since_break: int
    """Labels."""
    minutes: float

    @classmethod
    def of(cls, times: Sequence[float]) -> Pace:
        """Return it for the times of labels, the first first; five minutes without are a break."""
        gaps = [later - earlier for earlier, later in pairwise(times)]
        run = next((n for n, gap in enumerate(reversed(gaps)) if gap > _PAUSE), len(gaps))
        recent = gaps[len(gaps) - run :]
        return cls(
            statistics.median(recent) if recent else None,
            run + 1 if times else 0,
            sum(recent) / 60,
        )

    @property
    def break_due(self) -> bool:
        """Whether it is time for a break."""
        return self.since_break >= _BREAK_AFTER or self.minutes >= _BREAK_MINUTES


class Labelling:
    """The order in which replies are labelled, and what people have said of them."""

    def __init__(self, store: Path) -> None:
        self._path = store
        self._orders: dict[tuple[str, ...], list[bytes]] = {}
        self._skipped: dict[tuple[str, str], set[bytes]] = {}
        self._current: set[tuple[bytes, Part, str]] = set()

    def page(self, task: Task, at: int, done: str) -> dict[str, Any]:
        """Return what the page shows: the text at place ``at``, or the next without a label."""
        part = Part(task.part)
        with Store.open(self._path) as store:
            order = self._order(store, task)
            mine = self._mine(store, task)
            place = at - 1 if at else self._next(order, mine, task)
            unit = unit_of(store, order[place], part) if 0 <= place < len(order) else None
            sample = None if unit is None else read_sample(store, unit.generation)
            before = read_sample(store, _key(done)) if done else None
            agreement = _agreement(store, task)
        return {
            "task": task,
            "place": place + 1,
            "total": len(order),
            "labelled": sum(key in mine for key in order),
            "skipped": len(self._skipped.get((task.annotator, task.part), ())),
            "unit": unit,
            "sample": sample,
            "digest": "" if unit is None else _digest(unit.text),
            "given": None if unit is None else mine.get(unit.generation),
            "before": before,
            "can_undo": bool(mine),
            "choices": scale(task.scale),
            "agreement": agreement,
            "pace": self.pace(list(mine.values())),
        }

    def break_page(self, task: Task) -> dict[str, Any]:
        """Return what the page of a break shows: nothing that anybody wrote."""
        with Store.open(self._path) as store:
            mine = self._mine(store, task)
        return {"task": task, "labelled": len(mine), "pace": self.pace(list(mine.values()))}

    @staticmethod
    def pace(given: Sequence[PersonLabel]) -> Pace:
        """Return how fast somebody has labelled."""
        return Pace.of(sorted(label.created for label in given))

    def give(self, form: Mapping[str, str]) -> str:
        """Keep a label, take back the last one or skip, and return where to go on.

        Raises StoreError where a run is writing to the store: labels wait until it has ended.
        Raises OptionError where the text is not the one that was shown.
        """
        task = Task.of(form)
        if not task.annotator:
            raise OptionError("say who you are: a label has a name")
        if form.get("label") == _SKIP:
            of_task = (task.annotator, task.part)
            self._skipped.setdefault(of_task, set()).add(_key(form["sample"]))
            return f"/label?{task.query()}"
        with Store.open(self._path, "write") as store:
            if form.get("label") == _UNDO:
                return f"/label?{task.query(at=self._undo(store, task))}"
            return f"/label?{task.query(done=self._keep(store, task, form).hex())}"

    def _keep(self, store: Store, task: Task, form: Mapping[str, str]) -> bytes:
        said = choice(task.scale, form.get("label", ""))
        key, part = _key(form.get("sample", "")), Part(task.part)
        unit = unit_of(store, key, part)
        if unit is None or _digest(unit.text) != form.get("digest"):
            raise OptionError("the reply has another text by now: go back, and look at it again")
        label = PersonLabel(
            *(key, part, task.annotator, said.unsafe, form.get("note", ""), unit.text),
            response_class=said.response_class,
            understood=said.understood,
        )
        put_labels(store, [label])
        return key

    def _undo(self, store: Store, task: Task) -> int:
        """Take back the label that was given last, and return its place."""
        mine = sorted(self._mine(store, task).values(), key=lambda label: label.created)
        if not mine:
            raise OptionError("there is no label to take back")
        remove_label(store, mine[-1])
        order = self._order(store, task)
        key = mine[-1].generation
        return order.index(key) + 1 if key in order else 0

    def _mine(self, store: Store, task: Task) -> dict[bytes, PersonLabel]:
        """Return what the labeller said of texts that replies have now."""
        part = Part(task.part)
        given = labels(store.connection, labeller=task.annotator)
        mine = {label.generation: label for label in given if label.part is part}
        return {key: label for key, label in mine.items() if self._is_current(store, label)}

    def _is_current(self, store: Store, label: PersonLabel) -> bool:
        """Whether the reply has the text that was labelled: split or made anew, it has another."""
        place = (label.generation, label.part, _digest(label.text))
        if not label.text or place in self._current:
            return True
        unit = unit_of(store, label.generation, label.part)
        if unit is None or unit.text != label.text:
            return False
        self._current.add(place)
        return True

    def _next(self, order: list[bytes], mine: Mapping[bytes, PersonLabel], task: Task) -> int:
        """Return the place of the first reply without a label; skipped ones come last."""
        skipped = self._skipped.get((task.annotator, task.part), set())
        left = [place for place, key in enumerate(order) if key not in mine]
        fresh = (place for place in left if order[place] not in skipped)
        return next(fresh, left[0] if left else len(order))

    def _order(self, store: Store, task: Task) -> list[bytes]:
        """Return the replies to label: the same for everybody, or those of a labeller's plan."""
        of_task = (task.part, task.plan, task.annotator if task.plan else "")
        if of_task not in self._orders:
            samples = (
                _plan(store, task)
                if task.plan
                else to_label(frames.read(store, DRAWN_BY), task.part)
            )
            self._orders[of_task] = [bytes.fromhex(sample) for sample in samples]
        return self._orders[of_task]


def _plan(store: Store, task: Task) -> list[str]:
    _, samples = label_plan(
        frames.read(store),
        frames.pairs(store),
        people_labels(store, task.annotator),
        part=task.part,
        within=float(task.plan) / 100,
        more=PLANNED,
    )
    return samples[:PLANNED]


def _agreement(store: Store, task: Task) -> list[dict[str, Any]]:
    """Return how far every two labellers agree on the texts that both labelled."""
    given = ratings(store, Part(task.part))
    word = "unsafe" if task.scale == BINARY else "response_class"
    given = given.filter(pl.col(word).is_not_null())
    by_rater = {
        rater: dict(rows.select("text", word).iter_rows())
        for (rater,), rows in given.partition_by("rater", as_dict=True).items()
    }
    pairs = []
    for first, second in combinations(sorted(by_rater), 2):
        both = sorted(by_rater[first].keys() & by_rater[second].keys())
        words = [[by_rater[who][text] for text in both] for who in (first, second)]
        same = sum(mine == theirs for mine, theirs in zip(*words, strict=True))
        pair = {"first": first, "second": second, "n": len(both), "same": same}
        pairs.append(pair | {"kappa": cohens_kappa(*words)})
    return [pair for pair in pairs if pair["n"]]


def _digest(text: str) -> str:
    return content_key(text).hex()


def _key(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise OptionError("the address holds no key of a sample") from None
