"""The replies of a store, a row a sample, with their verdicts. The texts may be harmful.

Columns
-------
sample, model, dataset, attack, defense, sampling, simulated, item, scenario, expected, repeat
    As in the tidy table (:mod:`opensafemlrm.frame`).
question
    The question of the item, before the attack.
prompt
    The text that was sent; of several turns, each begins with its role. Null where none was kept.
images
    The SHA-256 of each image that was sent, in order: ``images/`` of the store has the files.
status, error_code, error_detail
    How the reply ended: ``ok``, ``truncated``, ``blocked`` or ``failed``, and why.
reasoning, answer, full
    The parts of the reply; null for a part that is not there.
reasoning_status
    ``closed``, ``unclosed``, ``absent``, ``hidden`` or ``summary``; null where no reply came.
verdicts
    A list of structs with ``judge``, ``part``, ``label``, ``score``, ``reason`` (why there is no
    score) and ``rationale`` (the judge's own words).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final

import polars as pl

from opensafemlrm import frame as frames
from opensafemlrm import reasoning
from opensafemlrm.errors import StoreError
from opensafemlrm.store import Store, records
from opensafemlrm.types import PARTS, Prompt, ResponseStatus

_FROM_FRAME: Final = (
    *("sample", "model", "dataset", "attack", "defense", "sampling", "simulated"),
    *("item", "scenario", "expected", "repeat", "status", "error_code", "reasoning_status"),
)
_VERDICT: Final = ("judge", "part", "label", "score", "reason", "rationale")
_TEXTS: Final = {
    "sample": pl.String(),
    "question": pl.String(),
    "prompt": pl.String(),
    "images": pl.List(pl.String()),
    "error_detail": pl.String(),
    "reasoning": pl.String(),
    "answer": pl.String(),
    "full": pl.String(),
}
COLUMNS: Final = (
    *_FROM_FRAME[:11],
    *("question", "prompt", "images", "status", "error_code", "error_detail"),
    *("reasoning", "answer", "full", "reasoning_status", "verdicts"),
)
_CHUNK: Final = 500
"""Samples that are read together."""
_RESPONSE: Final = ", ".join(f"g.{column}" for column in records.RESPONSE_COLUMNS.split(", "))
# A search finds a prompt for each cell; all others are kept by attack.
_REPLIES: Final = f"""
SELECT hex(g.key), i.question, ifnull(own.content, shared.content), g.splitter, {_RESPONSE}
FROM generations g
JOIN items i ON i.key = g.item
JOIN cells c ON c.key = g.cell
LEFT JOIN prompts own ON own.attack = g.cell AND own.item = g.item AND own.seed = g.seed
LEFT JOIN prompts shared
    ON shared.attack = c.attack AND shared.item = g.item AND shared.seed = g.seed
WHERE g.key IN ({{keys}})
"""
_RATIONALES: Final = " UNION ALL ".join(
    f"SELECT hex(j.generation), hex(j.judge), '{part}', v.rationale "
    f'FROM judgements j JOIN verdicts v ON v.key = j."{part}" WHERE j.generation IN ({{keys}})'
    for part in PARTS
)


def replies(store: Store, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the replies of the samples in ``frame``, rows of the tidy table of ``store``.

    Samples of which only counts are known have none. Raises StoreError.
    """
    rows = frame.filter(pl.col("sample").is_not_null())
    keys = rows["sample"].unique(maintain_order=True).to_list()
    try:
        texts, rationales = _texts(store, keys), _rationales(store, keys)
    except sqlite3.Error as error:
        raise StoreError(f"{store.path}: the store cannot be read: {error}") from error
    return (
        rows.join(rationales, on=("sample", "judge", "part"), how="left", maintain_order="left")
        .group_by("sample", maintain_order=True)
        .agg(pl.col(_FROM_FRAME[1:]).first(), verdicts=pl.struct(_VERDICT))
        .join(texts, on="sample", how="left", maintain_order="left")
        .select(COLUMNS)
    )


def _texts(store: Store, keys: Sequence[str]) -> pl.DataFrame:
    rows = [_text(store, row) for row in _select(store, _REPLIES, keys)]
    return pl.DataFrame(rows, schema=_TEXTS, orient="row")


def _text(store: Store, row: Sequence[Any]) -> tuple[Any, ...]:
    sample, question, content, parser, *columns = row
    response = records.response_from_row(columns)
    prompt = None if content is None else records.prompt_from_json(content, store.image)
    came = response.status in (ResponseStatus.OK, ResponseStatus.TRUNCATED)
    reply = reasoning.parse(response, (parser or "auto").partition("@")[0]) if came else None
    return (
        sample,
        question,
        None if prompt is None else _shown(prompt),
        [] if prompt is None else [image.sha256 for image in prompt.images],
        response.detail,
        *(None if reply is None else reply.part(part) for part in PARTS),
    )


def _shown(prompt: Prompt) -> str:
    texts = [turn.text for turn in prompt.turns]
    if len(texts) > 1:
        texts = [f"{turn.role}: {turn.text}" for turn in prompt.turns]
    return records.storable("\n\n".join(texts))  # JSON may hold what a frame cannot


def _rationales(store: Store, keys: Sequence[str]) -> pl.DataFrame:
    schema = dict.fromkeys(("sample", "judge_key", "part", "rationale"), pl.String())
    rows = list(_select(store, _RATIONALES, keys))
    judges = frames.judges(store)
    return pl.DataFrame(rows, schema=schema, orient="row").join(judges, on="judge_key")


def _select(store: Store, query: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for start in range(0, len(keys), _CHUNK):
        some = keys[start : start + _CHUNK]
        # The keys are hexadecimal, so that they stand in the statement as they are.
        literals = ", ".join(f"x'{key}'" for key in some)
        yield from store.connection.execute(query.format(keys=literals))
