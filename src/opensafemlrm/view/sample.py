"""One sample, whole: what was sent, what came back, what each judge said, and what made it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from opensafemlrm import reasoning
from opensafemlrm.store import Store, records
from opensafemlrm.store.named import recorded
from opensafemlrm.types import PARTS, Image, Item, Part, Prompt, Response, ResponseStatus, Trace

_KINDS: Final = ("dataset", "attack", "defense", "model")
# A search finds a prompt for each cell; all others are kept by attack.
_SAMPLE: Final = f"""
SELECT g.repeat, g.seed, g.created, g.splitter, ifnull(own.content, shared.content), c.sampling,
    {", ".join(f"(SELECT identity FROM components WHERE key = c.{kind})" for kind in _KINDS)},
    {records.ITEM_OF_I}, {records.RESPONSE_OF_G}
FROM generations g JOIN items i ON i.key = g.item JOIN cells c ON c.key = g.cell
LEFT JOIN prompts own ON own.attack = g.cell AND own.item = g.item AND own.seed = g.seed
LEFT JOIN prompts shared
    ON shared.attack = c.attack AND shared.item = g.item AND shared.seed = g.seed
WHERE g.key = ?
"""
_VERDICTS: Final = " UNION ALL ".join(
    f"SELECT m.label AS judge, '{part}' AS part, v.label, v.score, v.reason, v.rationale, "
    f'v.understood FROM judgements j JOIN verdicts v ON v.key = j."{part}" '
    "JOIN components m ON m.key = j.judge WHERE j.generation = ?"
    for part in PARTS
)


@dataclass(frozen=True, slots=True)
class StoredVerdict:
    """What a judge, or a person, said of one part."""

    judge: str
    part: str
    label: str
    score: float | None
    reason: str | None
    rationale: str
    understood: bool | None


@dataclass(frozen=True, slots=True)
class Step:
    """A request behind the reply, of a defense or a search."""

    purpose: str
    prompt: Prompt
    response: Response
    score: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything that the store has of a sample."""

    item: Item
    prompt: Prompt | None
    """``None`` where none was kept."""
    response: Response
    trace: Trace | None
    """``None`` where no reply came."""
    verdicts: list[StoredVerdict]
    labels: list[StoredVerdict]
    """What people said, by their names."""
    steps: list[Step]
    made_by: Mapping[str, Any]
    """Sampling, seed, repeat, time, and the identity of each component."""

    @property
    def texts(self) -> list[tuple[str, str]]:
        """The parts of the reply that have text: reasoning and answer, else the whole."""
        if self.trace is None:
            return []
        parts = [(str(p), self.trace.part(p)) for p in (Part.REASONING, Part.ANSWER)]
        texts = [(name, text) for name, text in parts if text is not None]
        whole = self.trace.part(Part.FULL)
        return texts or ([(str(Part.FULL), whole)] if whole else [])

    def of(self, part: str) -> list[StoredVerdict]:
        """Return the verdicts of judges and people on one part."""
        return [v for v in (*self.verdicts, *self.labels) if v.part == part]


def read_sample(store: Store, key: bytes) -> Sample | None:
    """Return the sample with that key, ``None`` if there is none. Raises StoreError."""
    row = store.connection.execute(_SAMPLE, (key,)).fetchone()
    if row is None:
        return None
    repeat, seed, created, parser, content, sampling, *more = row
    identities, item, columns = more[:4], more[4:11], more[11:]
    response = records.response_from_row(columns)
    came = response.status in (ResponseStatus.OK, ResponseStatus.TRUNCATED)
    parts = {kind: json.loads(identity) for kind, identity in zip(_KINDS, identities, strict=True)}
    made_by = {
        "sampling": recorded(json.loads(sampling), parts["model"], parts["dataset"]),
        "seed": seed,
        "repeat": repeat,
        "created": created,
        **parts,
    }
    return Sample(
        records.item_from_row(item, store.image),
        None if content is None else records.prompt_from_json(content, store.image),
        response,
        reasoning.parse(response, records.format_of(parser)) if came else None,
        _verdicts(store, key),
        _labels(store, key),
        _steps(store, key),
        made_by,
    )


def images_of(prompt: Prompt | None, item: Item) -> list[Image]:
    """Return the pictures that were sent, or the item's own where no prompt was kept."""
    return list(item.images if prompt is None else prompt.images)


def _verdicts(store: Store, key: bytes) -> list[StoredVerdict]:
    rows = store.connection.execute(f"{_VERDICTS} ORDER BY judge", (key,) * len(PARTS))
    return [
        StoredVerdict(
            judge, part, label, score, reason, why, None if understood is None else bool(understood)
        )
        for judge, part, label, score, reason, why, understood in rows
    ]


def _labels(store: Store, key: bytes) -> list[StoredVerdict]:
    rows = store.connection.execute(
        "SELECT labeller, part, unsafe, response_class, note, understood FROM labels "
        "WHERE generation = ? ORDER BY labeller, created",
        (key,),
    )
    words = {None: "could not tell", 0: "safe", 1: "unsafe"}
    return [
        StoredVerdict(
            name,
            part,
            words[unsafe],
            None,
            response_class and f"class {response_class}",
            note,
            None if understood is None else bool(understood),
        )
        for name, part, unsafe, response_class, note, understood in rows
    ]


def _steps(store: Store, key: bytes) -> list[Step]:
    columns = records.RESPONSE_COLUMNS
    rows = store.connection.execute(
        f"SELECT purpose, prompt, score, {columns} FROM calls WHERE generation = ? ORDER BY step",
        (key,),
    )
    return [
        Step(
            purpose,
            records.prompt_from_json(prompt, store.image),
            records.response_from_row(response),
            score,
        )
        for purpose, prompt, score, *response in rows
    ]
