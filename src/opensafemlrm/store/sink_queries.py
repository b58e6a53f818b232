"""What the tidy table is made of, read from a sink: no text of a reply is loaded for it.

The columns are those of :mod:`.queries`, which a store answers by SQL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from opensafemlrm.errors import StoreError
from opensafemlrm.store.sink import Sink
from opensafemlrm.store.sink_reader import Scan

_REPLY: Final = ("status", "code", "trace", "input_tokens", "output_tokens", "reasoning_tokens")


class SinkRows:
    """Answers each of the tidy table's queries by its name."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._numbered: dict[str, pl.DataFrame] = {}

    def rows(self, name: str) -> pl.DataFrame:
        """Return the rows of one query. Raises StoreError where the sink cannot be read."""
        try:
            frame: pl.DataFrame = getattr(self, f"_{name}")()
        except (pl.exceptions.PolarsError, OSError) as error:
            address = self._scan.sink.address
            raise StoreError(f"{address}: the sink cannot be read: {error}") from error
        return frame

    def _cells(self) -> pl.DataFrame:
        components = self._scan.table("components").collect()
        cells = self._scan.table("cells").collect()
        for kind in ("model", "dataset", "attack", "defense"):
            named = components.filter(kind=kind).select(
                pl.col("key").alias(kind),
                pl.col("label").alias(f"{kind}_label"),
                *([pl.col("identity").alias("model_identity")] if kind == "model" else []),
            )
            cells = cells.join(named, on=kind, maintain_order="left")
        return cells.select(
            _hex("key").alias("cell"),
            "sampling",
            "model_identity",
            *[
                column
                for kind in ("model", "dataset", "attack", "defense")
                for column in (
                    pl.col(f"{kind}_label").alias(kind),
                    _hex(kind).alias(f"{kind}_key"),
                )
            ],
        )

    def _pairs(self) -> pl.DataFrame:
        pairs = self._scan.table("pairs")
        return pairs.select(
            _hex("reasoner").alias("model_key"), _hex("base").alias("base_key")
        ).collect()

    def _judges(self) -> pl.DataFrame:
        judges = self._scan.table("components").filter(pl.col("kind") == "judge")
        return judges.select(
            _hex("key").alias("judge_key"), pl.col("label").alias("judge"), "facts"
        ).collect()

    def _items(self) -> pl.DataFrame:
        return self._number(
            "items",
            pl.col("number").alias("item_row"),
            _hex("key").alias("item_key"),
            pl.col("id").alias("item"),
            "scenario",
            pl.col("kind").alias("expected"),
        )

    def _generations(self) -> pl.DataFrame:
        items = self._keys("items").rename({"key": "item", "number": "item_row"})
        resplit = self._scan.table("traces").select("key", pl.col("trace").alias("newer")).collect()
        generations = self._number(
            "generations",
            "key",
            pl.col("number").alias("generation"),
            _hex("cell").alias("cell"),
            _hex("key").alias("sample"),
            "item",
            "repeat",
            *_REPLY,
            "latency",
            "retries",
        ).join(items, on="item", maintain_order="left")
        if not resplit.is_empty():
            generations = generations.join(
                resplit, on="key", how="left", maintain_order="left"
            ).with_columns(trace=pl.coalesce("newer", "trace"))
        return generations.drop("key", "item", "newer", strict=False).rename(
            {"code": "error_code", "trace": "reasoning_status"}
        )

    def _calls(self) -> pl.DataFrame:
        replies = self._scan.table("generations").select(
            pl.col("key").alias("generation"),
            pl.col("latency").alias("reply_latency"),
            pl.col("text").alias("reply_text"),
        )
        calls = self._scan.table("calls")
        # A defense may settle on a reply it had before: that request is counted with the reply.
        same = (
            (pl.col("latency") > 0)
            & (pl.col("latency") == pl.col("reply_latency"))
            & (pl.col("text") == pl.col("reply_text"))
        )
        numbers = ("retries", "input_tokens", "output_tokens", "reasoning_tokens", "latency")
        found = (
            calls.join(
                replies.join(calls.select("generation").unique(), on="generation", how="semi"),
                on="generation",
            )
            .filter(~same)
            .group_by("generation")
            .agg(
                pl.len().cast(pl.Int64).alias("extra_requests"),
                *[_sum(number).alias(f"extra_{number}") for number in numbers],
            )
            .collect()
        )
        keys = self._keys("generations").rename({"key": "generation"})
        named = found.join(keys, on="generation").drop("generation")
        return named.rename({"number": "generation"}).sort("generation")

    def _judgements(self) -> pl.DataFrame:
        rows = self._scan.table("judgements").collect()
        verdicts = self._keys("verdicts")
        for part in ("reasoning", "answer", "full"):
            keys = verdicts.rename({"key": part, "number": f"{part}_number"})
            rows = rows.join(keys, on=part, how="left", maintain_order="left")
        generations = self._keys("generations").rename({"key": "generation"})
        return rows.join(generations, on="generation", maintain_order="left").select(
            pl.col("number").alias("generation"),
            _hex("judge").alias("judge_key"),
            *[pl.col(f"{part}_number").alias(part) for part in ("reasoning", "answer", "full")],
        )

    def _verdicts(self) -> pl.DataFrame:
        return self._number(
            "verdicts",
            pl.col("number").alias("verdict"),
            "label",
            "score",
            "reason",
            "refusal",
            pl.col("requests").alias("judge_requests"),
            pl.col("input_tokens").alias("judge_input_tokens"),
            pl.col("output_tokens").alias("judge_output_tokens"),
            pl.col("latency").alias("judge_latency"),
        )

    def _not_sent(self) -> pl.DataFrame:
        items = self._scan.table("items").select(pl.col("key").alias("item"), "id")
        rows = self._scan.table("inapplicable").join(items, on="item", maintain_order="left")
        return rows.select(
            _hex("cell").alias("cell"), pl.col("id").alias("item"), "reason"
        ).collect()

    def _detected(self) -> pl.DataFrame:
        newer = self._scan.table("traces").select("key", pl.col("splitter").alias("newer"))
        rows = self._scan.table("generations").join(newer, on="key", how="left")
        by = pl.coalesce("newer", "splitter")
        found = rows.filter(by.str.starts_with("auto@"))
        return found.select(_hex("cell").alias("cell")).unique().collect()

    def _counts(self) -> pl.DataFrame:
        """Return no rows: histograms are imported into stores."""
        texts = dict.fromkeys(("cell", "judge_key", "scenario", "part"), pl.String())
        return pl.DataFrame(schema={**texts, "score": pl.Float64(), "n": pl.Int64()})

    def _calibrations(self) -> pl.DataFrame:
        """Return no rows: judges are held against labels in stores."""
        texts = dict.fromkeys(("judge_key", "labels", "scenario"), pl.String())
        counts = ("true_positives", "false_positives", "true_negatives", "false_negatives")
        return pl.DataFrame(
            schema={
                **texts,
                "threshold": pl.Float64(),
                **dict.fromkeys((*counts, "unscored"), pl.Int64()),
            }
        )

    def _number(self, table: str, *columns: pl.Expr | str) -> pl.DataFrame:
        """Number a table's rows in the order of their keys."""
        numbered = self._scan.table(table).with_row_index("number")
        return numbered.with_columns(pl.col("number").cast(pl.Int64)).select(*columns).collect()

    def _keys(self, table: str) -> pl.DataFrame:
        """Return the keys of a table with their numbers."""
        if table not in self._numbered:
            self._numbered[table] = self._number(table, "key", "number")
        return self._numbered[table]


class SinkResults:
    """A sink that the tidy table is read from in the place of a store."""

    def __init__(self, address: Path | str) -> None:
        self.path = Path(address)
        self.connection = SinkRows(Scan(Sink(address)))


def _hex(name: str) -> pl.Expr:
    """Return keys as SQLite writes them."""
    return pl.col(name).bin.encode("hex").str.to_uppercase()


def _sum(name: str) -> pl.Expr:
    """Return the sum, null where there is nothing to add, as SQL has it."""
    known = pl.col(name).is_not_null().any()
    return pl.when(known).then(pl.col(name).sum())
