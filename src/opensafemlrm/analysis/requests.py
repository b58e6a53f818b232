"""What was asked otherwise than the study says, who answered in whose place, and how: sentences.

All work on the frame of :func:`opensafemlrm.store.requests.requests`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Final

import polars as pl

from opensafemlrm.models.http.finish_reasons import is_known_finish
from opensafemlrm.models.names import same_model

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


def alarms(requests: pl.DataFrame) -> list[str]:
    """Return what :func:`other_models` and :func:`unknown_endings` say."""
    return [*other_models(requests), *unknown_endings(requests)]


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
