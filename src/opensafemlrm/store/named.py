"""Cells and judges of a source, by the names that tables give them."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

import polars as pl

from opensafemlrm.store.database import unfit
from opensafemlrm.store.source import Source
from opensafemlrm.store.tables import TABLES
from opensafemlrm.types import Sampling

CATEGORY: Final = pl.Categorical()
"""The type of texts that rows repeat."""
_DEFAULTS: Final = asdict(Sampling())


@contextlib.contextmanager
def _fit(table: str) -> Iterator[None]:
    """Turn an error over what a row holds into a StoreError that names its table."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise unfit(table, str(error)) from error


@_fit("components and cells")
def named_cells(source: Source) -> pl.DataFrame:
    """Return the cells with the names of what they are made of.

    Columns: cell_id, dataset_id, model_id and attack_id (keys); model, dataset, attack and defense;
    cell and model_key (the keys, hexadecimal); simulated, source and sampling, as the tidy table
    has them.
    """
    kinds = ("model", "dataset", "attack", "defense")
    components = read_table(source, "components", "kind", "label", "identity", id="key")
    keys = {f"{kind}_id": kind for kind in kinds}
    cells = read_table(source, "cells", "sampling", cell_id="key", **keys)
    for kind in kinds:
        named = components.filter(kind=kind).select(
            pl.col("id").alias(f"{kind}_id"),
            pl.col("label").alias(kind),
            pl.col("identity").alias(f"{kind}_identity"),
        )
        cells = _tell_apart(joined(cells, named, f"{kind}_id", "cells"), kind)
    identities, of_data = ([json.loads(t) for t in cells[f"{k}_identity"]] for k in kinds[:2])
    known = map(recorded, map(json.loads, cells["sampling"]), identities, of_data)
    return cells.select(
        "cell_id",
        "dataset_id",
        "model_id",
        "attack_id",
        *kinds,
        cell=hexadecimal("cell_id"),
        model_key=hexadecimal("model_id"),
        simulated=pl.Series([bool(i.get("simulated")) for i in identities], dtype=pl.Boolean),
        is_imported=pl.Series([bool(i.get("imported_from")) for i in identities], dtype=pl.Boolean),
        sampling=pl.Series(map(sampling_text, known), dtype=CATEGORY),
    ).with_columns(
        source=pl.when("is_imported").then(pl.lit("import")).otherwise(pl.lit("run")).cast(CATEGORY)
    )


@_fit("components")
def named_judges(source: Source) -> pl.DataFrame:
    """Return the judges: judge_id (the key), judge, threshold_lenient and threshold_strict, and
    asks_model, whether it asks one.
    """
    names = ("kind", "facts", "identity")
    components = read_table(source, "components", *names, judge_id="key", judge="label")
    judges = components.filter(kind="judge")
    thresholds = [json.loads(facts)["thresholds"] for facts in judges["facts"]]
    return _tell_apart(judges, "judge").select(
        "judge_id",
        "judge",
        threshold_lenient=pl.Series([float(t[0]) for t in thresholds], dtype=pl.Float64),
        threshold_strict=pl.Series([float(t[-1]) for t in thresholds], dtype=pl.Float64),
        # Every model, however deep in a judge, has this option.
        asks_model=pl.col("identity").cast(pl.String).str.contains('"model":', literal=True),
    )


def joined(rows: pl.DataFrame, others: pl.DataFrame, on: str, table: str) -> pl.DataFrame:
    """Put ``others`` beside rows of ``table``, each of which needs one: none is dropped unseen.

    Raises StoreError where one lacks it.
    """
    if lost := rows.select(on).join(others, on=on, how="anti").height:
        raise unfit(table, f"{lost} of its rows lack their {on.removesuffix('_id')}")
    # A left join copies nothing of its left side.
    return rows.join(others, on=on, how="left", maintain_order="left")


def refuse_strange(rows: pl.DataFrame, members: Mapping[str, Iterable[str]]) -> None:
    """Raise StoreError where a column holds a word that is not among its ``members``."""
    for name, words in members.items():
        strange = set(rows[name].unique().drop_nulls() if name in rows.columns else ()) - set(words)
        if strange:
            raise unfit(name, f"there is no {name} {min(strange)!r}")


def _tell_apart(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Add a piece of the key to names that several components of a kind share."""
    pairs = set(rows.select(kind, f"{kind}_id").iter_rows())
    shared = [name for name, many in Counter(name for name, _ in pairs).items() if many > 1]
    piece = hexadecimal(f"{kind}_id", pl.String()).str.slice(0, 4)
    longer = pl.when(pl.col(kind).is_in(shared)).then(pl.format("{}#{}", pl.col(kind), piece))
    return rows.with_columns(longer.otherwise(pl.col(kind)).cast(CATEGORY).alias(kind))


def hexadecimal(name: str, dtype: pl.DataType = CATEGORY) -> pl.Expr:
    """Return keys as people see them."""
    return pl.col(name).bin.encode("hex").str.to_uppercase().cast(dtype)


def read_table(source: Source, table: str, *names: str, **columns: str) -> pl.DataFrame:
    """Read ``names`` of a table, and columns by the names they are given; texts as categories."""
    columns = {**dict(zip(names, names, strict=True)), **columns}
    stored = TABLES[table].schema()
    schema = {c: CATEGORY if stored[c] == pl.String else stored[c] for c in columns.values()}
    rows = source.query(TABLES[table].select(columns.values()), schema)
    return rows.rename({column: name for name, column in columns.items()})


def sampling_text(sampling: Mapping[str, Any]) -> str:
    """Return what tables call a sampling."""
    return ", ".join(f"{k}={v}" for k, v in sampling.items() if v is not None) or "not recorded"


def recorded(
    sampling: Mapping[str, Any], model: Mapping[str, Any], dataset: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return what is known of the sampling of a cell with these identities of model and data set.

    A log of a task of ours, whose data set is our own, says all of it. In any other import the
    defaults stand for what nobody noted.
    """
    if not (model.get("imported_from") and dataset.get("imported_from")):
        return sampling
    return {name: value for name, value in sampling.items() if value != _DEFAULTS.get(name)}
