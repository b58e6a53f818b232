"""What people say of replies, as analyses take it: a frame of most labellers' word."""

from __future__ import annotations

import polars as pl

from opensafemlrm.store import labels
from opensafemlrm.store.database import Store
from opensafemlrm.store.named import hexadecimal, read_table
from opensafemlrm.store.source import Source
from opensafemlrm.types import Part, content_key


def people_labels(source: Source, labeller: str | None = None) -> pl.DataFrame:
    """Return what people, or one of them, say of parts of replies: columns sample, part and unsafe.

    It is what most labellers say; what they are split on, or could not tell, is left out. A label
    of the answer is one of the whole reply where that is the answer, and the reverse. Raises
    StoreError.
    """
    columns = {name: name for name in ("part", "unsafe", "labeller")}
    given = read_table(source, "labels", id="generation", **columns)
    if labeller is not None:
        given = given.filter(pl.col("labeller") == labeller)
    parts = ("answer", "full")
    same = read_table(source, "judgements", id="generation", answer="answer", full="full")
    same = same.filter(pl.col("answer") == pl.col("full")).select("id").unique()
    texts = given.with_columns(pl.col("part").cast(pl.String))
    other = texts.filter(pl.col("part").is_in(parts)).join(same, on="id", how="semi")
    other = other.with_columns(
        part=pl.col("part").replace(dict(zip(parts, parts[::-1], strict=True)))
    )
    votes = (2 * pl.col("unsafe") - 1).sum()
    return (
        pl.concat([texts, other])
        .group_by("part", sample=hexadecimal("id", pl.String()))
        .agg(votes=votes)
        .filter(pl.col("votes") != 0)
        .select("sample", "part", unsafe=pl.col("votes") > 0)
        .sort("sample", "part")
    )


def ratings(store: Store, part: Part) -> pl.DataFrame:
    """Return each labeller's word on each text of ``part``: columns rater, part, text and unsafe.

    What somebody could not tell is left out. Raises StoreError.
    """
    return pl.DataFrame(
        [
            (given.labeller, given.part.value, content_key(given.generation, given.text), unsafe)
            for given in labels.with_texts(store)
            if given.part is part and (unsafe := given.unsafe) is not None
        ],
        {"rater": pl.String, "part": pl.String, "text": pl.Binary, "unsafe": pl.Boolean},
        orient="row",
    )
