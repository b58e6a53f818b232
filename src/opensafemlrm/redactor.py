"""Strikes given secrets out of text, however they are escaped or encoded there."""

from __future__ import annotations

import base64
import binascii
import functools
import html
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any, AnyStr, Final
from urllib.parse import quote, quote_plus

MARK: Final = "[secret]"
MIN_KEY_LENGTH: Final = 8
"""Characters from which on a key cannot be a word of a model's own."""
MIN_LENGTH: Final = 4
"""Characters from which on a secret is struck out of messages: shorter ones occur in any text."""

_ESCAPING: Final = "\\%&="
"""What every escape has one of."""
_ESCAPES: Final = re.compile(r"[\\%&]|=[0-9A-F]{2}")
_INVISIBLE: Final = "\0\u00ad\u200b\u200c\u200d\u2060\ufeff"
_DROPPED: Final = dict.fromkeys(map(ord, _INVISIBLE))
_BLANK: Final = re.compile(rf"(?<!\\)\\++(?:[nrtbf]|(?=[^ux0-7]))|[\s{_INVISIBLE}]+")
_ESCAPED: Final = re.compile(
    r"(?<!\\)\\++(?:u(?:\{(?P<w>[0-9a-fA-F]{1,6})\}|(?P<u>[0-9a-fA-F]{4}))"
    r"|U(?P<U>[0-9a-fA-F]{8})|x\{?(?P<x>[0-9a-fA-F]{2})\}?|(?P<o>[0-3][0-7]{2}))"
    r"|%u(?P<v>[0-9a-fA-F]{4})|%(?P<p>[0-9a-fA-F]{2})|=(?P<q>[0-9A-F]{2})"
    r"|&\#0*+(?P<d>\d{1,7});?|&\#[xX]0*+(?P<h>[0-9a-fA-F]{1,6});?|(?P<n>&[A-Za-z]{2,8};)"
)
_SHORTEST: Final = 12
"""Characters of base64 that a key takes at least."""
_BASE64: Final = re.compile(rf"[A-Za-z0-9+/_-]{{{_SHORTEST},}}+")
_HEX: Final = re.compile(r"[0-9a-fA-F]{16,}+")
_DEPTH: Final = 2
"""How often what was encoded may be encoded again; one more layer is among the forms of a key."""
_LINES: Final = re.compile(r"(?<!\\)\\++[nr]|[\r\n]++[ \t]*+")
_PRINTED: Final = re.compile(rf"[ -~\s]{{{MIN_KEY_LENGTH},}}+")
_NO_WORDS: Final = bytes(c for c in range(128) if not chr(c).isalnum())
_NO_WORD: Final = re.compile(r"[^a-z0-9]+")
_TAGS: Final = re.compile("[\U000e0020-\U000e007e]")
_OTHERS: Final = re.compile(r"[^\x00-\x7f]")
_WINDOW: Final = 2**15
"""Characters that are looked at together: the places of each are held meanwhile."""
_OVERLAP: Final = 2**12
_SHORT: Final = 64
"""Characters up to which a text is remembered: the names in a server's replies come again."""
_ROUNDS: Final = 4
"""How often a text may be escaped upon itself."""


