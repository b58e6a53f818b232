"""Words that stand for other words, from a JSON file of the user's: one map, or one an item."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from opensafemlrm.attacks import needs
from opensafemlrm.errors import reason_of
from opensafemlrm.files import read_as
from opensafemlrm.types import Item, canonical_json

_WORD: Final = re.compile(r"\w+(?:[-'’]\w+)*")
_SHAPE: Final = (
    'a JSON object of words, such as {"lantern": "teapot"}, or of such objects by the ids of items'
)
_ALL: Final = ""
"""Stands for an id where one map serves all items."""


@dataclass(frozen=True, slots=True)
class WordMap:
    """Words, in lower case, and what replaces each, by the ids of items; each map can be undone:
    no two of its words share a stand-in.
    """

    words: Mapping[str, Mapping[str, str]]

    @classmethod
    def empty(cls) -> Self:
        """Return the map that replaces nothing."""
        return cls({})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a map. Raises ValueError if the file is not one, or cannot be undone."""
        try:
            loaded = read_as(path, json.loads)
        except (OSError, ValueError) as error:
            raise ValueError(f"the word map {path} cannot be read: {reason_of(error)}") from error
        by_item = isinstance(loaded, dict) and all(isinstance(v, dict) for v in loaded.values())
        maps = loaded if by_item else {_ALL: loaded}
        if not maps or not all(isinstance(words, dict) and words for words in maps.values()):
            raise ValueError(f"the word map {path} is not {_SHAPE}")
        return cls({identity: _checked(words, path) for identity, words in maps.items()})

    def identity(self) -> str | None:
        """Return what makes a map the same as another: the hash of its words."""
        if not self.words:
            return None
        return hashlib.sha256(
            canonical_json({key: dict(words) for key, words in self.words.items()})
        ).hexdigest()

    def replace(self, text: str, item: Item, attack: str) -> tuple[str, dict[str, str]]:
        """Return ``text`` with its known words replaced, and those words with their stand-ins.

        Raises AttackError if it knows no word of ``text``, or if a stand-in is there already,
        which would make the text say something else once it is undone.
        """
        words = self.words.get(item.id) or self.words.get(_ALL) or {}
        replaced: dict[str, str] = {}

        def swap(word: re.Match[str]) -> str:
            stand_in = words.get(word[0].lower())
            if stand_in is None:
                return word[0]
            replaced[word[0].lower()] = stand_in
            return stand_in

        changed = _WORD.sub(swap, text)
        if not replaced:
            raise needs.refusal(attack, item, "the word map replaces no word of its title")
        present = {word.lower() for word in _WORD.findall(text)}
        for stand_in in replaced.values():
            if stand_in.lower() in present:
                reason = f"its title has the word {stand_in!r} already, which stands for another"
                raise needs.refusal(attack, item, reason)
        return changed, replaced


def _checked(words: Mapping[str, object], path: Path) -> dict[str, str]:
    """Return one map, its words in lower case. Raises ValueError if it cannot be undone."""
    checked: dict[str, str] = {}
    for word, stand_in in words.items():
        for one in (word, stand_in):
            if not isinstance(one, str) or not _WORD.fullmatch(one):
                raise ValueError(f"the word map {path}: {one!r} is not a word; give {_SHAPE}")
        taken = str(stand_in)
        if taken.lower() in {other.lower() for other in checked.values()}:
            raise ValueError(f"the word map {path}: {taken!r} stands for two words")
        checked[word.lower()] = taken
    return checked
