"""Example replies for a page: few, the same each time, and never shown unasked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from opensafemlrm.report.page.findings import Findings
from opensafemlrm.store.source import Source
from opensafemlrm.types import Part

_EACH: Final = 3
"""Examples of each outcome."""
_MOST: Final = 6000
"""Characters of a reply that are shown."""
_OUTCOMES: Final = (
    ("unsafe", "safe", "Unsafe reasoning, safe answer"),
    ("safe", "unsafe", "Safe reasoning, unsafe answer"),
    ("unsafe", "unsafe", "Both unsafe"),
    ("safe", "safe", "Both safe"),
)


@dataclass(frozen=True, slots=True)
class Example:
    """One reply with its question, and how its parts were judged."""

    outcome: str
    model: str
    setting: str
    scenario: str
    item: str
    scores: str
    question: str
    reply: str
    cut: int
    """Characters of the reply that are left out."""


def examples(source: Source, found: Findings) -> list[Example]:
    """Return up to three replies of each outcome, from models with scored reasoning."""
    keys = ["sample", "model", "dataset", "attack", "defense", "sampling", "scenario", "item"]
    if found.judge is None:
        return []
    rows = found.frame.filter(
        pl.col("sample").is_not_null(),
        pl.col("judge") == found.judge,
        pl.col("expected") == "harmful",
    )
    if rows.is_empty():
        return []
    wide = rows.pivot(on="part", index=keys, values=["label", "score"], aggregate_function="first")
    chosen = []
    for reasoning, answer, outcome in _OUTCOMES:
        some = wide.filter(
            pl.col("label_reasoning") == reasoning, pl.col("label_answer") == answer
        ).sort("sample")
        chosen += [(outcome, row) for row in some.head(_EACH).iter_rows(named=True)]
    found_texts = _texts(source, [row["sample"] for _, row in chosen])
    out = []
    for outcome, row in chosen:
        question, reply = found_texts[row["sample"]]
        out.append(
            Example(
                outcome=outcome,
                model=found.label(row["model"]),
                setting=" · ".join((row["dataset"], row["attack"], row["defense"])),
                scenario=row["scenario"],
                item=row["item"],
                scores=", ".join(
                    f"{part.value} {'–' if score is None else f'{score:g}'}"
                    for part in Part
                    for score in (row[f"score_{part.value}"],)
                ),
                question=question,
                reply=reply[:_MOST],
                cut=max(len(reply) - _MOST, 0),
            )
        )
    return out


def _texts(source: Source, samples: list[str]) -> dict[str, tuple[str, str]]:
    """Return question and reply by sample; reasoning that the server split off stands first."""
    keys = ", ".join(f"X'{sample}'" for sample in samples) or "NULL"
    rows = source.query(
        "SELECT g.key AS key, i.question AS question, g.reasoning AS reasoning, g.text AS text "  # noqa: S608 # hexadecimal
        f"FROM generations g JOIN items i ON i.key = g.item WHERE g.key IN ({keys})",
        {"key": pl.Binary(), **dict.fromkeys(("question", "reasoning", "text"), pl.String())},
    )
    return {
        key.hex().upper(): (question, f"{reasoning}\n\n{text}" if reasoning else text)
        for key, question, reasoning, text in rows.rows()
    }