class Redactor:
    """Strikes given secrets out of text, whole and in every escaping that a server may repeat them
    in: JSON, URL, HTML, quoted-printable, lists of numbers, hexadecimal, base64 and base32, UTF-16,
    each upon another; backwards, in look-alikes of full width, and with signs in between.

    What is compressed or enciphered is not looked into. Secrets shorter than ``MIN_LENGTH`` are
    left.
    """

    def __init__(self, values: Iterable[str]) -> None:
        values = [value for value in values if len(value) >= MIN_LENGTH]
        self._exact = {value.lower() for value in values}
        """What is looked for in the text as it is, in small letters."""
        self._forms = {form for value in values for form in _forms(value)}
        """What is looked for with the blanks taken out."""
        self._bare = {form for value in values for form in _bare_forms(value)}
        """What is looked for with letters and digits alone left."""

    def __call__(self, text: str) -> str:
        """Return ``text`` with ``[secret]`` in place of each."""
        if not self._exact:
            return text
        return _remembered(self, text) if len(text) <= _SHORT else self._struck_out(text)

    def _struck_out(self, text: str) -> str:
        spans: set[tuple[int, int]] = set()
        written: list[str] = []
        done = 0
        for start in range(0, len(text), _WINDOW):
            first, end = max(0, start - _OVERLAP), start + _WINDOW
            window = text[first:end]
            if self._may_hold(window):
                spans.update((first + begin, first + stop) for begin, stop in self._spans(window))
            if spans:
                # The next window finds none that begins before its own first character.
                settled = end - _OVERLAP if end < len(text) else len(text)
                now = sorted(span for span in spans if span[0] < settled)
                spans.difference_update(now)
                pieces = []
                for begin, stop in now:
                    if begin >= done:
                        pieces += [text[done:begin], MARK]
                    done = max(done, stop)
                written.append("".join(pieces))
        return "".join((*written, text[done:])) if written else text

    def value(self, value: Any) -> Any:
        """Return parsed JSON with each secret struck out of all texts in it."""
        if not self._exact:
            return value
        if isinstance(value, str):
            return self(value)
        if isinstance(value, list):
            return [self.value(inner) for inner in value]
        if isinstance(value, dict):
            return {self(key): self.value(inner) for key, inner in value.items()}
        return value

    def _may_hold(self, text: str, depth: int = _DEPTH) -> bool:
        """Whether there is anything to strike out: most texts are spared the closer look."""
        for _ in range(_ROUNDS):
            lowered = text.lower()
            squeezed = "".join(lowered.split())
            if "\\" in squeezed:
                for escape in ("\\n", "\\r", "\\t", "\\b", "\\f", "\\"):
                    squeezed = squeezed.replace(escape, "")
            if "\0" in squeezed or not squeezed.isascii():
                squeezed = squeezed.translate(_DROPPED)
            if _holds(lowered, self._exact) or _holds(squeezed, self._forms):
                return True
            plain = lowered
            if not plain.isascii():
                plain = unicodedata.normalize("NFKC", _TAGS.sub(_folded, plain)).lower()
            bare = plain.encode("ascii", "ignore").translate(None, _NO_WORDS)
            if _holds(bare, self._bare):
                return True
            if depth and any(self._may_hold(part, depth - 1) for part in _printed(text)):
                return True
            escaped = _holds(text, _ESCAPING) and _ESCAPES.search(text)
            decoded = _ESCAPED.sub(_unescaped, text) if escaped else text
            if decoded == text:
                return False
            text = decoded
        return False

    def _spans(
        self, text: str, places: _Places | None = None, depth: int = _DEPTH
    ) -> Iterator[tuple[int, int]]:
        """Yield where secrets begin and end, whatever stands between their characters."""
        places = places or [(i, i + 1) for i in range(len(text))]
        bare_forms = {form.decode() for form in self._bare}
        for _ in range(_ROUNDS):
            lowered = _replaced(_UPPER, lambda match: match[0].lower(), text, places)
            squeezed = _replaced(_BLANK, lambda _: "", *lowered)
            plain = _replaced(_OTHERS, _folded, *lowered)
            for forms, (among, where) in (
                (self._exact, lowered),
                (self._forms, squeezed),
                (bare_forms, _replaced(_NO_WORD, lambda _: "", *plain)),
            ):
                for form in forms:
                    at = among.find(form)
                    while at >= 0:
                        yield where[at][0], where[at + len(form) - 1][1]
                        at = among.find(form, at + 1)
            lines, line_places = _replaced(_LINES, lambda _: "", text, places)
            for run, first, bits in _runs(lines) if depth else ():
                if self._may_hold(run, depth - 1):
                    inner = [
                        (line_places[first + i // bits][0], line_places[first + (i + 7) // bits][1])
                        for i in range(0, len(run) * 8, 8)
                    ]
                    yield from self._spans(run, inner, depth - 1)
            before = text
            text, places = _replaced(_ESCAPED, _unescaped, text, places)
            if text == before:
                return


def _holds(text: AnyStr, forms: Iterable[AnyStr]) -> bool:
    for form in forms:  # noqa: SIM110 # any() takes twice as long, for each reply
        if form in text:
            return True
    return False


@functools.lru_cache(1024)
def _remembered(redactor: Redactor, text: str) -> str:
    """Return what is left of a short text."""
    return redactor._struck_out(text)


_UPPER: Final = re.compile("[^\\x00-@\\[-\\x7f]")
_Places = list[tuple[int, int]]


def _replaced(
    pattern: re.Pattern[str],
    change: Callable[[re.Match[str]], str],
    text: str,
    places: _Places,
) -> tuple[str, _Places]:
    """Replace what ``pattern`` finds, and say of each character left where it came from."""
    pieces: list[str] = []
    origins: _Places = []
    end = 0
    for match in pattern.finditer(text):
        start, stop = match.span()
        new = change(match)
        pieces += [text[end:start], new]
        origins += places[end:start]
        origins += [(places[start][0], places[stop - 1][1])] * len(new)
        end = stop
    return "".join((*pieces, text[end:])), origins + places[end:]


def _printed(text: str) -> Iterator[str]:
    """Yield what can be read of all that is encoded in a text."""
    lines = "".join(line.strip() for line in text.splitlines()) if "\n" in text else text
    if "\\" in lines:
        lines = lines.replace("\\\\", "\\").replace("\\n", "").replace("\\r", "")
    for word in lines.split():
        if len(word) >= _SHORTEST:
            for run, _, _ in _runs(word):
                yield from _PRINTED.findall(run.replace("\0", ""))


def _runs(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield what each stretch of base64 and hexadecimal holds, wherever in it that begins.

    With it, the place of its first character, and how many bits of it each character stands for.
    """
    for match in _BASE64.finditer(text):
        run = match[0].replace("-", "+").replace("_", "/")
        for skipped in range(4):
            part = run[skipped : len(run) - ((len(run) - skipped) % 4 == 1)]
            data = binascii.a2b_base64(part + "=" * (-len(part) % 4))
            yield data.decode("latin-1"), match.start() + skipped, 6
    for match in _HEX.finditer(text):
        for skipped in range(2):
            end = len(match[0]) - (len(match[0]) - skipped) % 2
            run = bytes.fromhex(match[0][skipped:end]).decode("latin-1")
            yield run, match.start() + skipped, 4


def _folded(match: re.Match[str]) -> str:
    """Return a letter of ASCII for its look-alike of full width, or of the invisible tags."""
    code = ord(match[0])
    plain = chr(code - 0xE0000) if 0xE0020 <= code <= 0xE007E else match[0]
    return unicodedata.normalize("NFKC", plain).lower()


def _unescaped(escape: re.Match[str]) -> str:
    kind = escape.lastgroup or "n"
    if kind == "n":
        return html.unescape(escape[0])
    code = int(escape[kind], {"o": 8, "d": 10}.get(kind, 16))
    return chr(code) if code < 0xD800 else "\ufffd"


def _forms(value: str) -> Iterator[str]:
    """Yield, in small letters, what a secret may be found as."""
    yield from (form.lower() for form in (quote(value, safe=""), quote_plus(value)))
    squeezed = "".join(value.split()).lower()
    if len(squeezed) < MIN_KEY_LENGTH:
        return
    yield squeezed
    yield squeezed[::-1]
    data = value.encode("utf-8", "replace")
    for bits, block, encode in (
        (6, 3, base64.b64encode),
        (5, 5, base64.b32encode),
        (4, 1, binascii.hexlify),
    ):
        for before in range(block):
            # Without the first and last characters, which the bytes around it have a share in.
            first = math.ceil(before * 8 / bits)
            last = (before + len(data)) * 8 // bits
            form = encode(b"\0" * before + data)[first:last].lower().decode()
            yield form
            yield form.replace("+", "-").replace("/", "_")


def _bare_forms(value: str) -> Iterator[bytes]:
    """Yield the letters and digits of a secret, and of lists of its bytes as numbers."""
    bare = re.sub(r"[^a-z0-9]+", "", value.lower())
    if len(bare) >= MIN_KEY_LENGTH and not (bare.isdigit() or bare.isalpha()):
        yield bare.encode()
        yield bare[::-1].encode()
    data = value.encode("utf-8", "replace")
    if len(data) < MIN_KEY_LENGTH:
        return
    # As in 115, 0x73, \\x{73}, U+0073, 0o163, 0b1110011 and 115u8.
    for before, width in (
        *(("", width) for width in ("d", "03d", "02x", "04x", "06x", "08x", "03o", "o", "08b")),
        *(("0x", "02x"), ("0x", "04x"), ("x", "02x"), ("x", "x"), ("u", "04x"), ("u8", "d")),
        *(("0o", "o"), ("0o", "03o"), ("0b", "b"), ("0b", "08b")),
    ):
        yield before.join(format(byte, width) for byte in data).encode()
