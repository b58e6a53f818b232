"""What the replies and verdicts of a store were asked with, and which models answered."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl

from opensafemlrm.store.named import named_cells, named_judges, read_table
from opensafemlrm.store.records import storable
from opensafemlrm.store.source import Source

_COUNTS: Final = (
    "SELECT {key} AS id, {columns}, COUNT(*) AS n FROM {table} GROUP BY {key}, {columns}"
)
_OF_BOTH: Final = ("response_model", "sent_parameters")
_OF_REPLIES: Final = (*_OF_BOTH, "finish_reason")
SCHEMA: Final = {
    "used_as": pl.String(),
    "label": pl.String(),
    "requested": pl.List(pl.String()),
    "sampling": pl.String(),
    "response_model": pl.String(),
    "sent_parameters": pl.String(),
    "finish_reason": pl.String(),
    "n": pl.Int64(),
}


def requests(source: Source) -> pl.DataFrame:
    """Return how often models and judges were asked for what, and who answered.

    Columns: used_as (``model`` or ``judge``), label (as tables call it), requested (the names of
    the models that were asked for: of a judge made of judges, several), sampling (JSON of what was
    asked for), response_model, sent_parameters (both as the tidy table has them), finish_reason
    (the server's word for how a model's reply ended) and n, how many replies or verdicts are so.
    Raises StoreError.
    """
    keys = read_table(source, "cells", "sampling", id="key", model_id="model")
    cells = named_cells(source).select(pl.col("cell_id").alias("id"), label="model")
    models = keys.join(cells, on="id").with_columns(pl.col("sampling", "label").cast(pl.String))
    judges = named_judges(source).select(
        pl.col("judge_id").alias("id"),
        model_id="judge_id",
        label=pl.col("judge").cast(pl.String),
        sampling=pl.lit(None, pl.String()),
    )
    identities = dict(
        read_table(source, "components", "identity", id="key").select(
            "id", pl.col("identity").cast(pl.String)
        ).iter_rows()
    )  # fmt: skip
    rows = []
    for used_as, named, table, key, columns in (
        ("model", models, "generations", "cell", _OF_REPLIES),
        ("judge", judges, "verdicts", "judge", _OF_BOTH),
    ):
        known = {row["id"]: row for row in named.iter_rows(named=True)}
        for place, *who_and_what, n in _counts(source, table, key, columns):
            row = known[place]
            identity = json.loads(identities[row["model_id"]])
            requested = list(dict.fromkeys(_names(identity)))
            sampling = row["sampling"]
            if sampling is None and "sampling" in identity:
                sampling = json.dumps(identity["sampling"])
            unknown = [None] * (len(_OF_REPLIES) - len(columns))
            rows.append((used_as, row["label"], requested, sampling, *who_and_what, *unknown, n))
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return frame.sort("used_as", "label", descending=[True, False], maintain_order=True)


def asked_besides(source: Source) -> pl.DataFrame:
    """Return the cells whose attack or defense asks models of its own, and their names.

    Columns: cell (as the tidy table has it), model (the label) and requested (a list). A judge that
    guides an attack is counted with the judges. Raises StoreError.
    """
    identities = dict(
        read_table(source, "components", "identity", id="key").select(
            "id", pl.col("identity").cast(pl.String)
        ).iter_rows()
    )  # fmt: skip
    keys = read_table(source, "cells", "attack", "defense", cell_id="key")
    cells = named_cells(source).select("cell_id", pl.col("cell", "model").cast(pl.String))
    rows = []
    for cell, model, *parts in (
        keys.join(cells, on="cell_id").select("cell", "model", "attack", "defense").iter_rows()
    ):
        known = [json.loads(identities[part]) for part in parts]
        names = [name for part in known for name in _names({**part, "judge": None})]
        if names:
            rows.append((cell, model, names))
    schema = {"cell": pl.String(), "model": pl.String(), "requested": pl.List(pl.String())}
    return pl.DataFrame(rows, schema, orient="row")


def _counts(
    source: Source, table: str, key: str, columns: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    schema = {"id": pl.Binary(), **dict.fromkeys(columns, pl.String()), "n": pl.Int64()}
    query = _COUNTS.format(key=key, table=table, columns=", ".join(columns))
    yield from source.query(query, schema).sort(pl.all()).iter_rows()


def _names(identity: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the models in an identity, in judges within judges too."""
    for key, value in identity.items():
        if key == "model" and isinstance(value, str):
            yield storable(value)  # JSON may hold what a frame cannot
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Mapping):
                yield from _names(inner)
