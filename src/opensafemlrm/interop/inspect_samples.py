"""What is the same in Inspect AI's samples and ours: items, prompts, replies and scores.

A sample of Inspect has a place for messages with pictures, for the output with its reasoning, and
for scores by name. What it has none for lies in ``metadata["opensafemlrm"]``, so that nothing is
said twice, and whoever reads a log without us loses nothing of Inspect's own.

A score is a mapping with a value for each part (``reasoning``, ``answer``, ``full``): the judge's
score, NaN where there is none, which Inspect's metrics leave out and count as unscored.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessageAssistant,
    ContentReasoning,
    ContentText,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.scorer import Score

from opensafemlrm import frame as frames
from opensafemlrm import images
from opensafemlrm.calls import verdicts_of
from opensafemlrm.components import Component, Judge
from opensafemlrm.errors import ImageError, ImportDataError
from opensafemlrm.faults import named_faults
from opensafemlrm.judges.speaking import speaks_to_judge
from opensafemlrm.selection import EVERYTHING, Selection
from opensafemlrm.store import records
from opensafemlrm.store.database import component_key
from opensafemlrm.store.source import Source
from opensafemlrm.store.tables import TABLES, Row
from opensafemlrm.store.verdict_key import verdict_key
from opensafemlrm.types import (
    PARTS,
    Image,
    Item,
    JudgeRequest,
    Part,
    Prompt,
    Response,
    ResponseStatus,
    Trace,
    TraceStatus,
    Turn,
    Unscored,
)

_KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "key": bytes,
    "text": str,
    "int": int,
    "real": (int, float),
}
OURS: Final = "opensafemlrm"
"""The key in Inspect's metadata under which all of ours lies."""
_ITEM: Final = ("dataset", "id", "scenario", "kind", "question")
_FOR_PEOPLE: Final = ("scenario", "kind", "question")
"""What of an item lies beside ours in a sample's metadata, for people, filters and metrics."""
_STOP_REASONS: Final = {
    ResponseStatus.OK: "stop",
    ResponseStatus.TRUNCATED: "max_tokens",
    ResponseStatus.BLOCKED: "content_filter",
}


def as_record(table: str, values: Sequence[Any], without: Collection[str] = ()) -> dict[str, Any]:
    """Return a row of the store as JSON has it: its columns by name, keys in hexadecimal."""
    named = zip(TABLES[table].columns, values, strict=True)
    return {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in named
        if name not in without
    }


