"""Settings: what two models have in common where they are compared, and what a page calls it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any, Protocol

import polars as pl


class Situated(Protocol):
    """A row that says under which conditions it was measured."""

    @property
    def dataset(self) -> str:
        """The dataset."""
        ...

    @property
    def attack(self) -> str:
        """The attack."""
        ...

    @property
    def defense(self) -> str:
        """The defense."""
        ...

    @property
    def judge(self) -> str:
        """The judge."""
        ...

    @property
    def sampling(self) -> str:
        """The sampling, as text."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """Dataset, attack, defense, judge and sampling of a comparison."""

    dataset: str
    attack: str
    defense: str
    judge: str
    sampling: str

    @classmethod
    def of(cls, row: Situated) -> Setting:
        """Return the setting of a row."""
        return cls(row.dataset, row.attack, row.defense, row.judge, row.sampling)

    def rows(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of ``frame`` that were measured in this setting."""
        return frame.filter(**asdict(self))


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a store that a page draws, and how it tells them apart."""

    drawn: tuple[Setting, ...]
    left_out: int
    """Settings that are in the tables alone."""
    judge: str | None
    """The judge whose verdicts are drawn."""
    other_judges: tuple[str, ...]
    names: Mapping[Setting, str]

    def name(self, row: Situated) -> str:
        """Return what the page calls the setting of ``row``."""
        return self.names[Setting.of(row)]

    def rows(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of the settings that are drawn, one setting after another."""
        return pl.concat([frame.clear(), *(setting.rows(frame) for setting in self.drawn)])

    def __contains__(self, row: Situated) -> bool:
        return Setting.of(row) in self.drawn


def settings_of(rows: Sequence[Any], most: int) -> Settings:
    """Choose up to ``most`` settings to draw: of the judge that scored most, undefended first.

    Several judges of the same replies are never mixed in one chart.
    """
    by_judge: Counter[str] = Counter()
    for row in rows:
        by_judge[row.judge] += row.scored
    judge = max(sorted(by_judge), key=by_judge.__getitem__, default=None)
    every = sorted(
        {Setting.of(row) for row in rows if row.judge == judge},
        key=lambda one: (one.defense != "none", one.dataset, one.attack != "direct", astuple(one)),
    )
    return Settings(
        drawn=tuple(every[:most]),
        left_out=max(len(every) - most, 0),
        judge=judge,
        other_judges=tuple(sorted(set(by_judge) - {judge})),
        names=_names(every),
    )


def _names(settings: Iterable[Setting]) -> dict[Setting, str]:
    """Name settings by what they differ in, and always by the attack."""
    settings = list(settings)
    differ = [len(set(column)) > 1 for column in zip(*map(astuple, settings), strict=True)]
    names = {}
    for setting in settings:
        shown = [
            part
            for place, part in enumerate(astuple(setting))
            if (place == 1 or differ[place]) and not (place == 2 and part == "none")
        ]
        names[setting] = " · ".join(shown)
    return names
