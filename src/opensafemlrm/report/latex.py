"""Setting a table in LaTeX: in one column of a paper, and over pages where it is long.

LaTeX alone knows how wide a text is set. Here it is estimated from above, by the widths of Computer
Modern, the widest of the usual fonts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from opensafemlrm.report.grid import without_repeats
from opensafemlrm.text import for_latex, for_terminal

COLUMN: Final = 219.0
"""Points of the narrowest column of usual styles (ACL; ICML has 235, two-column article 230)."""
PAGE: Final = 340.0
"""Points across the text of ``article``, the narrowest of usual styles in one column."""
_MAX_HEIGHT: Final = 470.0
"""Points of height from which a table is set over pages: a float has to fit on one."""
_SIZES: Final = ((r"\footnotesize", 8.0), (r"\scriptsize", 7.3), (r"\tiny", 6.3))
"""Sizes of type, with the points of an em: small sizes are set wider."""
_GAP: Final = 6.0
"""Points between two columns."""
_LEAST_TEXT: Final = 48.0
"""Points below which a column of text is not narrowed."""
_CHARACTERS: Final = (
    (0.31, "iljtf.,;:'|!()[]/ "),
    (0.41, "rsceza-"),
    (0.80, "mM%≥≤−<>+="),
    (0.98, "wWQO@"),
    (0.75, "ABCDEFGHKNPRSTUVXYZL"),
)
_EM: Final = {character: width for width, some in _CHARACTERS for character in some}
_BREAKS: Final = re.compile(r"(?<=[/_.,:=\-\]])(?=\w)|(?<=[^\W_]{16})(?=\w)")
"""Where a name that is too long for its line may be broken."""


@dataclass(frozen=True, slots=True)
class Content:
    """A table to set: nothing in it is escaped yet."""

    name: str
    caption: str
    titles: Sequence[str]
    is_text: Sequence[bool]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]

    @property
    def names(self) -> int:
        """How many of the first columns may become a line above the rows they name."""
        return next(
            (n for n, text in enumerate(self.is_text[1:]) if not text), len(self.titles) - 1
        )


@dataclass(frozen=True, slots=True)
class _Fit:
    """How a table fits: type, columns that are headings above rows, and widths of text."""

    size: str
    headings: int
    widths: Sequence[float]
    """Points of each column of text that is narrowed; 0 for all others."""
    room: float


def latex(content: Content) -> str:
    """Return the table in LaTeX.

    It needs ``booktabs``, and ``longtable`` where it is too high for a page. Leading names become a
    line above the rows they name as far as the width asks for it, then texts are folded, then type
    is made smaller; a table that still does not fit a column spans two (``table*``).
    """
    fit = _fit(content, COLUMN)
    is_wide = fit is None
    fit = fit or _fit(content, PAGE) or _smallest(content)
    natural = [
        width or own for width, own in zip(fit.widths, _natural(content, fit.size), strict=True)
    ]
    too_wide = _total(natural[fit.headings :]) > PAGE
    if _height(content, fit) > _MAX_HEIGHT:
        # Longtable knows no columns: it has the whole page.
        fit = _fit(content, PAGE) or fit
        lines = _over_pages(content, fit)
    else:
        lines = _float(content, fit, "table*" if is_wide else "table")
    advice = ["% wider than a page: `safemlrm table` sets fewer columns with --columns"] * too_wide
    return "\n".join([*advice, *lines, ""])


def _float(content: Content, fit: _Fit, environment: str) -> Iterator[str]:
    yield r"% needs \usepackage{booktabs}"
    yield rf"\begin{{{environment}}}"
    yield r"\centering\sloppy"
    yield rf"\caption{{{_breakable(content.caption)}}}"
    yield rf"\label{{tab:{content.name}}}"
    yield rf"{fit.size}\setlength{{\tabcolsep}}{{{_GAP / 2:g}pt}}"
    yield rf"\begin{{tabular}}{{{_columns(content, fit)}}}"
    yield r"\toprule"
    yield _head(content, fit)
    yield r"\midrule"
    yield from _body(content, fit)
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield from _notes(content)
    yield rf"\end{{{environment}}}"


def _over_pages(content: Content, fit: _Fit) -> Iterator[str]:
    width = len(content.titles) - fit.headings
    yield r"% needs \usepackage{booktabs,longtable}"
    yield rf"{{{fit.size}\sloppy\setlength{{\tabcolsep}}{{{_GAP / 2:g}pt}}"
    yield r"\setlength{\LTcapwidth}{\linewidth}"
    yield rf"\begin{{longtable}}{{{_columns(content, fit)}}}"
    yield rf"\caption{{{_breakable(content.caption)}}}\label{{tab:{content.name}}} \\"
    yield r"\toprule"
    yield _head(content, fit)
    yield r"\midrule"
    yield r"\endfirsthead"
    yield r"\toprule"
    yield _head(content, fit)
    yield r"\midrule"
    yield r"\endhead"
    yield rf"\midrule \multicolumn{{{width}}}{{r@{{}}}}{{continued}} \\"
    yield r"\endfoot"
    yield r"\bottomrule"
    yield r"\endlastfoot"
    yield from _body(content, fit)
    yield r"\end{longtable}"
    yield from _notes(content)
    yield "}"


def _columns(content: Content, fit: _Fit) -> str:
    kinds = [
        f"p{{{width:.0f}pt}}" if width else "l" if is_text else "r"
        for width, is_text in zip(fit.widths, content.is_text, strict=True)
    ]
    return "@{}" + "".join(kinds[fit.headings :]) + "@{}"


def _head(content: Content, fit: _Fit) -> str:
    return _line(content.titles[fit.headings :], fit.widths[fit.headings :])


def _body(content: Content, fit: _Fit) -> Iterator[str]:
    columns = len(content.titles) - fit.headings
    above: Sequence[str] = ()
    heading = ""
    for number, row in enumerate(content.rows):
        names, cells = ", ".join(row[: fit.headings]), row[fit.headings :]
        if names != heading:
            heading, above = names, ()
            if number:
                yield r"\addlinespace"
            kind = "l" if _width(names, fit.size) <= fit.room else f"p{{{fit.room:.0f}pt}}"
            yield rf"\multicolumn{{{columns}}}{{@{{}}{kind}@{{}}}}{{{_breakable(names)}}} \\"
        changed = without_repeats(cells, above, content.is_text[fit.headings :])
        above = cells
        yield _line(changed, fit.widths[fit.headings :])


def _line(cells: Sequence[str], widths: Sequence[float]) -> str:
    escaped = (
        rf"{{\raggedright {_breakable(cell)}\par}}" if width and cell else for_latex(cell)
        for cell, width in zip(cells, widths, strict=True)
    )
    return " & ".join(escaped) + r" \\"


def _notes(content: Content) -> Iterator[str]:
    if content.notes:
        yield r"\par\medskip{\footnotesize\raggedright"
        yield from (rf"{_breakable(note)}\par" for note in content.notes)
        yield "}"


def _breakable(text: str) -> str:
    """Return ``text`` in LaTeX; names that are longer than a line's end may break."""
    words = for_terminal(text).split(" ")
    return " ".join(
        r"\allowbreak{}".join(map(for_latex, _BREAKS.split(word)))
        if len(word) > 12
        else for_latex(word)
        for word in words
    )


