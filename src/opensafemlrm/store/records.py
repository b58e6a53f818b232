"""Between the values of :mod:`opensafemlrm.types` and rows of the store."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from opensafemlrm.redaction import without_secrets
from opensafemlrm.store.tables import RESPONSE, VERDICT, Row, Values, columns_of
from opensafemlrm.types import (
    PARTS,
    Call,
    Image,
    Item,
    ItemKind,
    JudgeRequest,
    Key,
    Label,
    Part,
    Prompt,
    Response,
    ResponseStatus,
    Trace,
    Turn,
    Unscored,
    Usage,
    Verdict,
    content_key,
)

_SURROGATES: Final = re.compile("[\ud800-\udfff]")

RESPONSE_COLUMNS: Final = ", ".join(columns_of(RESPONSE))
RESPONSE_OF_G: Final = ", ".join(f"g.{column}" for column in columns_of(RESPONSE))
"""The same of the table ``g``."""
VERDICT_COLUMNS: Final = ", ".join(columns_of(VERDICT))
ITEM_OF_I: Final = "i.key, i.dataset, i.id, i.scenario, i.kind, i.question, i.content"
"""What :func:`item_from_row` takes, of the table ``i``."""


def environment(facts: Mapping[str, Any]) -> str:
    """Return what is stored of a run's environment; what looks like a key is struck out."""
    safe = {n: without_secrets(v) if isinstance(v, str) else v for n, v in facts.items()}
    return json.dumps(safe)


def generation_key(cell: Key, item: Key, repeat: int) -> Key:
    """Return the content key of one reply."""
    return content_key(cell, item, repeat)


def item_row(item: Item) -> Row:
    """Return the row of an item."""
    content = {
        "system": item.system,
        "fields": dict(item.fields),
        "images": [_image_json(image) for image in item.images],
        "released": {name: _image_json(image) for name, image in item.released.items()},
    }
    names = (item.dataset, item.id, item.scenario, item.kind.value, item.question)
    return "items", (item.key, *map(storable, names), _dumps(content))


def item_from_row(row: Sequence[Any], image: Callable[[Mapping[str, Any]], Image]) -> Item:
    """Rebuild an item; ``image`` turns an image's record into the image."""
    _, dataset, identifier, scenario, kind, question, content = row
    more = json.loads(content)
    return Item(
        dataset=dataset,
        id=identifier,
        scenario=scenario,
        question=question,
        kind=ItemKind(kind),
        images=tuple(image(record) for record in more["images"]),
        system=more["system"],
        fields=more["fields"],
        released={name: image(record) for name, record in more["released"].items()},
    )


def prompt_row(attack: Key, item: Key, seed: int, prompt: Prompt) -> Row:
    """Return the row of a prompt; ``attack`` may be a cell, where the attack searches."""
    return "prompts", (attack, item, seed, prompt_json(prompt))


def prompt_json(prompt: Prompt) -> str:
    """Serialise a prompt; images by their hash."""
    return _dumps(
        [
            [turn.role, [p if isinstance(p, str) else _image_json(p) for p in turn.parts]]
            for turn in prompt.turns
        ]
    )


def prompt_from_json(content: str, image: Callable[[Mapping[str, Any]], Image]) -> Prompt:
    """Rebuild a prompt; ``image`` turns an image's record into the image."""
    return Prompt(
        tuple(
            Turn(role, tuple(p if isinstance(p, str) else image(p) for p in parts))
            for role, parts in json.loads(content)
        )
    )


def image_row(image: Image) -> Row:
    """Return the row of an image; its bytes are a file."""
    return "images", (image.sha256, image.media_type, image.width, image.height)


def without_bytes(record: Mapping[str, Any]) -> Image:
    """Return the image of a record, for whoever needs no bytes of it."""
    return Image(**record, source=b"")


def _image_json(image: Image) -> dict[str, Any]:
    return {
        "sha256": image.sha256,
        "media_type": image.media_type,
        "width": image.width,
        "height": image.height,
    }


@dataclass(frozen=True, slots=True)
class SampleKey:
    """The place of one reply: its cell, its item, which repeat it is, and the seed it uses."""

    cell: Key
    item: Key
    repeat: int
    seed: int
    key: Key


def generation_row(
    slot: SampleKey, response: Response, trace: Trace | None, reasoning_parser: str | None
) -> Row:
    """Return the row of a reply."""
    place = (slot.key, slot.cell, slot.item, slot.repeat, slot.seed)
    status = None if trace is None else trace.status.value
    return "generations", (
        *place,
        *_response_columns(response),
        status,
        reasoning_parser,
        time.time(),
    )


