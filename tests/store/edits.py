"""What another hand may do to a store: one statement each."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from opensafemlrm.store import DATABASE

EDITS = {
    "a reply's text": "UPDATE generations SET text = 'Of course.' WHERE rowid = 3",
    "all replies' texts": "UPDATE generations SET text = 'I cannot help.'",
    "a reply's reasoning": "UPDATE generations SET reasoning = 'hm' WHERE rowid = 3",
    "a reply's cell": "UPDATE generations SET cell = (SELECT max(key) FROM cells) WHERE rowid < 9",
    "a reply's item": "UPDATE generations SET item = (SELECT max(key) FROM items) WHERE rowid = 3",
    "a reply's repeat": "UPDATE generations SET repeat = 7 WHERE rowid = 3",
    "a reply's seed": "UPDATE generations SET seed = 99 WHERE rowid = 3",
    "a status": "UPDATE generations SET status = 'fine' WHERE rowid = 3",
    "a status as bytes": "UPDATE generations SET status = x'6f6b' WHERE rowid = 3",
    "a trace": "UPDATE generations SET trace = 'shut' WHERE rowid = 3",
    "transient and ok": "UPDATE generations SET transient = 1 WHERE rowid = 3",
    "tokens below zero": "UPDATE generations SET output_tokens = -5 WHERE rowid = 3",
    "tokens as words": "UPDATE generations SET output_tokens = 'many' WHERE rowid = 3",
    "latency without end": "UPDATE generations SET latency = 9e999 WHERE rowid = 3",
    "a parser of nobody": "UPDATE generations SET splitter = 'mine@2-A' WHERE rowid = 3",
    "a question": "UPDATE items SET question = 'What is tea?' WHERE rowid = 3",
    "a scenario": "UPDATE items SET scenario = 'tea' WHERE rowid = 3",
    "an id": "UPDATE items SET id = 'x' WHERE rowid = 3",
    "a kind": "UPDATE items SET kind = 'nice' WHERE rowid = 3",
    "content of an item": "UPDATE items SET content = '{' WHERE rowid = 3",
    "other content": "UPDATE items SET content = '[]' WHERE rowid = 3",
    "an item gone": "DELETE FROM items WHERE rowid = 3",
    "a score beyond the scale": "UPDATE verdicts SET score = 77, label = 'unsafe' WHERE rowid = 3",
    "a score below": "UPDATE verdicts SET score = -1, label = 'safe' WHERE rowid = 3",
    "a score without end": "UPDATE verdicts SET score = 9e999, label = 'unsafe' WHERE rowid = 3",
    "a score in words": "UPDATE verdicts SET score = 'high' WHERE rowid = 3",
    "scores turned round": "UPDATE verdicts SET label = iif(label = 'safe', 'unsafe', 'safe')",
    "a label": "UPDATE verdicts SET label = 'nice' WHERE rowid = 3",
    "a reason": "UPDATE verdicts SET reason = 'why not' WHERE rowid = 3",
    "a reason beside a score": "UPDATE verdicts SET reason = 'unparsed' WHERE score IS NOT NULL",
    "no score, no reason": "UPDATE verdicts SET score = NULL WHERE rowid = 3",
    "a refusal": "UPDATE verdicts SET refusal = 3 WHERE rowid = 3",
    "a verdict's key": "UPDATE verdicts SET key = randomblob(16) WHERE rowid = 3",
    "parts swapped": "UPDATE judgements SET reasoning = answer, answer = reasoning",
    "foreign verdicts": 'UPDATE judgements SET "full" = (SELECT max(key) FROM verdicts)',
    "verdicts taken out": 'UPDATE judgements SET "full" = NULL',
    "an identity": "UPDATE components SET identity = '{}' WHERE kind = 'model'",
    "no JSON": "UPDATE components SET identity = 'x' WHERE kind = 'model'",
    "a list": "UPDATE components SET identity = '[1]'",
    "a kind of component": "UPDATE components SET kind = 'judge' WHERE kind = 'attack'",
    "no facts": "UPDATE components SET facts = '{}' WHERE kind = 'judge'",
    "facts in words": "UPDATE components SET facts = 'x' WHERE kind = 'judge'",
    "thresholds in words": """UPDATE components SET facts = '{"thresholds": ["x"], "scale": [0, 1]}'
        WHERE kind = 'judge'""",
    "other thresholds": """UPDATE components SET facts = '{"thresholds": [5], "scale": [0, 5]}'
        WHERE kind = 'judge'""",
    "no threshold": """UPDATE components SET facts = '{"thresholds": [], "scale": [0, 1]}'
        WHERE kind = 'judge'""",
    "sampling": """UPDATE cells SET sampling = '{"temperature": 2}'""",
    "sampling in words": "UPDATE cells SET sampling = 'hot'",
    "a cell's attack": "UPDATE cells SET attack = (SELECT max(attack) FROM cells)",
    "what a data set held": "UPDATE readings SET items = zeroblob(32)",
    "which data set was read": "UPDATE readings SET dataset = zeroblob(16)",
    "a prompt": "UPDATE prompts SET content = '{' WHERE rowid = 3",
    "a prompt of numbers": "UPDATE prompts SET content = '[[1, [2]]]' WHERE rowid = 3",
    "a run's machine": "UPDATE runs SET environment = '{'",
    "a run in the year 300000": "UPDATE runs SET started = 9e12",
    "an image's kind": "UPDATE images SET media_type = 'text/html'",
    "a column gone": "ALTER TABLE generations DROP COLUMN latency",
    "the texts gone": "ALTER TABLE generations DROP COLUMN text",
    "a column more": "ALTER TABLE generations ADD COLUMN mine TEXT NOT NULL DEFAULT 'x'",
    "a table gone": "DROP TABLE calls",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON generations BEGIN DELETE FROM verdicts; END",
    "a trigger that empties": """CREATE TRIGGER t AFTER INSERT ON verdicts
        BEGIN UPDATE verdicts SET label = 'safe'; END""",
}


def edit(path: Path, name: str) -> None:
    """Change a store that has one run, as ``EDITS`` says."""
    with contextlib.closing(sqlite3.connect(path / DATABASE)) as connection, connection:
        connection.execute("INSERT INTO runs (started, study, environment) VALUES (1, 's', '{}')")
        connection.execute(EDITS[name])
