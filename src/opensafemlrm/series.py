"""Series: versions of a model in their order, which share their items.

A version is a model of its own to the store. The same model on several dates is one for each date,
by its ``revision``: replies of one week never stand for those of another.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from opensafemlrm.components import Model
from opensafemlrm.errors import OptionError
from opensafemlrm.models.base import CatalogModel
from opensafemlrm.strict_yaml import Path
from opensafemlrm.study_file import Mistake, SeriesSpec

Build = Callable[[Any, Path], Model | None]
"""Builds a model from what a study says of it at a path; ``None`` where it noted a mistake."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a series; of ``step`` and ``date`` there is one at most."""

    model: Model
    step: float | None = None
    date: datetime.date | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Versions of a model, the reference first.

    Raises OptionError for a name that is empty or has a NUL, as a study does.
    """

    name: str
    versions: tuple[Version, ...]

    def __post_init__(self) -> None:
        """Hold the name to what a store can hold."""
        if not self.name or "\0" in self.name:
            raise OptionError(f"{self.name!r} is no name for a series: write one without a NUL")


def resolve(
    specs: Sequence[SeriesSpec], models: list[Model], build: Build, mistakes: list[Mistake]
) -> tuple[Series, ...]:
    """Return the series of a study, and add to ``models`` what a run asks for them.

    Of a model with dates that is the version of the last date that has come: what was asked on
    earlier ones cannot be asked any more.
    """
    found: list[Series] = []
    for i, spec in enumerate(specs):
        path: Path = ("series", i)
        if spec.name in {series.name for series in found}:
            mistakes.append(Mistake((*path, "name"), f"two series are both called {spec.name!r}"))
        if spec.dates:
            versions = _on_dates(spec, path, models, build, mistakes)
        else:
            versions = _of_models(spec, path, models, build, mistakes)
        found.append(Series(spec.name, tuple(versions)))
    return tuple(found)


def _of_models(
    spec: SeriesSpec, path: Path, models: list[Model], build: Build, mistakes: list[Mistake]
) -> list[Version]:
    versions: list[Version] = []
    for i, version in enumerate(spec.versions):
        at = (*path, "versions", i)
        model = _among(models, version.model, (*at, "model"), build, mistakes)
        if model is None:
            continue
        if model.identity() in [other.model.identity() for other in versions]:
            wrong = (
                f"{model.label!r} is a version of this series already; for one model at several "
                "times write `model` and `dates`"
            )
            mistakes.append(Mistake(at, wrong))
        versions.append(Version(model, version.step, version.date))
    return versions


def _on_dates(
    spec: SeriesSpec, path: Path, models: list[Model], build: Build, mistakes: list[Mistake]
) -> list[Version]:
    labels = {model.label: model for model in models}
    model = labels.get(spec.model) if isinstance(spec.model, str) else None
    model = model or build(spec.model, (*path, "model"))
    if model is None:
        return []
    if not isinstance(model, CatalogModel) or model.in_process:
        wrong = (
            f"{model.label!r} is no model behind a network: it does not change by itself. Name "
            "its versions under `versions`"
        )
        mistakes.append(Mistake((*path, "model"), wrong))
        return []
    come = [date for date in spec.dates if date <= _today()]
    if not come:
        wrong = f"none of these dates has come: the first is {spec.dates[0]}"
        mistakes.append(Mistake((*path, "dates"), wrong))
        return []
    versions = [Version(model.at(str(date)), date=date) for date in come]
    _among(models, versions[-1].model, path, build, mistakes)
    return versions


def _among(
    models: list[Model], spec: Any, path: Path, build: Build, mistakes: list[Mistake]
) -> Model | None:
    """Return the model of the study that ``spec`` is; if it is none yet, it becomes one."""
    by_label = {model.label: model for model in models}
    if isinstance(spec, str) and spec in by_label:
        return by_label[spec]
    model = build(spec, path)
    if model is None:
        return None
    same = [other for other in models if other.identity() == model.identity()]
    if same:
        return same[0]
    if model.label in by_label:
        wrong = f"two models are both called {model.label!r}; give one of them an `alias`"
        mistakes.append(Mistake(path, wrong))
        return None
    models.append(model)
    return model


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()
