"""One renderer for every table: typed rows in, text, Markdown, CSV, JSON or LaTeX out.

A table says what its columns are; the renderer knows the formats. Text, Markdown and LaTeX are
for people: rates in per cent with one decimal, intervals in one cell, what is the same in every
row in a line above the table. CSV and JSON are for programs: every field of the row by its name,
rates as fractions, nothing rounded.
"""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final, Protocol

from opensafemlrm.report.grid import grid
from opensafemlrm.text import for_csv_cell, for_latex, for_markdown, for_terminal

NOT_MEASURED: Final = "–"
SIMULATED: Final = " (simulated)"
SIMULATED_NOTE: Final = (
    "(simulated): the replies are drawn from published score histograms, not written by the model."
)
WIDTH: Final = 100
_CODES_SHOWN: Final = 5
_NAMES: Final = ("model", "dataset", "attack", "defense", "judge", "sampling")


class Format(StrEnum):
    """What a table can be rendered to."""

    TEXT = "text"
    MD = "md"
    CSV = "csv"
    JSON = "json"
    LATEX = "latex"


class Form(StrEnum):
    """How a value is shown to people. ``None`` is shown as a dash in all of them."""

    TEXT = "text"
    COUNT = "count"
    """A whole number, with a comma at thousands."""
    NUMBER = "number"
    """A number with two decimals, or none where it is whole."""
    THRESHOLD = "threshold"
    """A number with the digits it has."""
    PERCENT = "percent"
    """A fraction, in per cent with one decimal."""
    INTERVAL = "interval"
    """Two fractions, in per cent: ``12.3–20.1``."""
    POINTS = "points"
    """A difference of fractions, in percentage points with its sign: ``+12.3``."""
    POINTS_INTERVAL = "points_interval"
    """Two of them: ``+1.2 to +20.1``."""
    RATIO = "ratio"
    """A ratio with two decimals."""
    RATIO_INTERVAL = "ratio_interval"
    """Two ratios; ``≥ 2.10`` where there is no upper end."""
    DECIMAL = "decimal"
    """A number from −1 to 1 with two decimals, such as a correlation."""
    DECIMAL_INTERVAL = "decimal_interval"
    """Two of them: ``0.12–0.45``."""
    P_VALUE = "p_value"
    """A p-value with three decimals, or ``<0.001``."""
    TALLY = "tally"
    """A mapping of names to counts, the first few of them."""


class WhenConstant(StrEnum):
    """What becomes of a column that holds the same in every row."""

    KEEP = "keep"
    CAPTION = "caption"
    """Its value is told in the line above the table."""
    DROP_IF_ZERO = "drop_if_zero"
    """It is left out where it holds 0 or nothing throughout."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column for people: the field ``key`` of the row under ``title``, in some form.

    ``upto`` is the field that ends an interval. ``simulated`` is the field that says whether what
    is named in this column is simulated, which is then written behind the name.
    """

    key: str
    title: str
    form: Form = Form.TEXT
    constant: WhenConstant = WhenConstant.KEEP
    upto: str = ""
    simulated: str = ""

    @property
    def is_text(self) -> bool:
        """Whether it is set to the left and may be folded; numbers are never folded or cut."""
        return self.form in (Form.TEXT, Form.TALLY, Form.THRESHOLD)

    def show(self, row: Any) -> str:
        """Return the cell of ``row``, not escaped for anything yet."""
        value = getattr(row, self.key)
        if value is None or value == {}:
            return NOT_MEASURED
        if self.form in _INTERVALS:
            return _INTERVALS[self.form](value, getattr(row, self.upto))
        marked = self.simulated and getattr(row, self.simulated)
        return _FORMS[self.form](value) + (SIMULATED if marked else "")


@dataclass(frozen=True, slots=True)
class Table:
    """A table: typed rows, and what people are shown of them.

    ``rows`` are instances of the dataclass ``row_type``; ``columns`` are for text, Markdown and
    LaTeX; ``left_out`` names fields that CSV and JSON do without. ``caption`` says how to read it,
    ``notes`` stand below.
    """

    name: str
    title: str
    row_type: type[Any]
    rows: Sequence[Any]
    columns: Sequence[Column]
    caption: str = ""
    notes: tuple[str, ...] = ()
    left_out: frozenset[str] = frozenset()


class Placed(Protocol):
    """A row that says which cell it comes from."""

    @property
    def simulated(self) -> bool:
        """Whether a simulated model's replies are counted in it."""
        ...

    @property
    def cell(self) -> str:
        """The key of the cell."""
        ...


def unneeded_fields(rows: Sequence[Placed]) -> frozenset[str]:
    """Return which of judge, sampling, simulated and cell tell nothing in these rows.

    The cell is needed only where two cells have all their names in common, such as two revisions
    of one model.
    """
    unneeded = {
        name
        for name in ("judge", "sampling")
        if len({getattr(row, name, None) for row in rows}) <= 1
    }
    if not any(row.simulated for row in rows):
        unneeded.add("simulated")
    cells: dict[tuple[object, ...], set[str]] = {}
    for row in rows:
        names = tuple(getattr(row, name, None) for name in _NAMES)
        cells.setdefault(names, set()).add(row.cell)
    if all(len(found) == 1 for found in cells.values()):
        unneeded.add("cell")
    return frozenset(unneeded)


def render(table: Table, to: Format, width: int = WIDTH) -> str:
    """Return ``table`` in a format, ending in a line feed; ``width`` is in columns, for text."""
    return _RENDERERS[to](table, width)


