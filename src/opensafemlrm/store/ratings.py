"""What people say of replies, as analyses take it: a frame of most labellers' word."""

from __future__ import annotations

from typing import Final

import polars as pl

from opensafemlrm import reasoning
from opensafemlrm.store import labels, records
from opensafemlrm.store.database import Store
from opensafemlrm.store.named import hexadecimal, read_table
from opensafemlrm.store.source import Source
from opensafemlrm.store.tables import RESPONSE, TABLES, columns_of
from opensafemlrm.types import PARTS, Part, content_key

_COLUMNS: Final = columns_of(RESPONSE)
_LABELS: Final = {"sample": pl.String, "part": pl.String, "unsafe": pl.Boolean}
_GIVEN: Final = "SELECT generation AS id, part, labeller, text, unsafe FROM labels"
_LABELLED: Final = (
    "SELECT DISTINCT g.key AS id, g.splitter AS splitter, "
    + ", ".join(f"g.{column} AS {column}" for column in _COLUMNS)
    + " FROM generations g JOIN labels l ON l.generation = g.key"
)


def people_labels(source: Source, labeller: str | None = None) -> pl.DataFrame:
    """Return what people, or one of them, say of parts of replies: columns sample, part and unsafe.

    It is what most labellers say; what they are split on, or could not tell, is left out, and so
    are labels of a text that the reply no longer has. A label of the answer is one of the whole
    reply where that is the answer, and the reverse. Raises StoreError.
    """
    stored = TABLES["labels"].schema()
    schema = {"id": pl.Binary(), **{name: stored[name] for name in ("part", "labeller", "text")}}
    given = source.query(_GIVEN, {**schema, "unsafe": pl.Int64()})
    if given.is_empty():
        return pl.DataFrame(schema=_LABELS)
    given = given.join(_texts(source), on=["id", "part"], how="left").filter(
        (pl.col("text") == "") | (pl.col("text") == pl.col("now"))
    )
    if labeller is not None:
        given = given.filter(pl.col("labeller") == labeller)
    parts = ("answer", "full")
    same = read_table(source, "judgements", "answer", "full", id="generation")
    same = same.filter(pl.col("answer") == pl.col("full")).select("id").unique()
    other = given.filter(pl.col("part").is_in(parts)).join(same, on="id", how="semi")
    other = other.with_columns(
        part=pl.col("part").replace(dict(zip(parts, parts[::-1], strict=True)))
    )
    votes = (2 * pl.col("unsafe") - 1).sum()
    return (
        pl.concat([given, other])
        .group_by("part", sample=hexadecimal("id", pl.String()))
        .agg(votes=votes)
        .filter(pl.col("votes") != 0)
        .select("sample", "part", unsafe=pl.col("votes") > 0)
        .sort("sample", "part")
    )


def _texts(source: Source) -> pl.DataFrame:
    """Return what the parts of labelled replies are now: columns id, part and now."""
    stored = TABLES["generations"].schema()
    schema = {"id": pl.Binary(), "splitter": pl.String()}
    schema |= {name: stored[name] for name in _COLUMNS}
    rows = []
    for key, parser, *columns in source.query(_LABELLED, schema).iter_rows():
        response = records.response_from_row(columns)
        trace = reasoning.parse(response, records.format_of(parser))
        texts = ((part.value, trace.part(part)) for part in PARTS)
        rows += [(key, part, records.storable(text)) for part, text in texts if text]
    columns_now = {"id": pl.Binary, "part": pl.String, "now": pl.String}
    return pl.DataFrame(rows, schema=columns_now, orient="row")


def ratings(store: Store, part: Part) -> pl.DataFrame:
    """Return each labeller's word on each text of ``part``.

    Columns rater, part, text, unsafe and response_class, null where no class was chosen. What
    somebody could not tell is left out. Raises StoreError.
    """
    return pl.DataFrame(
        [
            (
                given.labeller,
                given.part.value,
                content_key(given.generation, given.text),
                unsafe,
                given.response_class,
            )
            for given in labels.with_texts(store, or_none=True)
            if given.part is part and (unsafe := given.unsafe) is not None
        ],
        {
            **{"rater": pl.String, "part": pl.String, "text": pl.Binary},
            **{"unsafe": pl.Boolean, "response_class": pl.String},
        },
        orient="row",
    )
