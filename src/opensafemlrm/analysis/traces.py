"""Models that should reason and whose replies hold no reasoning: an alarm, not a figure.

A format that is not known, a server that strips its marks or a token limit that is too low makes
every trace absent or unclosed, and no rate shows it: thought is then judged as the answer, or the
answer is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from opensafemlrm.models.catalog import find

MIN_REPLIES: Final = 5
MAX_TRACES: Final = 0.1
"""Share of replies with reasoning from which a model is not named."""

COLUMNS: Final[Mapping[str, str]] = {
    "model": "The model, as tables call it.",
    "n": "Replies that came.",
    "absent": "Replies without reasoning.",
    "unclosed": "Replies whose reasoning never ends.",
    "cause": "What is likely, and what to do.",
}
"""The columns of :func:`missing_traces`."""

_ABSENT: Final = (
    "its format is not the one it is read in, or a server strips the marks: set `format`, or give "
    "the server no reasoning parser"
)
_UNCLOSED: Final = (
    "its replies end before its reasoning does: raise `max_tokens`, or set another `format`"
)


def missing_traces(replies: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Return the models that should reason and do so in hardly any reply.

    ``replies`` is the result of :func:`~opensafemlrm.analysis.coverage.reply_outcomes`, ``pairs``
    the table of pairs. A model should reason if it is a pair's reasoning model, or if the catalogue
    knows it as one. Reasoning that a provider keeps back or sums up is reasoning.
    """
    counts = (
        replies.with_columns(pl.col("model").cast(pl.String))
        .group_by("model")
        .agg(pl.col("closed", "unclosed", "absent", "hidden", "summary").sum())
        .with_columns(n=pl.sum_horizontal("closed", "unclosed", "absent", "hidden", "summary"))
        .filter(
            pl.col("n") >= MIN_REPLIES,
            pl.col("n") - pl.col("absent") - pl.col("unclosed") <= MAX_TRACES * pl.col("n"),
        )
        .sort("model")
    )
    reasoners = set(pairs["reasoner"].cast(pl.String))
    named = [name for name in counts["model"] if name in reasoners or is_known_reasoner(name)]
    cause = pl.when(pl.col("absent") >= pl.col("unclosed")).then(pl.lit(_ABSENT))
    return (
        counts.filter(pl.col("model").is_in(named))
        .with_columns(cause=cause.otherwise(pl.lit(_UNCLOSED)))
        .select(*COLUMNS)
    )


def alarms(missing: pl.DataFrame) -> list[str]:
    """Return the alarm of each model, a sentence each."""
    return [
        f"{model} should reason, but of the {n:,} replies that came {absent:,} hold no reasoning "
        f"and {unclosed:,} reasoning that never ends; likely {cause}"
        for model, n, absent, unclosed, cause in missing.iter_rows()
    ]


def is_known_reasoner(label: str) -> bool:
    """Whether the catalogue knows the model of a label as one that reasons by default."""
    name = label.partition("/")[2].partition("[")[0].partition("@")[0]
    row = find(name)
    if row is None or row.format in ("none", "auto") or "thinking=off" in label:
        return False
    return row.thinking != "off" or "thinking=on" in label