def render_all(tables: Sequence[Table], to: Format, width: int = WIDTH) -> str:
    """Return tables in one text: as :func:`render` does one, or one after the other.

    JSON of several tables is an object of lists by the tables' names.
    """
    if to is Format.JSON and len(tables) != 1:
        return _dump({table.name: _records(table) for table in tables})
    return "\n".join(render(table, to, width) for table in tables)


def _text(table: Table, width: int) -> str:
    columns, told = layout(table)
    cells = [[for_terminal(c.show(row)) for c in columns] for row in table.rows]
    body = grid([c.title for c in columns], cells, [c.is_text for c in columns], width)
    out = [for_terminal(table.title)]
    out += [line for told_or_said in (told, table.caption) for line in _wrap(told_or_said, width)]
    out += ["", *(body if cells else ["nothing to show"]), ""]
    for note in table.notes:
        out += _wrap(note, width)
    return "\n".join(out).rstrip("\n") + "\n"


def _markdown(table: Table, _: int) -> str:
    columns, told = layout(table)
    head = [for_markdown(c.title) for c in columns]
    rule = [":--" if c.is_text else "--:" for c in columns]
    body = [[for_markdown(c.show(row)) for c in columns] for row in table.rows]
    lines = [f"| {' | '.join(line)} |" for line in (head, rule, *body)]
    above = [f"**{for_markdown(table.title)}**", for_markdown(told), for_markdown(table.caption)]
    below = [for_markdown(note) for note in table.notes]
    return "\n\n".join(filter(None, [*above, "\n".join(lines), *below])) + "\n"


def _latex(table: Table, _: int) -> str:
    columns, told = layout(table)
    body = [" & ".join(for_latex(c.show(row)) for c in columns) + r" \\" for row in table.rows]
    caption = " ".join(_sentence(part) for part in (table.title, told, table.caption) if part)
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{for_latex(caption)}}}",
            rf"\begin{{tabular}}{{{''.join('l' if c.is_text else 'r' for c in columns)}}}",
            r"\toprule",
            " & ".join(for_latex(c.title) for c in columns) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\footnotesize {for_latex(note)}" for note in table.notes),
            r"\end{table}",
            "",
        ]
    )


def _csv(table: Table, _: int) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = _field_names(table)
    writer.writerow(names)
    writer.writerows([_csv_cell(getattr(row, name)) for name in names] for row in table.rows)
    return out.getvalue()


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return for_csv_cell(json.dumps(value))
    return for_csv_cell(value) if isinstance(value, str) else value


def _json(table: Table, _: int) -> str:
    return _dump(_records(table))


def _records(table: Table) -> list[dict[str, Any]]:
    names = _field_names(table)
    return [{name: getattr(row, name) for name in names} for row in table.rows]


def _dump(value: Any) -> str:
    # ASCII: a terminal that shows the file is not driven by what a model's name holds.
    # DEL is ASCII, and the only control character that JSON lets through.
    text = json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False)
    return text.replace("\x7f", "\\u007f") + "\n"


def _field_names(table: Table) -> list[str]:
    return [f.name for f in fields(table.row_type) if f.name not in table.left_out]


def layout(table: Table) -> tuple[list[Column], str]:
    """Return the columns to show, and the line that tells what is the same in every row."""
    shown, told = [], []
    for column in table.columns:
        cells = {column.show(row) for row in table.rows}
        if column.constant is WhenConstant.CAPTION and len(cells) == 1:
            told.append(f"{column.title}: {cells.pop()}")
        elif column.constant is WhenConstant.KEEP or len(cells) > 1 or cells - {"0", NOT_MEASURED}:
            shown.append(column)
    return shown, "; ".join(told)


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(for_terminal(text), width, break_long_words=False, break_on_hyphens=False)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _per_cent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def _points(difference: float) -> str:
    shown = f"{100 * difference:+.1f}"
    return "0.0" if float(shown) == 0 else shown.replace("-", "−")


def _decimal(number: float) -> str:
    return f"{number:.2f}".replace("-", "−")


def _p_value(probability: float) -> str:
    return "<0.001" if probability < 0.0005 else f"{probability:.3f}"


def _ratio_interval(low: float, high: float | None) -> str:
    return f"≥ {low:.2f}" if high is None else f"{low:.2f}–{high:,.2f}"


def _tally(counts: Mapping[str, int]) -> str:
    shown = [f"{name} {count:,}" for name, count in list(counts.items())[:_CODES_SHOWN]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f", {more} more" if more else "")


_FORMS: Final[Mapping[Form, Callable[[Any], str]]] = {
    Form.TEXT: str,
    Form.COUNT: "{:,}".format,
    Form.NUMBER: _number,
    Form.THRESHOLD: "{:g}".format,
    Form.PERCENT: _per_cent,
    Form.TALLY: _tally,
    Form.POINTS: _points,
    Form.RATIO: "{:,.2f}".format,
    Form.DECIMAL: _decimal,
    Form.P_VALUE: _p_value,
}
_INTERVALS: Final[Mapping[Form, Callable[[Any, Any], str]]] = {
    Form.INTERVAL: lambda low, high: f"{_per_cent(low)}–{_per_cent(high)}",
    Form.POINTS_INTERVAL: lambda low, high: f"{_points(low)} to {_points(high)}",
    Form.RATIO_INTERVAL: _ratio_interval,
    Form.DECIMAL_INTERVAL: lambda low, high: f"{_decimal(low)}–{_decimal(high)}",
}
_RENDERERS: Final[Mapping[Format, Callable[[Table, int], str]]] = {
    Format.TEXT: _text,
    Format.MD: _markdown,
    Format.CSV: _csv,
    Format.JSON: _json,
    Format.LATEX: _latex,
}