def _fit(content: Content, room: float) -> _Fit | None:
    """Return how the table fits into ``room`` points; ``None`` where it does not in usual type."""
    for size, _ in _SIZES[:2]:
        natural = _natural(content, size)
        for headings in range(content.names + 1):
            if _total(natural[headings:]) <= room:
                return _Fit(size, headings, [0.0] * len(natural), room)
        for headings in range(content.names + 1):
            if widths := _narrowed(content, natural, headings, room):
                return _Fit(size, headings, widths, room)
    return None


def _smallest(content: Content) -> _Fit:
    size = _SIZES[-1][0]
    natural = _natural(content, size)
    widths = _narrowed(content, natural, content.names, PAGE) or [0.0] * len(natural)
    return _Fit(size, content.names, widths, PAGE)


def _narrowed(
    content: Content, natural: Sequence[float], headings: int, room: float
) -> list[float] | None:
    """Return the widths of text columns that are folded to fit; ``None`` where numbers do not."""
    widths = [0.0] * len(natural)
    taken = list(natural)
    while _total(taken[headings:]) > room:
        wide = [
            place
            for place in range(headings, len(natural))
            if content.is_text[place] and taken[place] > _LEAST_TEXT
        ]
        if not wide:
            return None
        widest = max(wide, key=taken.__getitem__)
        over = _total(taken[headings:]) - room
        taken[widest] = widths[widest] = max(
            _LEAST_TEXT, taken[widest] - max(over / len(wide), 1.0)
        )
    return widths


def _natural(content: Content, size: str) -> list[float]:
    columns = zip(content.titles, *content.rows, strict=True)
    return [max(_width(cell, size) for cell in column) for column in columns]


def _total(widths: Sequence[float]) -> float:
    return sum(widths) + _GAP * (len(widths) - 1)


def _width(text: str, size: str) -> float:
    return dict(_SIZES)[size] * 1.07 * _ems(text)


@lru_cache(maxsize=4096)
def _ems(text: str) -> float:
    """Return how wide a text is in em: the same in every size that is tried."""
    return sum(_EM.get(character, 0.54) for character in for_terminal(text))


def _height(content: Content, fit: _Fit) -> float:
    """Return about how many points a table takes, with its caption and notes."""
    lines = 0.0
    heading: tuple[str, ...] = ()
    for row in content.rows:
        if fit.headings and tuple(row[: fit.headings]) != heading:
            heading = tuple(row[: fit.headings])
            lines += 1.5
        lines += max(
            -(-_width(cell, fit.size) * 1.15 // width) if width else 1.0
            for cell, width in zip(row, fit.widths, strict=True)
        )
    words = sum(-(-_width(note, r"\footnotesize") * 1.1 // fit.room) for note in content.notes)
    caption = -(-_width(content.caption, r"\footnotesize") * 1.4 // fit.room)
    return 10.0 * (lines + words) + 12.5 * caption + 40
