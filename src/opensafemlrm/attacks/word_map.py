"""Words that stand for other words, from a JSON file of the user's."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from opensafemlrm.attacks import typography
from opensafemlrm.errors import reason_of
from opensafemlrm.types import Item, canonical_json

if TYPE_CHECKING:
    from typing import Self

_WORD: Final = re.compile(r"\w+(?:[-'’]\w+)*")
_SHAPE: Final = 'a JSON object of words, such as {"lantern": "teapot"}'


@dataclass(frozen=True, slots=True)
class WordMap:
    """Words, in lower case, and what replaces each; it can be undone: no two share a stand-in."""

    words: Mapping[str, str]

    @classmethod
    def empty(cls) -> Self:
        """Return the map that replaces nothing."""
        return cls({})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a map. Raises ValueError if the file is not one, or cannot be undone."""
        try:
            loaded = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"the word map {path} cannot be read: {reason_of(error)}") from error
        if not isinstance(loaded, dict) or not loaded:
            raise ValueError(f"the word map {path} is not {_SHAPE}")
        words: dict[str, str] = {}
        for word, stand_in in loaded.items():
            for one in (word, stand_in):
                if not isinstance(one, str) or not _WORD.fullmatch(one):
                    raise ValueError(f"the word map {path}: {one!r} is not a word; give {_SHAPE}")
            if stand_in.lower() in {taken.lower() for taken in words.values()}:
                raise ValueError(f"the word map {path}: {stand_in!r} stands for two words")
            words[word.lower()] = stand_in
        return cls(words)

    def identity(self) -> str | None:
        """Return what makes a map the same as another: the hash of its words."""
        if not self.words:
            return None
        return hashlib.sha256(canonical_json(dict(self.words))).hexdigest()

    def replace(self, text: str, item: Item, attack: str) -> tuple[str, dict[str, str]]:
        """Return ``text`` with its known words replaced, and those words with their stand-ins.

        Raises AttackError if it knows no word of ``text``, or if a stand-in is there already,
        which would make the text say something else once it is undone.
        """
        replaced: dict[str, str] = {}

        def swap(word: re.Match[str]) -> str:
            stand_in = self.words.get(word[0].lower())
            if stand_in is None:
                return word[0]
            replaced[word[0].lower()] = stand_in
            return stand_in

        changed = _WORD.sub(swap, text)
        if not replaced:
            raise typography.refusal(attack, item, "the word map replaces no word of its question")
        present = {word.lower() for word in _WORD.findall(text)}
        for stand_in in replaced.values():
            if stand_in.lower() in present:
                reason = f"its question has the word {stand_in!r} already, which stands for another"
                raise typography.refusal(attack, item, reason)
        return changed, replaced
