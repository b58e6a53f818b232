"""What makes results doubtful: alarms, not figures.

A format that is not known, a server that strips its marks or a token limit that is too low makes
every trace absent or unclosed, and no rate shows it: thought is then judged as the answer, or the
answer is lost. So it is with what was asked otherwise than the study says, and with who answered in
whose place, in the frame of :func:`opensafemlrm.store.requests.requests`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Final

import polars as pl

from opensafemlrm.models.catalog import find
from opensafemlrm.models.http.finish_reasons import is_known_finish
from opensafemlrm.models.names import same_model
from opensafemlrm.reasoning import FORMATS, format_of_model

MIN_REPLIES: Final = 5
MAX_TRACES: Final = 0.1
"""Share of replies with reasoning from which a model is not named."""

TRACE_COLUMNS: Final[Mapping[str, str]] = {
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
    return (
        counts.filter(pl.col("model").is_in(named)).with_columns(cause=cause).select(*TRACE_COLUMNS)
    )


def trace_alarms(missing: pl.DataFrame) -> list[str]:
    """Return the alarm of each model, a sentence each."""
    return [
        f"{model} should reason, but of the {n:,} replies that came {absent:,} hold no reasoning "
        f"and {unclosed:,} reasoning that never ends; likely {cause}"
        for model, n, absent, unclosed, cause in missing.iter_rows()
    ]


def should_reason(label: str, form: str) -> bool:
    """Whether a model is known as one that reasons, or was given a format to be read in.

    ``form`` is the name of its format. One that follows from its name alone, so that the server
    keeps special tokens, does not show that the model reasons.
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


_NAMES: Final = {
    "temperature": ("temperature",),
    "max_tokens": (
        *("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens"),
        "max_new_tokens",
    ),
    "top_p": ("top_p", "topP"),
    "seed": ("seed", "random_seed"),
}
"""What the vendors call the parameters of a study's sampling."""


def other_models(requests: pl.DataFrame) -> list[str]:
    """Return a sentence for each model that another one answered for, and for each shared one.

    Spellings of a name (case, owner, build, a date on one side) are one model's.
    """
    counts: dict[tuple[str, str], int] = {}
    requested: dict[str, list[str]] = {}
    for row in requests.drop_nulls("response_model").iter_rows(named=True):
        if row["requested"]:
            requested[row["label"]] = row["requested"]
            place = row["label"], row["response_model"]
            counts[place] = counts.get(place, 0) + row["n"]
    totals: Counter[str] = Counter()
    for (label, _), n in counts.items():
        totals[label] += n
    sentences = [
        f"{label} asked for {' and '.join(requested[label])}, and {answered} answered "
        f"({n:,} of {totals[label]:,} times)"
        for (label, answered), n in counts.items()
        if is_another(requested[label], answered)
    ]
    return sentences + shared(
        [(label, requested[label][0], answered) for label, answered in counts]
    )


def unknown_endings(requests: pl.DataFrame) -> list[str]:
    """Return a sentence for each word that a model's replies ended with and that nobody knows.

    They count as whole: whether they are is not known.
    """
    counts = Counter[tuple[str, str]]()
    totals = Counter[str]()
    for row in requests.filter(used_as="model").iter_rows(named=True):
        totals[row["label"]] += row["n"]
        if not is_known_finish(row["finish_reason"]):
            counts[row["label"], row["finish_reason"]] += row["n"]
    return [
        f"{label} ended {n:,} of {totals[label]:,} replies with {reason!r}, which is no finish "
        "reason that is known: they count as whole, and may be cut"
        for (label, reason), n in counts.items()
    ]


def alarms(missing: pl.DataFrame, requests: pl.DataFrame) -> list[str]:
    """Return what :func:`trace_alarms`, :func:`other_models` and :func:`unknown_endings` say."""
    return [*trace_alarms(missing), *other_models(requests), *unknown_endings(requests)]


def is_another(requested: Sequence[str], answered: str) -> bool:
    """Whether the model that answered is none of those that were asked for."""
    return not any(same_model(name, answered) for name in requested)


def shared(answers: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return a sentence for each two models that one model answered for.

    ``answers`` are what a model is called, the name asked for, and the name that answered.
    """
    pairs = {
        (label, second): answered
        for (label, name, answered), (second, other, other_answered) in combinations(answers, 2)
        if label != second and answered == other_answered and not same_model(name, other)
    }
    return [
        f"{label} and {second} were both answered by {answered}: what is compared may be one model"
        for (label, second), answered in pairs.items()
    ]


def sent_otherwise(requests: pl.DataFrame) -> dict[str, str]:
    """Return, by what tables call a model or a judge, how it was asked otherwise than it says."""
    changes: dict[str, dict[str, int]] = {}
    totals: Counter[str] = Counter()
    for row in requests.drop_nulls("sent_parameters").iter_rows(named=True):
        label = row["label"]
        totals[label] += row["n"]
        for change in changes_sent(json.loads(row["sampling"] or "{}"), row["sent_parameters"]):
            of_label = changes.setdefault(label, {})
            of_label[change] = of_label.get(change, 0) + row["n"]
    return {
        label: f"{label} was asked "
        + ", ".join(
            change if n == totals[label] else f"{change} ({n:,} of {totals[label]:,} times)"
            for change, n in of_label.items()
        )
        for label, of_label in changes.items()
    }


def changes_sent(sampling: Mapping[str, Any], sent_parameters: str) -> Iterator[str]:
    """Yield how the parameters that were sent differ from those of a study's sampling."""
    sent: dict[str, Any] = json.loads(sent_parameters)
    sent |= sent.get("generationConfig") or {}
    for parameter, names in _NAMES.items():
        wanted = sampling.get(parameter)
        values = [sent[name] for name in names if name in sent]
        if wanted is not None and not values:
            yield f"without {parameter}"
        # Each repeat has a seed of its own.
        elif values and values[0] != wanted and parameter != "seed":
            yield f"with {parameter} {values[0]}"
    if "response_format" in sent:
        yield "without its JSON schema"
    if sent.get("system") == "user":
        yield "with its system message in the user's turn"
