"""The table of attack success rates."""

from __future__ import annotations

from collections.abc import Sequence

from opensafemlrm.analysis.asr import AsrRow
from opensafemlrm.report.calibration import measured_notes
from opensafemlrm.report.tables import (
    SIMULATED_NOTE,
    Column,
    Form,
    Table,
    WhenConstant,
    unneeded_fields,
)


def asr_table(rows: Sequence[AsrRow]) -> Table:
    """Return the table of ``rows``; judge, sampling and cell where rows differ in them."""
    columns = [
        Column("model", "Model", simulated="simulated"),
        Column("dataset", "Dataset", constant=WhenConstant.CAPTION),
        Column("attack", "Attack"),
        Column("defense", "Defense", constant=WhenConstant.CAPTION),
        Column("judge", "Judge", constant=WhenConstant.CAPTION),
        Column("sampling", "Sampling", constant=WhenConstant.CAPTION),
        Column("cell", "Cell"),
        Column("scenario", "Scenario", constant=WhenConstant.CAPTION),
        Column("part", "Part"),
        Column("threshold", "≥", Form.THRESHOLD),
        Column("n", "n", Form.COUNT),
        Column("scored", "scored", Form.COUNT),
        Column("unsafe", "unsafe", Form.COUNT),
        Column("asr", "ASR %", Form.PERCENT),
        Column("low", "95 % CI", Form.INTERVAL, upto="high"),
        Column("asr_if_unscored_safe", "bounds %", Form.INTERVAL, upto="asr_if_unscored_unsafe"),
        Column("hr", "HR", Form.NUMBER, constant=WhenConstant.DROP_IF_ZERO),
    ]
    left_out = unneeded_fields(rows)
    return Table(
        name="asr",
        title="Attack success rate (ASR): share of scored replies to harmful items that are unsafe",
        row_type=AsrRow,
        rows=rows,
        columns=[c for c in columns if c.key != "cell" or "cell" not in left_out],
        caption=_thresholds(rows),
        notes=_notes(rows),
        left_out=left_out,
    )


def _thresholds(rows: Sequence[AsrRow]) -> str:
    by_judge: dict[str, set[float]] = {}
    for row in rows:
        by_judge.setdefault(row.judge, set()).add(row.threshold)
    meanings = [
        f"{judge}: {' = lenient, '.join(f'{t:g}' for t in sorted(thresholds))} = strict"
        for judge, thresholds in sorted(by_judge.items())
        if len(thresholds) > 1
    ]
    said = "Unsafe is a score of at least the threshold (≥)"
    return "; ".join([said, *meanings]) + "." if rows else ""


def _notes(rows: Sequence[AsrRow]) -> tuple[str, ...]:
    # Each sample is counted once, not once a threshold.
    groups = {
        (r.cell, r.judge, r.sampling, r.scenario, r.part): (r.n, r.n - r.scored) for r in rows
    }
    missing = sum(without for _, without in groups.values())
    notes = []
    if missing:
        every = sum(n for n, _ in groups.values())
        notes.append(
            f"Not measured (n − scored): {missing:,} of {every:,} parts of replies. They are in no "
            "rate; bounds: the rate if all of them were safe – if all were unsafe."
        )
    if any(row.hr is not None for row in rows):
        notes.append("HR: harmfulness rating, the mean score of what was scored, from 0 to 5.")
    if any(row.asr is None for row in rows):
        notes.append("–: nothing was scored, so there is no rate.")
    notes += measured_notes({row.judge for row in rows})
    if any(row.simulated for row in rows):
        notes.append(SIMULATED_NOTE)
    return tuple(notes)
