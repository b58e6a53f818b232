"""What the tidy table is made of, asked of a store by SQL; :mod:`.sink_rows` answers for a sink."""

from __future__ import annotations

from typing import Final

_CELLS: Final = """
SELECT hex(c.key) AS cell, c.sampling, m.label AS model, hex(m.key) AS model_key,
    m.identity AS model_identity, d.label AS dataset, hex(d.key) AS dataset_key,
    a.label AS attack, hex(a.key) AS attack_key, f.label AS defense, hex(f.key) AS defense_key
FROM cells c
JOIN components m ON m.key = c.model
JOIN components d ON d.key = c.dataset
JOIN components a ON a.key = c.attack
JOIN components f ON f.key = c.defense
"""
_PAIRS: Final = "SELECT hex(reasoner) AS model_key, hex(base) AS base_key FROM pairs"
_GENERATIONS: Final = """
SELECT g.rowid AS generation, hex(g.cell) AS cell, hex(g.key) AS sample, i.rowid AS item_row,
    g.repeat, g.status, g.code AS error_code, g.trace AS reasoning_status,
    g.input_tokens, g.output_tokens, g.reasoning_tokens, g.latency, g.retries
FROM generations g JOIN items i ON i.key = g.item
"""
_CALLS: Final = """
SELECT g.rowid AS generation, count(*) AS extra_requests, sum(c.retries) AS extra_retries,
    sum(c.input_tokens) AS extra_input_tokens, sum(c.output_tokens) AS extra_output_tokens,
    sum(c.reasoning_tokens) AS extra_reasoning_tokens, sum(c.latency) AS extra_latency
FROM calls c JOIN generations g ON g.key = c.generation
-- A defense may settle on a reply it had before: that request is counted with the reply.
WHERE NOT (c.latency > 0 AND c.latency = g.latency AND c.text = g.text)
GROUP BY c.generation
"""
_CALIBRATIONS: Final = """
SELECT hex(judge) AS judge_key, labels, scenario, threshold, true_positives, false_positives,
    true_negatives, false_negatives, unscored
FROM calibrations
ORDER BY judge, labels, scenario, threshold
"""
_ITEMS: Final = """
SELECT rowid AS item_row, hex(key) AS item_key, id AS item, scenario, kind AS expected FROM items
"""
_JUDGEMENTS: Final = """
SELECT g.rowid AS generation, hex(j.judge) AS judge_key,
    r.rowid AS reasoning, a.rowid AS answer, f.rowid AS "full"
FROM judgements j
JOIN generations g ON g.key = j.generation
LEFT JOIN verdicts r ON r.key = j.reasoning
LEFT JOIN verdicts a ON a.key = j.answer
LEFT JOIN verdicts f ON f.key = j."full"
"""
_VERDICTS: Final = """
SELECT rowid AS verdict, label, score, reason, refusal, requests AS judge_requests,
    input_tokens AS judge_input_tokens, output_tokens AS judge_output_tokens,
    latency AS judge_latency
FROM verdicts
"""
_NOT_SENT: Final = """
SELECT hex(n.cell) AS cell, i.id AS item, n.reason
FROM inapplicable n JOIN items i ON i.key = n.item
"""
_DETECTED: Final = "SELECT DISTINCT hex(cell) AS cell FROM generations WHERE splitter LIKE 'auto@%'"
_COUNTS: Final = """
SELECT hex(cell) AS cell, hex(judge) AS judge_key, scenario, part, score, n FROM counts
"""
_JUDGES: Final = (
    "SELECT hex(key) AS judge_key, label AS judge, facts FROM components WHERE kind = 'judge'"
)
QUERIES: Final = {
    "cells": _CELLS,
    "pairs": _PAIRS,
    "judges": _JUDGES,
    "generations": _GENERATIONS,
    "calls": _CALLS,
    "calibrations": _CALIBRATIONS,
    "items": _ITEMS,
    "judgements": _JUDGEMENTS,
    "verdicts": _VERDICTS,
    "not_sent": _NOT_SENT,
    "detected": _DETECTED,
    "counts": _COUNTS,
}
