"""Tables of the store, and the way from each version to the next.

Migrations are append-only: ``MIGRATIONS[n]`` brings a store from version n to n + 1, and a new
store goes through all of them, so that every store of a version has the same tables.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from opensafemlrm.errors import StoreVersionError

_VERSION_1: Final = """
CREATE TABLE components (
    key BLOB PRIMARY KEY,
    kind TEXT NOT NULL,             -- dataset, attack, defense, model, judge
    label TEXT NOT NULL,            -- what tables call it
    identity TEXT NOT NULL,         -- JSON: name, version, everything that changes results
    facts TEXT NOT NULL             -- JSON: what tables need to know, such as thresholds
) WITHOUT ROWID;
CREATE TABLE cells (
    key BLOB PRIMARY KEY,
    dataset BLOB NOT NULL, attack BLOB NOT NULL, defense BLOB NOT NULL, model BLOB NOT NULL,
    sampling TEXT NOT NULL          -- JSON: temperature, max_tokens, seed, top_p
) WITHOUT ROWID;
CREATE TABLE pairs (
    reasoner BLOB NOT NULL, base BLOB NOT NULL,
    PRIMARY KEY (reasoner, base)
) WITHOUT ROWID;
CREATE TABLE images (
    sha256 TEXT PRIMARY KEY,
    media_type TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE items (
    key BLOB PRIMARY KEY,
    dataset TEXT NOT NULL, id TEXT NOT NULL, scenario TEXT NOT NULL, kind TEXT NOT NULL,
    question TEXT NOT NULL,
    content TEXT NOT NULL           -- JSON: system, fields, images, released images
);
CREATE TABLE prompts (
    attack BLOB NOT NULL, item BLOB NOT NULL, seed INTEGER NOT NULL,
    content TEXT NOT NULL,          -- JSON: turns of text and images by hash
    PRIMARY KEY (attack, item, seed)
);
CREATE TABLE generations (
    key BLOB PRIMARY KEY,
    cell BLOB NOT NULL, item BLOB NOT NULL, repeat INTEGER NOT NULL, seed INTEGER NOT NULL,
    status TEXT NOT NULL,           -- ok, truncated, blocked, failed
    transient INTEGER NOT NULL,     -- a failure that asking again may mend
    text TEXT NOT NULL,
    reasoning TEXT,                 -- what the server had split off
    is_summary INTEGER NOT NULL, is_hidden INTEGER NOT NULL,
    finish_reason TEXT, code TEXT, detail TEXT,
    input_tokens INTEGER, output_tokens INTEGER, reasoning_tokens INTEGER,
    latency REAL NOT NULL, retries INTEGER NOT NULL,
    trace TEXT,                     -- closed, unclosed, absent, hidden, summary; NULL if no reply
    splitter TEXT,                  -- the format and version that found it
    created REAL NOT NULL           -- seconds since 1970
);
CREATE TABLE verdicts (
    key BLOB PRIMARY KEY,
    judge BLOB NOT NULL,
    label TEXT NOT NULL, score REAL, reason TEXT, refusal INTEGER,
    rationale TEXT NOT NULL,
    requests INTEGER NOT NULL,
    input_tokens INTEGER, output_tokens INTEGER, reasoning_tokens INTEGER,
    latency REAL NOT NULL,
    created REAL NOT NULL
);
CREATE TABLE judgements (
    generation BLOB NOT NULL, judge BLOB NOT NULL,
    reasoning BLOB, answer BLOB, "full" BLOB,   -- keys of verdicts; NULL: the part has no text
    PRIMARY KEY (generation, judge)
) WITHOUT ROWID;
CREATE TABLE counts (               -- imported histograms: no samples, only how many
    cell BLOB NOT NULL, judge BLOB NOT NULL, scenario TEXT NOT NULL, part TEXT NOT NULL,
    score REAL,                     -- NULL: not scored
    n INTEGER NOT NULL
);
CREATE UNIQUE INDEX counts_by_content ON counts (cell, judge, scenario, part, ifnull(score, -1));
CREATE TABLE inapplicable (         -- items that an attack could not carry: nothing was sent
    cell BLOB NOT NULL, item BLOB NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (cell, item)
) WITHOUT ROWID;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    started REAL NOT NULL, ended REAL,
    study TEXT NOT NULL,            -- the study file as it was read
    environment TEXT NOT NULL       -- JSON: versions of this project, Python and the platform
);
"""

_VERSION_2: Final = """
CREATE TABLE calls (                -- requests behind a reply: of a defense, or of a search
    generation BLOB NOT NULL, step INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    prompt TEXT NOT NULL,           -- JSON, as in prompts
    score REAL,                     -- of the judge, where the method asked it
    status TEXT NOT NULL, transient INTEGER NOT NULL,
    text TEXT NOT NULL, reasoning TEXT,
    is_summary INTEGER NOT NULL, is_hidden INTEGER NOT NULL,
    finish_reason TEXT, code TEXT, detail TEXT,
    input_tokens INTEGER, output_tokens INTEGER, reasoning_tokens INTEGER,
    latency REAL NOT NULL, retries INTEGER NOT NULL,
    PRIMARY KEY (generation, step)
);
CREATE TABLE calibrations (         -- a judge held against labels
    judge BLOB NOT NULL,
    labels TEXT NOT NULL,           -- name of the label file and a piece of its hash
    scenario TEXT NOT NULL,         -- '' for all of them
    threshold REAL NOT NULL,
    true_positives INTEGER NOT NULL, false_positives INTEGER NOT NULL,
    true_negatives INTEGER NOT NULL, false_negatives INTEGER NOT NULL,
    unscored INTEGER NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (judge, labels, scenario, threshold)
) WITHOUT ROWID;
CREATE TABLE labels (               -- what people say of a part of a reply
    generation BLOB NOT NULL, part TEXT NOT NULL, labeller TEXT NOT NULL,
    unsafe INTEGER,                 -- NULL: the labeller could not tell
    note TEXT NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (generation, part, labeller)
) WITHOUT ROWID;
"""

MIGRATIONS: Final[tuple[str, ...]] = (_VERSION_1, _VERSION_2)
VERSION: Final = len(MIGRATIONS)
UNWRITABLE: Final = (sqlite3.Error, UnicodeEncodeError, OverflowError)
"""What the driver raises for a row it cannot write; the last two for text that is not Unicode and
for whole numbers beyond 64 bits."""


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema version of an open store; 0 for an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> int:
    """Bring a store to the current version and return the version it had.

    Raises StoreVersionError if a newer version of this project wrote it.
    """
    found = version_of(connection)
    refuse_newer(found)
    for number in range(found, VERSION):
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{MIGRATIONS[number]}\nPRAGMA user_version = {number + 1};\nCOMMIT;"
        )
    return found


def refuse_newer(version: int) -> None:
    """Raise StoreVersionError if ``version`` is newer than this version of the project knows."""
    if version > VERSION:
        raise StoreVersionError(
            f"the store has schema version {version}, this version of OpenSafeMLRM knows up to "
            f"{VERSION}; update OpenSafeMLRM to read it"
        )
