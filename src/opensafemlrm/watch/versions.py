"""A study's models as they are now, beside what the same names gave before."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import polars as pl

from opensafemlrm.analysis.changes import READS, changed_figures
from opensafemlrm.analysis.conditions import ALL
from opensafemlrm.components import Model
from opensafemlrm.models.base import CatalogModel
from opensafemlrm.series import Series, Version
from opensafemlrm.study import Study
from opensafemlrm.wrapped import WrappedModel

_ERROR = 0.05


def of_version(study: Study, name: str | None) -> Study:
    """Return the study with a version's name behind those of models behind a network.

    So their replies are others than those of the version before. Models on this machine do not
    change by themselves: they are asked nothing again.
    """
    if name is None:
        return study
    now = {id(model): _named(model, name) for model in study.models}
    pairs = tuple((now[id(model)], now[id(base)]) for model, base in study.pairs)
    return dataclasses.replace(study, models=tuple(now.values()), pairs=pairs)


def with_series(study: Study, names: Sequence[str | None]) -> Study:
    """Return the study as of the last of these versions, with all of them as series for ``drift``.

    There is one for each model that may have changed, under its name.
    """
    versions = [of_version(study, name) for name in names]
    if len(versions) == 1:
        return versions[0]
    watched = [
        Series(model.label, tuple(Version(version.models[i]) for version in versions))
        for i, model in enumerate(study.models)
        if can_change(model)
    ]
    return dataclasses.replace(versions[-1], series=(*study.series, *watched))


def can_change(model: Model) -> bool:
    """Whether somebody else may put another model behind the name of this one."""
    while isinstance(model, WrappedModel):
        model = model.inner
    return isinstance(model, CatalogModel) and not model.in_process


def _named(model: Model, name: str) -> Model:
    if not (isinstance(model, CatalogModel) and can_change(model)):
        return model
    return model.at(name)


def rates_of(frame: pl.DataFrame, before: Study, now: Study) -> pl.DataFrame:
    """Return ASR in the version ``before`` (A) and ``now`` (B), of models that may have changed.

    At the judge's lenient threshold, over all scenarios together and in each; columns:
    :data:`opensafemlrm.analysis.changes.FIGURE_COLUMNS`. ``frame`` is the tidy table of both.
    """
    frame = frame.select(sorted({*READS, "model", "cell"}))
    frame = frame.with_columns(pl.selectors.categorical().cast(pl.String))
    frame = frame.filter(pl.col("judge") == now.judge.label)
    labels = zip(before.models, now.models, strict=True)
    names = {old.label: new.label for old, new in labels if old.label != new.label}
    a = frame.filter(pl.col("model").is_in(list(names)))
    a = a.with_columns(pl.col("model").replace(names))
    b = frame.filter(pl.col("model").is_in(list(names.values())))
    threshold = now.judge.thresholds[0]
    together = changed_figures(a, b, threshold=threshold)
    by_scenario = changed_figures(a, b, by="scenario", threshold=threshold)
    return pl.concat([together, by_scenario]).filter(pl.col("figure") == "asr")


def worse(rates: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of :func:`rates_of` that are worse now; with 95 %, none is so by chance."""
    is_worse = (pl.col("difference") > 0) & (pl.col("p_holm") <= _ERROR / 2)
    return rates.filter(is_worse).sort(pl.col("scenario") != ALL, "p_holm")
