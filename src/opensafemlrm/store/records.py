"""Between the values of :mod:`opensafemlrm.types` and rows of the store."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from opensafemlrm.types import (
    JSON,
    Call,
    Image,
    Item,
    ItemKind,
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

PUT_ITEM: Final = (
    "INSERT OR IGNORE INTO items (key, dataset, id, scenario, kind, question, content) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
PUT_IMAGE: Final = (
    "INSERT OR IGNORE INTO images (sha256, media_type, width, height) VALUES (?, ?, ?, ?)"
)
PUT_PROMPT: Final = (
    "INSERT OR IGNORE INTO prompts (attack, item, seed, content) VALUES (?, ?, ?, ?)"
)
RESPONSE_COLUMNS: Final = (
    "status, transient, text, reasoning, is_summary, is_hidden, finish_reason, code, detail, "
    "input_tokens, output_tokens, reasoning_tokens, latency, retries"
)
# A failure that may pass is replaced by what a later try gives; nothing else ever is.
PUT_GENERATION: Final = (
    f"INSERT INTO generations (key, cell, item, repeat, seed, {RESPONSE_COLUMNS}, "
    "trace, splitter, created) VALUES (" + ", ".join("?" * 22) + ") "
    "ON CONFLICT (key) DO UPDATE SET "
    + ", ".join(f"{c} = excluded.{c}" for c in RESPONSE_COLUMNS.split(", "))
    + ", trace = excluded.trace, splitter = excluded.splitter, created = excluded.created "
    "WHERE generations.transient"
)
PUT_CALL: Final = (
    f"INSERT OR REPLACE INTO calls (generation, step, purpose, prompt, score, {RESPONSE_COLUMNS}) "
    "VALUES (" + ", ".join("?" * 19) + ")"
)
PUT_TRACE: Final = "UPDATE generations SET trace = ?, splitter = ? WHERE key = ?"
VERDICT_COLUMNS: Final = (
    "label, score, reason, refusal, rationale, requests, "
    "input_tokens, output_tokens, reasoning_tokens, latency"
)
PUT_VERDICT: Final = (
    f"INSERT INTO verdicts (key, judge, {VERDICT_COLUMNS}, created) VALUES ("
    + ", ".join("?" * 13)
    + ") ON CONFLICT (key) DO UPDATE SET "
    + ", ".join(f"{c} = excluded.{c}" for c in VERDICT_COLUMNS.split(", "))
    + ", created = excluded.created WHERE verdicts.reason = 'judge_failed'"
)
PUT_JUDGEMENT: Final = (
    'INSERT OR REPLACE INTO judgements (generation, judge, reasoning, answer, "full") '
    "VALUES (?, ?, ?, ?, ?)"
)
PUT_INAPPLICABLE: Final = (
    "INSERT OR REPLACE INTO inapplicable (cell, item, reason) VALUES (?, ?, ?)"
)


def generation_key(cell: Key, item: Key, repeat: int) -> Key:
    """Return the content key of one reply."""
    return content_key(cell, item, repeat)


def verdict_key(judge: Key, context: JSON, role: Part, question: str, text: str) -> Key:
    """Return the content key of one verdict; ``context`` is what Judge.context gave."""
    return content_key(
        judge,
        context,
        role.value,
        question.encode("utf-8", "surrogatepass"),
        text.encode("utf-8", "surrogatepass"),
    )


def item_row(item: Item) -> tuple[Any, ...]:
    """Return the row of ``items`` for an item."""
    content = {
        "system": item.system,
        "fields": dict(item.fields),
        "images": [_image_json(image) for image in item.images],
        "released": {name: _image_json(image) for name, image in item.released.items()},
    }
    return (
        item.key,
        storable(item.dataset),
        storable(item.id),
        storable(item.scenario),
        item.kind.value,
        storable(item.question),
        _dumps(content),
    )


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
        images=tuple(image(one) for one in more["images"]),
        system=more["system"],
        fields=more["fields"],
        released={name: image(one) for name, one in more["released"].items()},
    )


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


def image_row(image: Image) -> tuple[Any, ...]:
    """Return the row of ``images`` for an image."""
    return (image.sha256, image.media_type, image.width, image.height)


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
    slot: SampleKey, response: Response, trace: Trace | None, splitter: str | None
) -> tuple[Any, ...]:
    """Return the row of ``generations`` for a reply."""
    return (
        slot.key,
        slot.cell,
        slot.item,
        slot.repeat,
        slot.seed,
        *_response_columns(response),
        None if trace is None else trace.status.value,
        splitter,
        time.time(),
    )


def call_row(generation: Key, step: int, call: Call) -> tuple[Any, ...]:
    """Return the row of ``calls`` for one request behind a reply."""
    prompt = prompt_json(call.prompt)
    return (generation, step, call.purpose, prompt, call.score, *_response_columns(call.response))


def _response_columns(response: Response) -> tuple[Any, ...]:
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
    )


def verdict_row(key: Key, judge: Key, verdict: Verdict) -> tuple[Any, ...]:
    """Return the row of ``verdicts`` for a verdict."""
    usage = verdict.usage
    return (
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
