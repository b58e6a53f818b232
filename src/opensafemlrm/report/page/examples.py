"""Example replies for a page: few, the same each time, and never shown unasked."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl
from PIL import Image, UnidentifiedImageError

from opensafemlrm.errors import StoreError
from opensafemlrm.replies import replies
from opensafemlrm.report.page.findings import Findings
from opensafemlrm.store.source import Source
from opensafemlrm.types import PARTS

_PER_OUTCOME: Final = 3
_MAX_CHARACTERS: Final = 6000
"""Characters of a text that are shown."""
_MAX_PIXELS: Final = 560
"""Of a picture's longer side: a page is mailed around."""
_OUTCOMES: Final = (
    ("unsafe", "safe", "Unsafe reasoning, safe answer"),
    ("safe", "unsafe", "Safe reasoning, unsafe answer"),
    ("unsafe", "unsafe", "Both unsafe"),
    ("safe", "safe", "Both safe"),
)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a judge said of one part."""

    part: str
    label: str
    score: str
    rationale: str


@dataclass(frozen=True, slots=True)
class Example:
    """One reply with what was asked, in its parts, and how these were judged."""

    outcome: str
    model: str
    setting: str
    scenario: str
    item: str
    texts: tuple[tuple[str, str, int], ...]
    """Question, what was sent, reasoning and answer: title, text, and characters left out."""
    pictures: tuple[str, ...]
    """What was sent of pictures, as addresses that hold them; empty where one is not there."""
    verdicts: tuple[Judged, ...]


def examples(source: Source, found: Findings) -> list[Example]:
    """Return up to three replies of each outcome, from models with scored reasoning."""
    if found.judge is None:
        return []
    rows = found.results.frame().filter(
        pl.col("sample").is_not_null(),
        pl.col("judge") == found.judge,
        pl.col("expected") == "harmful",
    )
    if rows.is_empty():
        return []
    wide = rows.pivot(on="part", index="sample", values="label", aggregate_function="first")
    chosen: dict[str, str] = {}
    for reasoning, answer, outcome in _OUTCOMES:
        some = wide.filter(pl.col("reasoning") == reasoning, pl.col("answer") == answer)
        for sample in some["sample"].sort().head(_PER_OUTCOME):
            chosen[sample] = outcome
    own = rows.filter(pl.col("sample").is_in(list(chosen)))
    media = dict(
        source.query(
            "SELECT sha256, media_type FROM images",
            {"sha256": pl.String(), "media_type": pl.String()},
        ).iter_rows()
    )
    by_sample = {row["sample"]: row for row in replies(source, own).iter_rows(named=True)}
    return [
        _example(outcome, by_sample[key], source, media, found) for key, outcome in chosen.items()
    ]


def _example(
    outcome: str, row: Mapping[str, Any], source: Source, media: Mapping[str, str], found: Findings
) -> Example:
    sent = row["prompt"] if row["prompt"] != row["question"] else None
    texts = [("Question", row["question"]), ("Sent", sent)]
    texts += [(part.capitalize(), row[part]) for part in ("reasoning", "answer")]
    return Example(
        outcome=outcome,
        model=found.label(row["model"]),
        setting=" · ".join((row["dataset"], row["attack"], row["defense"])),
        scenario=row["scenario"],
        item=row["item"],
        texts=tuple(
            (title, text[:_MAX_CHARACTERS], max(len(text) - _MAX_CHARACTERS, 0))
            for title, text in texts
            if text
        ),
        pictures=tuple(_address(source, sha256, media.get(sha256)) for sha256 in row["images"]),
        verdicts=tuple(_verdicts(row)),
    )


def _verdicts(row: Mapping[str, Any]) -> Iterator[Judged]:
    for verdict in sorted(row["verdicts"], key=lambda verdict: PARTS.index(verdict["part"])):
        score = "no score" if verdict["score"] is None else f"{verdict['score']:g}"
        why = verdict["rationale"] or ""
        yield Judged(verdict["part"], verdict["label"], score, why[:_MAX_CHARACTERS])


def _address(source: Source, sha256: str, media_type: str | None) -> str:
    """Return a picture, made smaller, as a ``data:`` address; empty where it cannot be read."""
    if media_type is None:
        return ""
    try:
        with Image.open(io.BytesIO(source.image_data(sha256, media_type))) as picture:
            small = picture.convert("RGB")
    except (StoreError, UnidentifiedImageError, OSError, Image.DecompressionBombError):
        # It is said on the page that the picture is not there.
        return ""
    small.thumbnail((_MAX_PIXELS, _MAX_PIXELS))
    data = io.BytesIO()
    small.save(data, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"
