"""What a tokenizer may read in a text: look-alikes as the signs of ASCII, unseen signs left out.

Tokenizers normalize (NFKC) and strip before they look for their control tokens, and models read
through both. A place in what they read leads back to the sign of the text that it came from.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

FULLWIDTH: Final = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},
    **str.maketrans("﹤﹥‹›〈〉⟨⟩〈〉∣ǀ¦￨ſKİı", "<><><><><>||||skii"),
}
"""The look-alikes that the first edition of the fence knew: each is one sign of ASCII."""
_ALIKE: Final = FULLWIDTH | str.maketrans("❬❭❮❯❰❱˂˃ᐸᐳ❘⏐│┃丨ᛁ▁K", "<><><><><>||||||_K")
LOOK_ALIKES: Final = "".join(
    map(chr, (*_ALIKE, *range(0xFE30, 0xFE6F), 0x2329, 0x232A, 0xFFE4, 0x107B6))
)
"""Signs that may be read as a sign of ASCII that is no letter or digit, brackets among them."""
_UNSEEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\ufffd\U000e0000-\U000e0fff]"
)
"""What is not seen (Unicode's Default_Ignorable_Code_Point) beside control and format characters,
and what stands for a character that was lost."""
_ODD: Final = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\xa0\xa6\xaa\xad\xb2\xb3\xb9\xba\xbc-\xbe\u0130-\u0133\u013f\u0140"
    "\u0149\u017f\u01c0-\u01cc\u01f1-\u01f3\u02b0-\u02b8\u02c2\u02c3\u02e0-\u02e4\u034f\u0600-\u0605"
    "\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1433\u1438\u16c1\u17b4\u17b5\u180b-\u180f"
    "\u1d2c-\u1d6a\u1d9c-\u1dbb\u1e9a\u2000-\u200f\u2024\u2028-\u202f\u2039\u203a\u2047-\u2049"
    "\u205f-\u20a8\u2100-\u218b\u2223\u2329\u232a\u23d0\u2460-\u24ea\u2502\u2503\u2581\u2758"
    "\u276c-\u2771\u27e8\u27e9\u2a74-\u2a76\u2c7c\u2c7d\u3000\u3008\u3009\u3164\u3200-\u325f"
    "\u3280-\u33ff\u4e28\ua7f2-\ua7f4\ufb00-\ufb06\ufb29\ufdfa-\ufe1f\ufe30-\ufe7e\ufeff-\uff5e"
    "\uffa0\uffe0-\ufffd\U00010780-\U000107ba\U000110bd-\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U0001d400-\U0001d7ff\U0001f100-\U0001f190"
    "\U0001fbf0-\U0001fbf9\U000e0000-\U000e0fff]"
)
"""Every sign that :func:`read_as` may change, and some that it leaves."""


_COMMON: Final = bytes((*b"\t\n\r", *range(32, 127)))


@functools.cache
def read_as(sign: str) -> str:
    """Return what one sign is read as: itself, signs of ASCII, or nothing."""
    if sign in "\t\n\r":
        return sign
    if _UNSEEN.match(sign) or unicodedata.category(sign) in ("Cc", "Cf"):
        return ""
    read = unicodedata.normalize("NFKC", sign.translate(_ALIKE)).translate(_ALIKE)
    return read if any(part.isascii() for part in read) else sign


@dataclass(frozen=True, slots=True)
class Normalized:
    """A text as it may be read, and where each sign of that stands."""

    text: str
    _reads: list[int]
    """The places in it at which a sign begins that is read as another, and goes on after one."""
    _signs: list[int]
    """Where these are in the text that was given."""

    def end(self, place: int) -> int:
        """Return the place behind the sign of the given text that the one at ``place`` is."""
        number = bisect_right(self._reads, place) - 1
        if number < 0:
            return place + 1
        # Of a sign that is read as several, each is the whole sign.
        return self._signs[number] + (1 if number % 2 == 0 else place - self._reads[number] + 1)


def uncommon(text: str) -> str:
    """Return the signs of ``text`` that are no printable ASCII, quickly: most texts have few."""
    signs = text.encode("utf-8", "surrogatepass").translate(None, _COMMON)
    return signs.decode("utf-8", "surrogatepass") if signs else ""


def read(text: str) -> str:
    """Return what ``text`` may be read as."""
    signs = uncommon(text)
    is_odd = signs and _ODD.search(signs)
    return _ODD.sub(lambda sign: read_as(sign[0]), text) if is_odd else text


def normalized(text: str) -> Normalized:
    """Return what ``text`` may be read as, in a time that grows with its length alone."""
    pieces: list[str] = []
    reads: list[int] = []
    signs: list[int] = []
    end = length = 0
    for match in _ODD.finditer(text) if _ODD.search(uncommon(text)) else ():
        place = match.start()
        instead = read_as(match[0])
        if instead != match[0]:
            pieces += (text[end:place], instead)
            length += place - end
            reads += (length, length := length + len(instead))
            signs += (place, end := place + 1)
    return Normalized("".join((*pieces, text[end:])) if pieces else text, reads, signs)