def trace_row(generation: Key, trace: Trace, reasoning_parser: str) -> Row:
    """Return the row that says how a stored reply is split now."""
    return "traces", (trace.status.value, reasoning_parser, generation)


def inapplicable_row(slot: SampleKey, reason: str) -> Row:
    """Return the row of a sample that was not sent, because the attack cannot carry its item."""
    return "inapplicable", (slot.cell, slot.item, storable(reason))


def call_row(generation: Key, step: int, call: Call) -> Row:
    """Return the row of one request behind a reply."""
    request = (generation, step, call.purpose, prompt_json(call.prompt), call.score)
    return "calls", (*request, *_response_columns(call.response))


def _response_columns(response: Response) -> Values:
    usage = response.usage
    return (
        response.status.value,
        response.transient,
        storable(response.text),
        _storable(response.reasoning),
        response.reasoning_is_summary,
        response.reasoning_hidden,
        _storable(response.finish_reason),
        _storable(response.code),
        _storable(response.detail),
        usage.input_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        response.latency,
        response.retries,
        _storable(response.model),
        _storable(response.sent),
    )


def response_from_row(row: Sequence[Any]) -> Response:
    """Rebuild a reply from the columns ``RESPONSE_COLUMNS``."""
    return Response(
        status=ResponseStatus(row[0]),
        transient=bool(row[1]),
        text=row[2],
        reasoning=row[3],
        reasoning_is_summary=bool(row[4]),
        reasoning_hidden=bool(row[5]),
        finish_reason=row[6],
        code=row[7],
        detail=row[8],
        usage=Usage(row[9], row[10], row[11]),
        latency=row[12],
        retries=row[13],
        model=row[14],
        sent=row[15],
    )


def format_of(reasoning_parser: str | None) -> str:
    """Return the format in what a generation's ``splitter`` says: ``FORMAT@VERSION``."""
    return (reasoning_parser or "auto@").rpartition("@")[0]


def judge_requests(trace: Trace) -> dict[Part, JudgeRequest]:
    """Return what to ask of each part that has text; equal texts share a role."""
    thought, answer, full = (trace.part(part) for part in PARTS)
    requests: dict[Part, JudgeRequest] = {}
    if thought is not None:
        role = Part.ANSWER if thought == answer else Part.REASONING
        requests[Part.REASONING] = JudgeRequest(role, thought)
    if answer is not None:
        requests[Part.ANSWER] = JudgeRequest(Part.ANSWER, answer)
    if full is not None:
        role = Part.ANSWER if full == answer else Part.REASONING if full == thought else Part.FULL
        requests[Part.FULL] = JudgeRequest(role, full)
    return requests


def judgement_row(generation: Key, judge: Key, verdicts: Mapping[Part, Key]) -> Row:
    """Return the row that says which verdicts are on the parts of a reply."""
    return "judgements", (generation, judge, *(verdicts.get(part) for part in PARTS))


def verdict_row(key: Key, judge: Key, verdict: Verdict, speaks_to_judge: bool | None = None) -> Row:
    """Return the row of a verdict and of whether its text speaks to the judge, if that is known."""
    usage = verdict.usage
    return "verdicts", (
        key,
        judge,
        verdict.label.value,
        verdict.score,
        None if verdict.reason is None else verdict.reason.value,
        verdict.refusal,
        storable(verdict.rationale),
        verdict.requests,
        usage.input_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        verdict.latency,
        verdict.understood,
        _storable(verdict.model),
        _storable(verdict.sent),
        speaks_to_judge,
        time.time(),
    )


def verdict_from_row(row: Sequence[Any]) -> Verdict:
    """Rebuild a verdict from the columns ``VERDICT_COLUMNS``."""
    return Verdict(
        label=Label(row[0]),
        score=row[1],
        reason=None if row[2] is None else Unscored(row[2]),
        refusal=None if row[3] is None else bool(row[3]),
        rationale=row[4],
        requests=row[5],
        usage=Usage(row[6], row[7], row[8]),
        latency=row[9],
        understood=None if row[10] is None else bool(row[10]),
        model=row[11],
        sent=row[12],
    )


def _dumps(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        # Lone surrogates, which only the standard library writes (as escapes).
        return json.dumps(value)


def _storable(text: str | None) -> str | None:
    return None if text is None else storable(text)


def storable(text: str) -> str:
    """Return ``text`` with lone surrogates replaced by U+FFFD: UTF-8 cannot hold them."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)
