"""The probe: a few requests of a study, asked again and again.

Half of them are on the border, where the last whole run's verdicts say that little would turn them:
repeats or parts of the reply that are judged otherwise, scores beside the threshold. There a small
change of the model shows first. The others are drawn at random, since a model that was swapped may
turn what was never in doubt. The replies are the probe's own: those of the whole run, by which the
items were chosen, would look more on the border than they are.

A version of a study is its models as they are now, beside what the same names gave before.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from opensafemlrm import frame as frames
from opensafemlrm.analysis.changes import READS, changed_figures
from opensafemlrm.analysis.conditions import ALL
from opensafemlrm.analysis.swap import Swap, swap_test
from opensafemlrm.components import Model
from opensafemlrm.engine import Plan, Tally
from opensafemlrm.engine.plan import CellPlan
from opensafemlrm.models.base import CatalogModel
from opensafemlrm.series import Series, Version
from opensafemlrm.study import Study
from opensafemlrm.subset import Chosen
from opensafemlrm.types import Label, Part, ResponseStatus, TraceStatus
from opensafemlrm.wrapped import WrappedModel

if TYPE_CHECKING:
    from opensafemlrm.store import Cell
    from opensafemlrm.store.source import Source


Items = Mapping[str, Sequence[str]]
"""The keys of the items of each cell, by its key; hexadecimal."""
_ON_BORDER: Final = 0.5
"""The share of the probe that is chosen by the border."""
_OTHER_SEEDS: Final = 100_000
_LENGTHS: Final = (
    "SELECT key AS id, length(text) AS text, length(ifnull(reasoning, '')) AS reasoning "
    "FROM generations"
)
NAMED: Final = 0.5
"""A model's name that this share of the new replies has, and no earlier one, is another model."""


def choose(frame: pl.DataFrame, cells: Sequence[CellPlan], share: float) -> dict[str, list[str]]:
    """Choose the items of a probe from the tidy table of a whole run.

    ``share`` is how many of each model's requests it may take; one item at least. The choice is the
    same for the same table.
    """
    border = _border(frame)
    chosen: dict[str, list[str]] = {}
    by_model: dict[int, list[CellPlan]] = {}
    for cell in cells:
        by_model.setdefault(id(cell.model), []).append(cell)
    for of_model in by_model.values():
        keys = [cell.key.hex().upper() for cell in of_model]
        rows = border.filter(pl.col("cell").is_in(keys))
        size = max(1, int(share * sum(cell.samples for cell in of_model)))
        places = (" ".join(place).encode() for place in rows.select("cell", "item_key").rows())
        lots = [hashlib.sha256(place).digest() for place in places]
        rows = rows.with_columns(lot=pl.Series(lots, dtype=pl.Binary))
        first = rows.filter(pl.col("border") > 0).sort("border", "lot", descending=[True, False])
        first = first.head(max(1, int(_ON_BORDER * size)))
        rest = rows.join(first, on=["cell", "item_key"], how="anti").sort("lot")
        both = pl.concat([first, rest.head(size - len(first))])
        for cell, item in both.select("cell", "item_key").rows():
            chosen.setdefault(cell, []).append(item)
    return chosen


def _border(frame: pl.DataFrame) -> pl.DataFrame:
    """Return of each cell's items how near they are to the border, from 0: as sure as can be."""
    unsafe = pl.col("score") >= pl.col("threshold_lenient")
    strict = pl.col("score") >= pl.col("threshold_strict")
    keys = ["cell", "item_key"]
    parts = frame.filter(pl.col("status") != ResponseStatus.FAILED.value).group_by(*keys, "part")
    parts_ = parts.agg(
        # How often two repeats differ; and between the two thresholds, where there are two.
        repeats=unsafe.mean() * (1 - unsafe.mean()) * 4,
        between=(unsafe & ~strict).mean(),
        unsafe=unsafe.mean(),
    )
    return (
        parts_.group_by(keys)
        .agg(
            border=pl.col("repeats").mean().fill_null(0)
            + pl.col("between").mean().fill_null(0) / 2
            + (pl.col("unsafe").max() - pl.col("unsafe").min()).fill_null(0) / 2
        )
        .with_columns(pl.col(keys).cast(pl.String))
        .drop_nulls()
        .sort(keys)
    )


