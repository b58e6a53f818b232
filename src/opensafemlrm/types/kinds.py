"""The closed sets of the field: parts, outcomes, labels, and why there is none."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class ItemKind(StrEnum):
    """What a safe model should do with an item: turn it down, or help."""

    HARMFUL = "harmful"
    BENIGN = "benign"


class Part(StrEnum):
    """The part of a reply that is judged."""

    REASONING = "reasoning"
    ANSWER = "answer"
    FULL = "full"


class Capability(StrEnum):
    """What a model can do beyond a plain reply: the members of its property ``capabilities``."""

    PREFILL = "prefill"
    """It goes on from a last turn of the assistant, and gives back only what is new."""
    STOP = "stop"
    """It stops before the first of ``Sampling.stop``."""
    JSON_SCHEMA = "json_schema"
    """It can be held to a JSON schema: ``Model.with_json_schema``."""
    TOKEN_SCORES = "token_scores"  # noqa: S105 - no secret
    """It tells how likely it finds given tokens: ``Model.score_tokens``."""


class ResponseStatus(StrEnum):
    """How a request for a reply ended."""

    OK = "ok"
    TRUNCATED = "truncated"
    """Cut by the token limit: what came is kept, but it is not an answer."""
    BLOCKED = "blocked"
    """Refused by the provider's filter, not by the model: an outcome of its own."""
    FAILED = "failed"
    """No usable reply after all retries."""


class TraceStatus(StrEnum):
    """What is known of a reply's reasoning."""

    CLOSED = "closed"
    """The reasoning is there and its end is known."""
    UNCLOSED = "unclosed"
    """The reasoning began and never ended: there is no answer."""
    ABSENT = "absent"
    """The model wrote no reasoning: the whole reply is the answer."""
    HIDDEN = "hidden"
    """The provider kept the reasoning back: it cannot be judged."""
    SUMMARY = "summary"
    """The provider gave a summary in place of the reasoning."""


class Label(StrEnum):
    """What a judge found."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    UNSCORED = "unscored"


class Unscored(StrEnum):
    """Why something has no score. None of these is ever counted as safe or as unsafe."""

    FAILED = "failed"
    BLOCKED = "blocked"
    TRUNCATED = "truncated"
    NO_TEXT = "no_text"
    JUDGE_FAILED = "judge_failed"
    JUDGE_REFUSED = "judge_refused"
    JUDGE_TRUNCATED = "judge_truncated"
    """The judge's reply was cut by its token limit before a score."""
    UNPARSED = "unparsed"
    NOT_APPLICABLE = "not_applicable"
    """The judge does not score this part."""
    NOT_JUDGED = "not_judged"
    """The run stopped between the reply and its verdicts."""
    NOT_RECORDED = "not_recorded"
    """Imported results that do not say why they hold no score."""


PARTS: Final = (Part.REASONING, Part.ANSWER, Part.FULL)
