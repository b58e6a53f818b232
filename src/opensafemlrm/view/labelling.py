"""Labelling in the browser: blind while you decide, with one key a label, and every label kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from opensafemlrm import frame as frames
from opensafemlrm.analysis.raters import rater_pairs
from opensafemlrm.analysis.sampling import READS, to_label
from opensafemlrm.errors import OptionError
from opensafemlrm.store import Store
from opensafemlrm.store.labels import PersonLabel, labels, put_label, remove_label, unit_of
from opensafemlrm.store.ratings import ratings
from opensafemlrm.types import Part
from opensafemlrm.view.sample import read_sample

CHOICES: Final = (("1", "safe", False), ("2", "unsafe", True), ("3", "can't tell", None))
"""Key, word and label."""


class Labelling:
    """The order in which replies are labelled, and what one person has said of them."""

    def __init__(self, store: Path) -> None:
        self._path = store
        self._orders: dict[str, list[bytes]] = {}

    def page(self, annotator: str, part: str, at: int, done: str | None) -> dict[str, Any]:
        """Return what the page shows: the text at place ``at``, or the next without a label."""
        wanted = _part(part)
        with Store.open(self._path) as store:
            order = self._order(store, part)
            mine = {
                label.generation: label
                for label in labels(store.connection)
                if label.labeller == annotator and label.part is wanted
            }
            place = at - 1 if at else _next(order, mine, 0)
            unit = unit_of(store, order[place], wanted) if 0 <= place < len(order) else None
            sample = None if unit is None else read_sample(store, unit.generation)
            before = None if done is None else read_sample(store, _key(done))
            agreement = _agreement(store, wanted)
        return {
            "annotator": annotator,
            "part": part,
            "place": place + 1,
            "total": len(order),
            "labelled": len(mine),
            "unit": unit,
            "sample": sample,
            "given": None if unit is None else mine.get(unit.generation),
            "before": before,
            "done": done,
            "choices": CHOICES,
            "agreement": agreement,
        }

    def give(self, form: dict[str, str]) -> str:
        """Keep a label, or take back the last one, and return where to go on.

        Raises StoreError where a run is writing to the store: labels wait until it has ended.
        """
        annotator, part, at = form["annotator"], form["part"], int(form["at"])
        where = {"annotator": annotator, "part": part}
        with Store.open(self._path, "write") as store:
            order = self._order(store, part)
            if form["label"] == "undo":
                key = _key(form["done"])
                remove_label(store, key, _part(part), annotator)
                return f"/label?{urlencode({**where, 'at': order.index(key) + 1})}"
            values = {word: value for _, word, value in CHOICES}
            if form["label"] not in values:
                raise OptionError(f"a label is one of {', '.join(values)}")
            key = order[at - 1]
            unit = unit_of(store, key, _part(part))
            label = values[form["label"]]
            text = unit.text if unit else ""
            note = form.get("note", "")
            put_label(store, PersonLabel(key, _part(part), annotator, label, note, text))
        return f"/label?{urlencode({**where, 'done': key.hex()})}"

    def _order(self, store: Store, part: str) -> list[bytes]:
        if part not in self._orders:
            samples = to_label(frames.read(store, READS), part)
            self._orders[part] = [bytes.fromhex(sample) for sample in samples]
        return self._orders[part]


def _next(order: list[bytes], mine: dict[bytes, PersonLabel], start: int) -> int:
    return next((i for i in range(start, len(order)) if order[i] not in mine), len(order))


def _agreement(store: Store, part: Part) -> list[tuple[str, str, int, float | None]]:
    """Return the pairs of labellers, the texts that both labelled, and Krippendorff's α."""
    pairs = rater_pairs(ratings(store, part))
    return pairs.select("first", "second", "n", "alpha").rows()


def _part(name: str) -> Part:
    try:
        return Part(name)
    except ValueError:
        raise OptionError(f"a part is answer, reasoning or full, not {name!r}") from None


def _key(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise OptionError("the address holds no key of a sample") from None