def plan_of(plan: Plan, items: Items, repeats: int) -> Plan:
    """Return the plan by which a store of its own holds so many replies to the probe's items.

    Their seeds are others than the whole run's: a server that keeps to a seed would give again the
    very replies by which the items were chosen.
    """
    cells = []
    for cell in plan.cells:
        chosen = frozenset(bytes.fromhex(key) for key in items.get(cell.key.hex().upper(), ()))
        if chosen:
            subset = dataclasses.replace(cell.subset, shard=Chosen(chosen), size=len(chosen))
            own = dataclasses.replace(cell, cell=_with_other_seeds(cell.cell), subset=subset)
            cells.append(dataclasses.replace(own, repeats=repeats, tally=Tally()))
    study = dataclasses.replace(plan.study, stop=None)
    return dataclasses.replace(plan, study=study, cells=tuple(cells))


def _with_other_seeds(cell: Cell) -> Cell:
    seed = cell.sampling.seed
    seed = None if seed is None else seed + _OTHER_SEEDS
    return dataclasses.replace(cell, sampling=dataclasses.replace(cell.sampling, seed=seed))


@dataclass(frozen=True, slots=True)
class Seen:
    """What a probe saw of one model."""

    model: str
    replies: int
    """New ones."""
    swap: Swap
    new_name: str | None
    """What the server calls the model now, if it never did before."""


def look(source: Source, plan: Plan, first_new: int) -> list[Seen]:
    """Compare each model's replies from the repeat ``first_new`` on with those before.

    Raises StoreError.
    """
    return [
        seen(str(model), replies, first_new)
        for (model,), replies in replies_of(source, plan)
        .partition_by("model", as_dict=True)
        .items()
    ]


def seen(model: str, replies: pl.DataFrame, first_new: int) -> Seen:
    """Compare replies of one model, as :func:`replies_of` has them."""
    is_new = (replies["repeat"] >= first_new).to_numpy()
    request = replies.select(pl.concat_str("cell", "item_key").rank("dense")).to_series()
    features = {name: replies[name].cast(pl.Float64).to_numpy() for name in FEATURES}
    swap = swap_test(features, request.to_numpy().astype(np.int64), is_new)
    names = replies.filter(pl.col("repeat") < first_new)["response_model"].unique()
    now = replies.filter(pl.col("repeat") >= first_new)["response_model"]
    strange = now.filter(~now.is_in(names.implode())).drop_nulls()
    renamed = len(names.drop_nulls()) and len(strange) >= NAMED * len(now)
    new_name = str(strange.mode().sort()[0]) if renamed and len(strange) else None
    return Seen(model, int(is_new.sum()), swap, new_name)


FEATURES: Final = (
    *(f"{part.value} unsafe" for part in Part),
    *("refusals", "verdicts missing", "replies cut or blocked", "reasoning shown"),
    *("length of the text", "length of the reasoning"),
)
"""What is compared of replies."""


def replies_of(source: Source, plan: Plan) -> pl.DataFrame:
    """Return the replies of a probe's store with their :data:`FEATURES`. Raises StoreError.

    Only those of ``plan``, with its judge's verdicts. Failed ones are left out.
    """
    frame = frames.read(source, frames.OUTCOME_COLUMNS)
    cells = [cell.key.hex().upper() for cell in plan.cells]
    came = frame.filter(
        pl.col("status") != ResponseStatus.FAILED.value,
        pl.col("cell").cast(pl.String).is_in(cells),
        pl.col("judge").cast(pl.String) == plan.study.judge.label,
    )
    is_part = {part: pl.col("part") == part.value for part in Part}
    unsafe = (pl.col("score") >= pl.col("threshold_lenient")).fill_null(value=False)
    keys = ["model", "cell", "item_key", "repeat", "sample"]
    wide = came.group_by(keys).agg(
        *((unsafe & is_part[part]).any().alias(f"{part.value} unsafe") for part in Part),
        pl.col("refusal")
        .filter(is_part[Part.ANSWER])
        .fill_null(value=False)
        .any()
        .alias("refusals"),
        (pl.col("label") == Label.UNSCORED.value)
        .filter(is_part[Part.FULL])
        .any()
        .alias("verdicts missing"),
        (pl.col("status").first() != ResponseStatus.OK.value).alias("replies cut or blocked"),
        (pl.col("reasoning_status").first() != TraceStatus.ABSENT.value)
        .fill_null(value=False)
        .alias("reasoning shown"),
        pl.col("response_model").first(),
    )
    schema = {"id": pl.Binary(), "text": pl.Int64(), "reasoning": pl.Int64()}
    lengths = source.query(_LENGTHS, schema).select(
        sample=pl.col("id").bin.encode("hex").str.to_uppercase(),
        **{f"length of the {name}": (1 + pl.col(name)).log() for name in ("text", "reasoning")},
    )
    joined = wide.join(lengths, on="sample", how="left")
    names = ["model", "cell", "item_key", "response_model"]
    return joined.with_columns(pl.col(names).cast(pl.String)).sort(*keys)


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
