"""Models that should reason and whose replies hold no reasoning: an alarm, not a figure.

A format that is not known, a server that strips its marks or a token limit that is too low makes
every trace absent or unclosed, and no rate shows it: thought is then judged as the answer, or the
answer is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import polars as pl

from opensafemlrm.models.catalog import find
from opensafemlrm.reasoning import FORMATS, format_of_model

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
    "its format is not the one it is read in, or a server strips the marks: set `format`, or "
    "change the server's reasoning parser"
)
_CUT: Final = "its replies are cut before its reasoning ends: raise `max_tokens`"
_NO_END: Final = (
    "a server strips the mark that ends it, or the model writes another: set `format`, or change "
    "the server's reasoning parser"
)


def missing_traces(
    replies: pl.DataFrame, pairs: pl.DataFrame, formats: Iterable[tuple[str, str]] = ()
) -> pl.DataFrame:
    """Return the models that should reason and do so in hardly any reply.

    ``replies`` is the result of :func:`~opensafemlrm.analysis.coverage.reply_outcomes`, ``pairs``
    the table of pairs, ``formats`` what :func:`opensafemlrm.frame.formats` returns. A model should
    reason if it is a pair's reasoning model, if the catalogue knows it as one, or if a format was
    given for it and it is no pair's base. Reasoning that a provider keeps back or sums up is
    reasoning.
    """
    counts = (
        replies.with_columns(pl.col("model").cast(pl.String))
        .group_by("model")
        .agg(pl.col("closed", "unclosed", "absent", "hidden", "summary", "truncated").sum())
        .with_columns(n=pl.sum_horizontal("closed", "unclosed", "absent", "hidden", "summary"))
        .filter(
            pl.col("n") >= MIN_REPLIES,
            pl.col("n") - pl.col("absent") - pl.col("unclosed") <= MAX_TRACES * pl.col("n"),
        )
        .sort("model")
    )
    reasoners = set(pairs["reasoner"].cast(pl.String))
    given = dict(formats)
    bases = set(pairs["base"].cast(pl.String)) - reasoners
    named = [
        name
        for name in counts["model"]
        if name in reasoners
        or should_reason(name, "auto" if name in bases else given.get(name, "auto"))
    ]
    cause = (
        pl.when(pl.col("absent") >= pl.col("unclosed"))
        .then(pl.lit(_ABSENT))
        .when(2 * pl.col("truncated") >= pl.col("unclosed"))
        .then(pl.lit(_CUT))
        .otherwise(pl.lit(_NO_END))
    )
    return counts.filter(pl.col("model").is_in(named)).with_columns(cause=cause).select(*COLUMNS)


def alarms(missing: pl.DataFrame) -> list[str]:
    """Return the alarm of each model, a sentence each."""
    return [
        f"{model} should reason, but of the {n:,} replies that came {absent:,} hold no reasoning "
        f"and {unclosed:,} reasoning that never ends; likely {cause}"
        for model, n, absent, unclosed, cause in missing.iter_rows()
    ]


def should_reason(label: str, form: str) -> bool:
    """Whether a model is known as one that reasons, or was given a format to be read in.

    ``form`` is the name of its format. One that follows from its name alone, so that the server
    keeps special tokens, does not say that the model reasons unless it is told to.
    """
    name = label.partition("/")[2].partition("[")[0].partition("@")[0]
    row = find(name) or find(name.partition("/")[2] if name.count("/") > 1 else "")
    if row is None:
        known = FORMATS.get(form)
        follows = known is not None and known.special and format_of_model(name) == form
        return form not in ("none", "auto") and not follows
    if row.format in ("none", "auto") or "thinking=off" in label:
        return False
    return row.thinking != "off" or "thinking=on" in label