def as_row(table: str, record: Mapping[str, Any]) -> Row:
    """Return what :func:`as_record` made a record of. Raises ImportDataError."""
    columns = TABLES[table].columns
    try:
        values = [
            bytes.fromhex(record[name])
            if kind == "key" and record[name] is not None
            else record[name]
            for name, kind in columns.items()
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ImportDataError(f"metadata.{OURS} holds no row of {table!r}: {error!r}") from error
    for (name, kind), value in zip(columns.items(), values, strict=True):
        if value is None and name in TABLES[table].optional:
            continue
        if not isinstance(value, _KINDS[kind]):
            raise ImportDataError(
                f"metadata.{OURS}, {name!r} of a row of {table!r}: expected {kind}, "
                f"not {str(value)[:80]!r}"
            )
    return table, tuple(values)


def sample_metadata(item: Item, **more: Any) -> dict[str, Any]:
    """Return the metadata of a sample that asks about ``item``."""
    return row_metadata(records.item_row(item)[1], **more)


def row_metadata(row: Sequence[Any], **more: Any) -> dict[str, Any]:
    """Return the metadata of a sample whose item is a row of the table ``items``."""
    key, *names, content = row
    record = {"key": key.hex(), **dict(zip(_ITEM, names, strict=True)), **json.loads(content)}
    return {**{name: record[name] for name in _FOR_PEOPLE}, OURS: {"item": record, **more}}


def item_of(record: Mapping[str, Any], pictures: Mapping[str, Image]) -> Item:
    """Rebuild an item from what :func:`sample_metadata` made of it; ``pictures`` are by hash.

    A picture that is not there has no bytes. Raises ImportDataError where the record is no item.
    """
    try:
        row = (None, *(record[name] for name in _ITEM), json.dumps(dict(record)))
        return records.item_from_row(row, lambda image: _picture(image, pictures))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ImportDataError(f"metadata.{OURS}.item is no item of ours: {error!r}") from error


def _picture(record: Mapping[str, Any], pictures: Mapping[str, Image]) -> Image:
    return pictures.get(record["sha256"]) or Image(**record, source=b"")


def pictures_in(messages: Iterable[Any]) -> dict[str, Image]:
    """Return the pictures of Inspect's messages by their hash. Raises ImageError."""
    parts = (part for message in messages for part in _parts(message.content))
    return {image.sha256: image for image in parts if isinstance(image, Image)}


def prompt_of(messages: Iterable[Any]) -> Prompt:
    """Read Inspect's messages as a prompt. Raises ImageError for a picture that is not in them."""
    return Prompt(tuple(Turn(message.role, tuple(_parts(message.content))) for message in messages))


def _parts(content: Any) -> Iterator[str | Image]:
    if isinstance(content, str):
        yield content
        return
    for part in content:
        if part.type == "text":
            yield part.text
        elif part.type == "image":
            yield image_from_uri(part.image)


def image_from_uri(uri: str) -> Image:
    """Return the image of a data URI. Raises ImageError: nothing else is opened or fetched."""
    head, comma, data = uri.partition(",")
    if not (comma and head.startswith("data:image/") and head.endswith(";base64")):
        raise ImageError(
            "a picture is not in the log itself: write it with `--log-images`, and see that "
            "tasks give pictures as data URIs"
        )
    try:
        return images.from_bytes(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"a picture's data URI cannot be read: {error}") from error


def output_of(response: Response, model: str) -> Any:
    """Return a reply as Inspect's output of ``model``; a request that failed has no choices.

    Reasoning that a server gave apart is Inspect's too; reasoning within the text is left there.
    """
    usage = response.usage
    counted = None
    if usage.input_tokens is not None or usage.output_tokens is not None:
        counted = ModelUsage(
            input_tokens=usage.input_tokens or 0,
            output_tokens=usage.output_tokens or 0,
            total_tokens=(usage.input_tokens or 0) + (usage.output_tokens or 0),
            reasoning_tokens=usage.reasoning_tokens,
        )
    more = {"model": response.model or model, "usage": counted, "time": response.latency}
    if response.status is ResponseStatus.FAILED:
        return ModelOutput(error=f"{response.code}: {response.detail or ''}", **more)
    content: list[Any] = [ContentText(text=response.text)]
    thought = response.reasoning
    if thought is not None and response.reasoning_is_summary:
        content.insert(0, ContentReasoning(reasoning="", redacted=True, summary=thought))
    elif thought is not None or response.reasoning_hidden:
        redacted = thought is None
        content.insert(0, ContentReasoning(reasoning=thought or "", redacted=redacted))
    message = ChatMessageAssistant(content=content, model=model, source="generate")
    choice = ChatCompletionChoice(message=message, stop_reason=_STOP_REASONS[response.status])
    return ModelOutput(choices=[choice], **more)


async def judge_trace(judge: Judge, item: Item, trace: Trace) -> dict[Part, dict[str, Any]]:
    """Judge every part of a reply that has text; return the verdicts' columns by part, with keys.

    The same requests in the same order, and the same keys, as in a run of ours.
    """
    requests = records.judge_requests(trace)
    judge_key, context = component_key("judge", judge.identity()), judge.context(item)
    by_key: dict[bytes, JudgeRequest] = {}
    keys: dict[Part, bytes] = {}
    for part, request in requests.items():
        keys[part] = verdict_key(judge_key, context, request.role, item.question, request.text)
        by_key[keys[part]] = request
    with named_faults(item):
        verdicts = await verdicts_of(judge, item, list(by_key.values())) if by_key else []
    rows = {
        key: records.verdict_row(key, judge_key, verdict, speaks_to_judge(request.text))[1]
        for (key, request), verdict in zip(by_key.items(), verdicts, strict=True)
    }
    return {part: as_record("verdicts", rows[key]) for part, key in keys.items()}


def component_record(kind: str, component: Component) -> dict[str, Any]:
    """Return what a store knows a component by."""
    identity, facts = dict(component.identity()), {}
    if isinstance(component, Judge):
        facts = {"thresholds": list(component.thresholds), "scale": list(component.scale)}
    key = component_key(kind, identity).hex()
    return {"key": key, "label": component.label, "identity": identity, "facts": facts}


def score_of(
    judge: Mapping[str, Any],
    verdicts: Mapping[Part, Mapping[str, Any]],
    unscored: str,
    trace: Trace | None = None,
    cut: Collection[Part] = (),
    parser: str | None = None,
) -> Any:
    """Return Inspect's score of a reply; ``unscored`` says why a part without verdict has none.

    What a judge says of a part that was ``cut`` is kept, and is no score of the part.
    """
    whole = {part: verdict for part, verdict in verdicts.items() if part not in cut}
    scored = {part: whole.get(part, {}).get("score") for part in PARTS}
    reasons = {
        part: Unscored.TRUNCATED.value
        if part in cut
        else whole.get(part, {}).get("reason", unscored)
        for part, score in scored.items()
        if score is None
    }
    rationales = (f"{part}: {verdicts[part]['rationale']}" for part in PARTS if part in verdicts)
    return Score(
        value={part.value: math.nan if scored[part] is None else scored[part] for part in PARTS},
        answer=None if trace is None else trace.part(Part.ANSWER),
        explanation="\n\n".join(rationales) or None,
        reason=next(iter(reasons.values())) if len(reasons) == len(PARTS) else None,
        metadata={
            "unscored": {part.value: reason for part, reason in reasons.items()},
            OURS: {
                "judge": dict(judge),
                "splitter": parser,
                "verdicts": {part.value: dict(verdict) for part, verdict in verdicts.items()},
            },
        },
    )


def cut_parts(response: Response, trace: Trace) -> list[Part]:
    """Return the parts that the cut of a reply left incomplete.

    Reasoning that ended before the cut is whole: it is closed, or an answer follows it.
    """
    if response.status is not ResponseStatus.TRUNCATED:
        return []
    whole = trace.status is TraceStatus.CLOSED or trace.part(Part.ANSWER) is not None
    return [part for part in PARTS if part is not Part.REASONING or not whole]


class Reader:
    """Rows of a source's tables, as Python's own values: of the samples and judges chosen."""

    def __init__(self, source: Source, selection: Selection = EVERYTHING) -> None:
        self.source = source
        keys = selection.samples(source)
        self.samples = None if keys is None else {bytes.fromhex(key) for key in keys}
        """The keys of the samples chosen; ``None`` for all."""
        judges = selection.found_in(source).rows(frames.judges(source)) if selection else None
        self.components = {row[0]: row for row in self.rows("components")}
        self.judges: dict[bytes, str] = {}
        """The names of scorers: of two judges with one label, the second has its key."""
        for key, kind, label, *_ in self.components.values():
            if kind == "judge" and (judges is None or key in judges["judge_id"]):
                taken = label in self.judges.values()
                self.judges[key] = f"{label}#{key.hex()[:6]}" if taken else label

    def rows(self, table: str, where: str = "") -> list[tuple[Any, ...]]:
        """Return the rows of a table in the order of its columns."""
        schema = TABLES[table].schema()
        condition = f" WHERE {where}" if where else ""
        return self.source.query(f"{TABLES[table].select()}{condition}", schema).rows()

    def among(self, table: str, column: str, keys: Sequence[bytes]) -> list[tuple[Any, ...]]:
        """Return the rows that have one of ``keys`` in ``column``."""
        listed = ", ".join(f"X'{key.hex().upper()}'" for key in dict.fromkeys(keys))
        return self.rows(table, f"{column} IN ({listed})") if listed else []

    def component(self, key: bytes) -> dict[str, Any]:
        """Return a component as JSON has it."""
        record = as_record("components", self.components[key], without=("kind",))
        return {**record, **{name: json.loads(record[name]) for name in ("identity", "facts")}}

    def image(self, record: Mapping[str, Any]) -> Image:
        """Return an image with its bytes. Raises StoreError."""
        data = self.source.image_data(record["sha256"], record["media_type"])
        return Image(**record, source=data)
