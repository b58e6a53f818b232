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

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from opensafemlrm import frame as frames
from opensafemlrm import reasoning
from opensafemlrm.errors import UnknownNameError
from opensafemlrm.redaction import without_secrets
from opensafemlrm.selection import Choice, as_list, labels_of
from opensafemlrm.store import records
from opensafemlrm.store.database import unfit
from opensafemlrm.store.source import Source
from opensafemlrm.store.tables import RESPONSE, TABLES, columns_of
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
_RESPONSE: Final = columns_of(RESPONSE)
# A search finds a prompt for each cell; all others are kept by attack.
_REPLIES: Final = f"""
SELECT g.key AS key, i.question AS question, ifnull(own.content, shared.content) AS prompt,
    g.splitter AS splitter, {", ".join(f"g.{column} AS {column}" for column in _RESPONSE)}
FROM generations g
JOIN items i ON i.key = g.item
JOIN cells c ON c.key = g.cell
LEFT JOIN prompts own ON own.attack = g.cell AND own.item = g.item AND own.seed = g.seed
LEFT JOIN prompts shared
    ON shared.attack = c.attack AND shared.item = g.item AND shared.seed = g.seed
WHERE g.key IN ({{keys}})
"""
_RATIONALES: Final = " UNION ALL ".join(
    f"SELECT j.generation AS key, j.judge AS judge_id, '{part}' AS part, v.rationale AS rationale "
    f'FROM judgements j JOIN verdicts v ON v.key = j."{part}" WHERE j.generation IN ({{keys}})'
    for part in PARTS
)


def replies(source: Source, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the replies of the samples in ``frame``, rows of the tidy table of ``source``.

    Samples of which only counts are known have none. Raises StoreError.
    """
    rows = frame.filter(pl.col("sample").is_not_null())
    keys = rows["sample"].unique(maintain_order=True).to_list()
    return (
        rows.join(
            _rationales(source, keys),
            on=("sample", "judge", "part"),
            how="left",
            maintain_order="left",
        )
        .group_by("sample", maintain_order=True)
        .agg(pl.col(_FROM_FRAME[1:]).first(), verdicts=pl.struct(_VERDICT))
        .join(_texts(source, keys), on="sample", how="left", maintain_order="left")
        .select(COLUMNS)
    )


def chosen(frame: pl.DataFrame, wanted: Mapping[str, Choice], unsafe: Choice) -> pl.DataFrame:
    """Return the rows of the tidy table that have wanted values, by their columns.

    ``unsafe`` names parts: only samples of which a judge found one of them unsafe. Raises
    UnknownNameError for a value that no row has.
    """
    for column, values in wanted.items():
        if values is not None:
            # A way to end that none of these replies took is no mistake: there are none.
            known = map(str, ResponseStatus) if column == "status" else frame[column].unique()
            labels = labels_of(column, as_list(values), known, exact=True)
            frame = frame.filter(frame[column].is_in(labels))
    if unsafe is None:
        return frame
    labels_of("part", as_list(unsafe), PARTS)
    of_part = frame["part"].is_in(as_list(unsafe)) & (frame["label"] == "unsafe")
    return frame.filter(frame["sample"].is_in(frame["sample"].filter(of_part)))


def _texts(source: Source, keys: Sequence[str]) -> pl.DataFrame:
    stored = TABLES["generations"].schema()
    texts = {"key": pl.Binary(), "question": pl.String(), "prompt": pl.String()}
    schema = {**texts, **{name: stored[name] for name in ("splitter", *_RESPONSE)}}
    try:
        rows = [_text(row) for row in _select(source, _REPLIES, schema, keys).iter_rows()]
    except (ValueError, KeyError, TypeError, UnknownNameError) as error:
        raise unfit("generations and prompts", str(error)) from error
    return pl.DataFrame(rows, schema=_TEXTS, orient="row")


def _text(row: Sequence[Any]) -> tuple[Any, ...]:
    key, question, content, parser, *columns = row
    response = records.response_from_row(columns)
    prompt = None if content is None else records.prompt_from_json(content, records.without_bytes)
    came = response.status in (ResponseStatus.OK, ResponseStatus.TRUNCATED)
    reply = reasoning.parse(response, records.format_of(parser)) if came else None
    return (
        key.hex().upper(),
        question,
        None if prompt is None else _shown(prompt),
        [] if prompt is None else [image.sha256 for image in prompt.images],
        response.detail and without_secrets(response.detail),
        *(None if reply is None else reply.part(part) for part in PARTS),
    )


def _shown(prompt: Prompt) -> str:
    texts = [turn.text for turn in prompt.turns]
    if len(texts) > 1:
        texts = [f"{turn.role}: {turn.text}" for turn in prompt.turns]
    return records.storable("\n\n".join(texts))  # JSON may hold what a frame cannot


def _rationales(source: Source, keys: Sequence[str]) -> pl.DataFrame:
    schema = {
        **dict.fromkeys(("key", "judge_id"), pl.Binary()),
        "part": frames.SCHEMA["part"],
        "rationale": pl.String(),
    }
    rows = _select(source, _RATIONALES, schema, keys).join(frames.judges(source), on="judge_id")
    return rows.with_columns(sample=pl.col("key").bin.encode("hex").str.to_uppercase())


def _select(
    source: Source, query: str, schema: Mapping[str, pl.DataType], keys: Sequence[str]
) -> pl.DataFrame:
    chunks = [pl.DataFrame(schema=schema)]
    for start in range(0, len(keys), _CHUNK):
        # The keys are hexadecimal, so that they stand in the statement as they are.
        literals = ", ".join(f"X'{key}'" for key in keys[start : start + _CHUNK])
        chunks.append(source.query(query.format(keys=literals), schema))
    return pl.concat(chunks)
