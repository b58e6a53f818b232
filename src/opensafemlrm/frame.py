"""The one tidy table: a row for each sample, part and judge. Every figure is a function of it.

Columns
-------
source
    ``run`` for what this project measured, ``import`` for results read from elsewhere, whose
    sampling is not recorded.
cell, sample, model_key, item_key
    Content keys (hexadecimal). ``sample`` and ``item_key`` are null where only counts are known.
model, dataset, attack, defense, judge
    What tables call them. If two components of a store share a name, the key tells them apart.
simulated
    Whether the model is a simulation.
sampling
    Temperature, token limit and seed, as text.
item, scenario, expected
    The item's id in its dataset, its scenario as upstream spells it, ``harmful`` or ``benign``.
repeat
    Which repeat of the item, from 0.
status, error_code
    How the reply ended: ``ok``, ``truncated``, ``blocked``, ``failed``, null where only counts are
    known; the provider's code of a block or the type of a failure.
reasoning_status
    What is known of the reasoning: ``closed``, ``unclosed``, ``absent``, ``hidden``, ``summary``.
part
    ``reasoning``, ``answer`` or ``full``.
label, score, reason, refusal
    The verdict: ``safe``, ``unsafe`` or ``unscored``; the score on the judge's scale, null if
    unscored; why it is unscored; whether the judge took it for a refusal.
threshold_lenient, threshold_strict
    The judge's thresholds: a part is unsafe where score >= threshold. Equal if it has only one.
input_tokens, output_tokens, reasoning_tokens, latency, retries
    Of the generation, the same in each of its rows; null where the server did not say. Seconds.
extra_requests, extra_retries, extra_input_tokens, extra_output_tokens, extra_reasoning_tokens,
extra_latency
    Requests that an attack's search or a defense made on the way to the reply, and their sums;
    null where there were none.
judge_requests, judge_input_tokens, judge_output_tokens, judge_latency
    Of the verdict; one that several rows share is counted with the first of them.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import polars as pl

from opensafemlrm.errors import StoreError
from opensafemlrm.store import Store
from opensafemlrm.store.queries import QUERIES
from opensafemlrm.types import PARTS, Label, Unscored

if TYPE_CHECKING:
    from opensafemlrm.store.sink_queries import SinkResults, SinkRows

SCHEMA: Final[dict[str, pl.DataType]] = {
    "source": pl.String(),
    "cell": pl.String(),
    "sample": pl.String(),
    "model": pl.String(),
    "model_key": pl.String(),
    "simulated": pl.Boolean(),
    "dataset": pl.String(),
    "attack": pl.String(),
    "defense": pl.String(),
    "sampling": pl.String(),
    "judge": pl.String(),
    "item": pl.String(),
    "item_key": pl.String(),
    "scenario": pl.String(),
    "expected": pl.String(),
    "repeat": pl.Int64(),
    "status": pl.String(),
    "error_code": pl.String(),
    "reasoning_status": pl.String(),
    "part": pl.String(),
    "label": pl.String(),
    "score": pl.Float64(),
    "reason": pl.String(),
    "refusal": pl.Boolean(),
    "threshold_lenient": pl.Float64(),
    "threshold_strict": pl.Float64(),
    "input_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "reasoning_tokens": pl.Int64(),
    "latency": pl.Float64(),
    "retries": pl.Int64(),
    "extra_requests": pl.Int64(),
    "extra_retries": pl.Int64(),
    "extra_input_tokens": pl.Int64(),
    "extra_output_tokens": pl.Int64(),
    "extra_reasoning_tokens": pl.Int64(),
    "extra_latency": pl.Float64(),
    "judge_requests": pl.Int64(),
    "judge_input_tokens": pl.Int64(),
    "judge_output_tokens": pl.Int64(),
    "judge_latency": pl.Float64(),
}
_DTYPES: Final = {
    "generation": pl.Int64(),
    "item_row": pl.Int64(),
    "verdict": pl.Int64(),
    "reasoning": pl.Int64(),
    "answer": pl.Int64(),
    "full": pl.Int64(),
    "refusal": pl.Int64(),
    "n": pl.Int64(),
    "threshold": pl.Float64(),
    "true_positives": pl.Int64(),
    "false_positives": pl.Int64(),
    "true_negatives": pl.Int64(),
    "false_negatives": pl.Int64(),
    "unscored": pl.Int64(),
}
_CHUNK: Final = 50_000

_Source: TypeAlias = "sqlite3.Connection | SinkRows"
_Results: TypeAlias = "Store | SinkResults"
"""What the table is read from: a store, or a sink that workers of a cluster wrote."""


def read(store: _Results) -> pl.DataFrame:
    """Return the tidy table of a store or a sink (columns: see the module). Raises StoreError."""
    try:
        connection = store.connection
        cells = _cells(connection)
        judges = _judges(connection)
        measured = _measured(connection, judges)
        imported = _imported(connection)
    except sqlite3.Error as error:
        raise StoreError(f"{store.path}: the store cannot be read: {error}") from error
    rows = pl.concat([measured, imported], how="diagonal_relaxed")
    joined = rows.join(cells, on="cell", how="left").join(
        judges, on="judge_key", how="left", maintain_order="left"
    )
    if "label" not in joined.columns:
        joined = joined.with_columns(label=pl.lit(None, pl.String))
    by_score = (
        pl.when(pl.col("score").is_null())
        .then(pl.lit(Label.UNSCORED.value))
        .when(pl.col("score") >= pl.col("threshold_lenient"))
        .then(pl.lit(Label.UNSAFE.value))
        .otherwise(pl.lit(Label.SAFE.value))
    )
    joined = joined.with_columns(pl.col("label").fill_null(by_score))
    return joined.select(
        (pl.col(name) if name in joined.columns else pl.lit(None).alias(name)).cast(dtype)
        for name, dtype in SCHEMA.items()
    )


def pairs(store: _Results) -> pl.DataFrame:
    """Return the store's pairs, as tables call their models: columns ``reasoner`` and ``base``.

    Only pairs of which both models have a cell. Raises StoreError.
    """
    try:
        keys = _query(store.connection, "pairs")
        cells = _cells(store.connection)
    except sqlite3.Error as error:
        raise StoreError(f"{store.path}: the store cannot be read: {error}") from error
    labels = cells.select("model_key", "model").unique()
    bases = labels.rename({"model_key": "base_key", "model": "base"})
    pairs = keys.join(labels, on="model_key").join(bases, on="base_key")
    return pairs.select("base", reasoner="model").select("reasoner", "base").sort(pl.all())


def not_sent(store: _Results) -> pl.DataFrame:
    """Return the samples that were never sent, because the attack could not carry the item.

    They are in no row of :func:`read`: nothing of the model was measured or missed. Columns: model,
    dataset, attack, defense, sampling, simulated, cell, item and reason.
    """
    try:
        rows = _query(store.connection, "not_sent").join(_cells(store.connection), on="cell")
    except sqlite3.Error as error:
        raise StoreError(f"{store.path}: the store cannot be read: {error}") from error
    return rows.select(
        "model",
        "dataset",
        "attack",
        "defense",
        "sampling",
        "simulated",
        "cell",
        "item",
        "reason",
    )


def detected(store: _Results) -> list[str]:
    """Return the models, as tables call them, whose reasoning format was detected by reply.

    Of all others it is known and was given. Raises StoreError.
    """
    try:
        rows = _query(store.connection, "detected").join(_cells(store.connection), on="cell")
    except sqlite3.Error as error:
        raise StoreError(f"{store.path}: the store cannot be read: {error}") from error
    return sorted(rows["model"].unique())


def judges(store: _Results) -> pl.DataFrame:
    """Return what the table calls each judge: columns judge_key and judge. Raises StoreError."""
    try:
        return _judges(store.connection).select("judge_key", "judge")
    except sqlite3.Error as error:
        raise StoreError(f"{store.path}: the store cannot be read: {error}") from error


def calibrations(store: _Results) -> pl.DataFrame:
    """Return how often the store's judges were right, where they were held against labels.

    Columns: judge (as tables call it), labels, scenario (empty for all of them), threshold,
    true_positives, false_positives, true_negatives, false_negatives and unscored. Raises
    StoreError.
    """
    try:
        rows = _query(store.connection, "calibrations")
        judges = _judges(store.connection)
    except sqlite3.Error as error:
        raise StoreError(f"{store.path}: the store cannot be read: {error}") from error
    named = rows.join(judges, on="judge_key", maintain_order="left")
    return named.select("judge", *[name for name in rows.columns if name != "judge_key"])


def _measured(connection: _Source, judges: pl.DataFrame) -> pl.DataFrame:
    # In the order of their keys, whoever came first: the same contents give the same table.
    generations = _query(connection, "generations").sort("sample")
    items = _query(connection, "items")
    judged = _query(connection, "judgements")
    verdicts = _query(connection, "verdicts").with_columns(pl.col("refusal").cast(pl.Boolean))
    if generations.is_empty():
        columns = ("cell", "judge_key", "score")
        return pl.DataFrame(schema={name: SCHEMA.get(name, pl.String()) for name in columns})
    calls = _query(connection, "calls")
    if not calls.is_empty():
        generations = generations.join(calls, on="generation", how="left")
    samples = _with_judges(generations, judged, judges)
    parts = [_part(samples, verdicts, str(part)) for part in PARTS]
    # A verdict that several rows share cost one request: count it with the first of them.
    costs = ["judge_requests", "judge_input_tokens", "judge_output_tokens", "judge_latency"]
    first = pl.col("verdict").is_first_distinct()
    return (
        pl.concat(parts)
        .with_columns(pl.when(first).then(pl.col(cost)).alias(cost) for cost in costs)
        .join(items, on="item_row", how="left")
    )


def _with_judges(
    generations: pl.DataFrame, judged: pl.DataFrame, judges: pl.DataFrame
) -> pl.DataFrame:
    """Pair every generation with the judges it was, or should have been, shown to.

    Replies that ended without a text to judge belong to every judge that worked on their cell.
    """
    with_judgement = generations.join(judged, on="generation").with_columns(judged=True)
    without = generations.join(judged, on="generation", how="anti")
    by_cell = with_judgement.select("cell", "judge_key").unique()
    idle = without.select("cell").unique().join(by_cell, on="cell", how="anti")
    by_cell = pl.concat([by_cell, idle.join(judges.select("judge_key"), how="cross")])
    without = without.join(by_cell, on="cell", how="left").with_columns(judged=False)
    return pl.concat([with_judgement, without], how="diagonal")


def _part(samples: pl.DataFrame, verdicts: pl.DataFrame, part: str) -> pl.DataFrame:
    others = [str(other) for other in PARTS if str(other) != part]
    rows = (
        samples.drop(others)
        .rename({part: "verdict"})
        .join(verdicts, on="verdict", how="left", maintain_order="left")
    )
    no_verdict = (
        pl.when(pl.col("status") != "ok")
        .then(pl.col("status"))
        .when(pl.col("judged"))
        .then(pl.lit(Unscored.NO_TEXT.value))
        .otherwise(pl.lit(Unscored.NOT_JUDGED.value))
    )
    return rows.with_columns(
        pl.lit(part).alias("part"),
        pl.col("label").fill_null(Label.UNSCORED.value),
        pl.when(pl.col("label").is_null())
        .then(no_verdict)
        .otherwise(pl.col("reason"))
        .alias("reason"),
    ).drop("judged")


def _imported(connection: _Source) -> pl.DataFrame:
    counts = _query(connection, "counts")
    if counts.is_empty():
        return pl.DataFrame(schema={"cell": pl.String, "judge_key": pl.String})
    columns = [name for name in counts.columns if name != "n"]
    rows = counts.select(pl.col(columns).repeat_by("n")).explode(columns)
    unscored = pl.col("score").is_null()
    return rows.with_columns(
        pl.lit("harmful").alias("expected"),
        pl.when(unscored).then(pl.lit(Unscored.NOT_RECORDED.value)).alias("reason"),
    )


def _cells(connection: _Source) -> pl.DataFrame:
    cells = _query(connection, "cells")
    for kind in ("model", "dataset", "attack", "defense"):
        cells = _tell_apart(cells, kind)
    identities = [json.loads(text) for text in cells["model_identity"]]
    imported = pl.Series([bool(one.get("imported_from")) for one in identities], dtype=pl.Boolean)
    return cells.with_columns(
        pl.Series("simulated", [bool(one.get("simulated")) for one in identities], pl.Boolean),
        pl.when(imported).then(pl.lit("import")).otherwise(pl.lit("run")).alias("source"),
        pl.when(imported)
        .then(pl.lit("not recorded"))
        .otherwise(pl.Series([_sampling_text(text) for text in cells["sampling"]], dtype=pl.String))
        .alias("sampling"),
    )


def _judges(connection: _Source) -> pl.DataFrame:
    judges = _query(connection, "judges")
    thresholds = [json.loads(facts)["thresholds"] for facts in judges["facts"]]
    return _tell_apart(judges, "judge").with_columns(
        pl.Series("threshold_lenient", [float(t[0]) for t in thresholds], pl.Float64),
        pl.Series("threshold_strict", [float(t[-1]) for t in thresholds], pl.Float64),
    )


def _tell_apart(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Add a piece of the key to names that several components of a kind share."""
    pairs = set(rows.select(kind, f"{kind}_key").iter_rows())
    shared = [name for name, many in Counter(name for name, _ in pairs).items() if many > 1]
    return rows.with_columns(
        pl.when(pl.col(kind).is_in(shared))
        .then(pl.format("{}#{}", pl.col(kind), pl.col(f"{kind}_key").str.slice(0, 4)))
        .otherwise(pl.col(kind))
        .alias(kind)
    )


def _sampling_text(text: str) -> str:
    return ", ".join(f"{k}={v}" for k, v in json.loads(text).items() if v is not None)


def _query(connection: _Source, name: str) -> pl.DataFrame:
    if not isinstance(connection, sqlite3.Connection):
        return connection.rows(name)
    cursor = connection.execute(QUERIES[name])
    names = [column[0] for column in cursor.description]
    dtypes = {name: _DTYPES.get(name, SCHEMA.get(name, pl.String())) for name in names}
    chunks = [
        pl.DataFrame(rows, schema=dtypes, orient="row", strict=False) for rows in _chunks(cursor)
    ]
    return pl.concat(chunks) if chunks else pl.DataFrame(schema=dtypes)


def _chunks(cursor: sqlite3.Cursor) -> Iterator[list[tuple[Any, ...]]]:
    while rows := cursor.fetchmany(_CHUNK):
        yield rows
