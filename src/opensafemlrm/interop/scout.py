"""A store as a transcript database of Inspect Scout: Parquet files, a row for each reply.

Columns are those of Scout's schema, with attack, defense, scenario and kind beside them, which
scans can filter by. A transcript's id is the sample's key, as in validation sets
(:mod:`.label_exchange`) and as the ``uuid`` of samples in logs (:mod:`.inspect_export`). Source:
Inspect Scout's documentation, "Transcript Database", meridianlabs-ai.github.io/inspect_scout.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl

from opensafemlrm.files import make_folder, replacing
from opensafemlrm.interop.inspect_export import Cell, chosen_cells
from opensafemlrm.interop.inspect_samples import Reader
from opensafemlrm.selection import EVERYTHING, Selection
from opensafemlrm.store.source import Source

_ROWS: Final = 500
"""Transcripts in a file; pictures make each of them large."""
_SCHEMA: Final[dict[str, Any]] = {
    **dict.fromkeys(("transcript_id", "source_type", "source_id", "date"), pl.String),
    **dict.fromkeys(("task_set", "task_id"), pl.String),
    "task_repeat": pl.Int64,
    **dict.fromkeys(("model", "model_options", "score", "score_explanation"), pl.String),
    "message_count": pl.Int64,
    "total_time": pl.Float64,
    "total_tokens": pl.Int64,
    "error": pl.String,
    "trust_content": pl.Boolean,
    **dict.fromkeys(("messages", "attack", "defense", "scenario", "kind"), pl.String),
}


def export_transcripts(source: Source, folder: Path, selection: Selection = EVERYTHING) -> int:
    """Write the transcripts of a ``selection`` into ``folder``; return how many. Some may do harm.

    The same store gives the same names, so that a second export replaces the first. Raises
    StoreError, for a picture that is not there too, and OSError where a file cannot be written.
    """
    make_folder(folder)
    count = 0
    for cell in chosen_cells(Reader(source, selection)):
        transcripts = _transcripts(cell)
        for number in itertools.count():
            if not (rows := list(itertools.islice(transcripts, _ROWS))):
                break
            with replacing(folder / f"transcripts_{cell.hex}_{number:05}.parquet") as draft:
                pl.DataFrame(rows, schema=_SCHEMA, orient="row").write_parquet(draft)
            count += len(rows)
    return count


def _transcripts(cell: Cell) -> Iterator[dict[str, Any]]:
    options = json.dumps(cell.sampling)
    for sample in cell.samples():
        scores = sample.scores or {}
        explained = (f"{name}: {score.explanation}" for name, score in scores.items())
        yield {
            "transcript_id": sample.uuid,
            "source_type": "opensafemlrm",
            "source_id": cell.hex,
            "date": sample.completed_at,
            "task_set": cell.label("dataset"),
            "task_id": sample.id,
            "task_repeat": sample.epoch,
            "model": cell.label("model"),
            "model_options": options,
            "score": json.dumps({name: _without_nan(score) for name, score in scores.items()}),
            "score_explanation": "\n\n".join(explained) or None,
            "message_count": len(sample.messages),
            "total_time": sample.total_time,
            "total_tokens": sample.output.usage.total_tokens if sample.output.usage else None,
            "error": sample.error.message if sample.error else None,
            "trust_content": False,
            "messages": json.dumps([_plain(message) for message in sample.messages]),
            "attack": cell.label("attack"),
            "defense": cell.label("defense"),
            "scenario": sample.metadata["scenario"],
            "kind": sample.metadata["kind"],
        }


def _plain(message: Any) -> Any:
    return message.model_dump(mode="json", exclude_none=True)


def _without_nan(score: Any) -> dict[str, float | None]:
    """Return a score's parts; ``None`` where there is none, which JSON has no NaN for."""
    return {part: None if math.isnan(value) else value for part, value in score.value.items()}
