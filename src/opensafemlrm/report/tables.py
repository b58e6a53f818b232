"""One renderer for every table: a frame in, text, Markdown, CSV, JSON or LaTeX out.

A table declares which columns of the frame people see, and how; the renderer knows the formats.
Text, Markdown and LaTeX are for people: rates in per cent with one decimal, intervals in one cell,
what is the same in every row in a line above the table. CSV and JSON are for programs: every column
of the frame by its name, rates as fractions, nothing rounded.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeAlias

import polars as pl

from opensafemlrm.analysis.coverage import TALLY
from opensafemlrm.analysis.withheld import BY_RULE, STOPPED, UNSCORED
from opensafemlrm.report.forms import BOUNDS_MARK, FORMS, INTERVALS, Form
from opensafemlrm.report.grid import grid
from opensafemlrm.report.latex import Content, latex
from opensafemlrm.report.names import short_names
from opensafemlrm.report.plain import as_csv, as_json, as_lines
from opensafemlrm.text import Format, for_markdown, for_terminal

NOT_MEASURED: Final = "–"
SIMULATED: Final = " (simulated)"
SHORT_SIMULATED: Final = " (sim.)"
SIMULATED_NOTE: Final = (
    "(simulated): the replies are drawn from published score histograms, not written by the model."
)
BOUNDS_NOTE: Final = (
    f"{BOUNDS_MARK}: bounds in place of a rate and its interval. Too many samples have no "
    "score (--max-unscored, 20 % unless you say otherwise), or only a rule gave scores, since the "
    "judge's model gave none: what was scored is then no picture of the rest."
)
STOPPED_NOTE: Final = (
    f"{STOPPED}: a rule of the study ended the run early, and a rate of what was drawn until then "
    "would mislead. `safemlrm table stopping` has intervals that hold."
)
WIDTH: Final = 100
_NAMED: Final = frozenset({"model", "base", "dataset", "attack", "defense", "judge"})
_NAMES: Final = ("model", "dataset", "attack", "defense", "judge", "sampling")


class WhenConstant(StrEnum):
    """What becomes of a column that holds the same in every row."""

    KEEP = "keep"
    CAPTION = "caption"
    """Its value stands in the line above the table."""
    CAPTION_ONLY = "caption_only"
    """So it does, and where it holds several it is left out."""
    DROP_IF_ZERO = "drop_if_zero"
    """It is left out where it holds 0 or nothing throughout."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column for people: the frame's column ``key`` under ``title``, in some form.

    ``upper`` is the frame's column with the upper end of an interval. ``bounds`` are the columns of
    the bounds that stand in a figure's place where ``withheld`` says why. ``simulated`` says that
    this column names what is simulated, where the frame's column ``simulated`` is true. With
    ``needs`` the column is shown only where that is true of one of the rows. What is not
    ``in_paper`` is left out of LaTeX, unless it is asked for.
    """

    key: str
    title: str
    form: Form = Form.TEXT
    constant: WhenConstant = WhenConstant.KEEP
    upper: str = ""
    bounds: tuple[str, str] | None = None
    withheld: str = "withheld"
    simulated: bool = False
    needs: pl.Expr | None = None
    in_paper: bool = True

    @property
    def is_text(self) -> bool:
        """Whether it is set to the left and may be folded; numbers are never folded or cut."""
        return self.form in (Form.TEXT, Form.TALLY, Form.DISTRIBUTION, Form.THRESHOLD)

    def cells(self, frame: pl.DataFrame) -> list[str]:
        """Return the cell of every row, not escaped for anything yet."""
        values = frame[self.key].to_list()
        if self.upper:
            interval = INTERVALS[self.form]
            ends = zip(values, frame[self.upper].to_list(), strict=True)
            return [NOT_MEASURED if low is None else interval(low, high) for low, high in ends]
        write = FORMS[self.form]
        cells = [NOT_MEASURED if value in (None, []) else write(value) for value in values]
        if self.bounds is not None and self.withheld in frame.columns:
            cells = self._with_bounds(frame, cells)
        if self.simulated:
            marks = zip(cells, frame["simulated"], values, strict=True)
            return [f"{cell}{SIMULATED * bool(mark and value)}" for cell, mark, value in marks]
        return cells

    def _with_bounds(self, frame: pl.DataFrame, cells: Sequence[str]) -> list[str]:
        interval = INTERVALS[Form.POINTS_INTERVAL if self.form is Form.POINTS else Form.INTERVAL]
        rows = frame.select(self.key, self.withheld, *(self.bounds or ())).iter_rows()
        return [
            (STOPPED if why == STOPPED else f"{interval(low, high)} {BOUNDS_MARK}")
            if value is None and (why == STOPPED or not (why is None or low is None))
            else cell
            for cell, (value, why, low, high) in zip(cells, rows, strict=True)
        ]


Note: TypeAlias = "str | tuple[str, pl.Expr | str]"
"""What stands below a table; with an expression, only where that is true of one of its rows, with
the name of a column, only where one of its rows is above 0."""


@dataclass(frozen=True, slots=True)
class Table:
    """What people are shown of a frame, and what is said around it.

    ``caption`` says how to read it, ``notes`` stand below. CSV and JSON do without the columns in
    ``left_out``. Declared once without rows; :meth:`of` gives it some.
    """

    name: str
    title: str
    columns: Sequence[Column]
    frame: pl.DataFrame = field(default_factory=pl.DataFrame)
    caption: str = ""
    notes: Sequence[Note] = ()
    left_out: frozenset[str] = frozenset()

    def of(
        self, frame: pl.DataFrame, *, title: str = "", caption: str = "", notes: Sequence[Note] = ()
    ) -> Table:
        """Return the table of ``frame``.

        ``title`` and ``caption`` take the place of those declared; ``notes`` come before them.
        """
        return replace(
            self,
            title=title or self.title,
            frame=frame,
            caption=caption or self.caption,
            notes=[*notes, *self.notes],
        )

    def only(self, keys: Sequence[str]) -> Table:
        """Return the table with the columns of these keys, in their order.

        What all rows share stays in the line above it.
        """
        chosen = [replace(c, in_paper=True) for key in keys for c in self.columns if c.key == key]
        rest = [
            replace(column, constant=WhenConstant.CAPTION_ONLY)
            for column in self.columns
            if column.key not in keys and column.constant is WhenConstant.CAPTION
        ]
        order = [key for key in keys if key in self.frame.columns]
        others = [name for name in self.frame.columns if name not in keys]
        frame, left_out = self.frame.select(*order, *others), frozenset(others)
        return replace(self.with_columns([*chosen, *rest]), frame=frame, left_out=left_out)

    def with_columns(self, columns: Sequence[Column]) -> Table:
        """Return the table with these of its columns for people, and the notes about them."""
        gone = {column.title for column in self.columns} - {column.title for column in columns}
        notes = [note for note in self.notes if not _is_about(note, gone)]
        return replace(self, columns=columns, notes=notes)

    def grouped_by(self, key: str) -> Table:
        """Return the table with the column ``key`` first, and its rows in that column's order."""
        first = [column for column in self.columns if column.key == key]
        if not first or self.frame.is_empty():
            return self
        rest = [column for column in self.columns if column.key != key]
        frame = self.frame.sort(pl.col(key).cast(pl.String), maintain_order=True)
        return replace(self, columns=[*first, *rest], frame=frame.select(key, pl.exclude(key)))

    @property
    def fields(self) -> list[str]:
        """Columns of the frame that CSV and JSON have: those that tell rows apart, and figures."""
        left_out = self.left_out | _unneeded(self.frame)
        return [name for name in self.frame.columns if name not in left_out]

    def needed_notes(self) -> list[str]:
        """Return the notes that the rows need, and what there is to say of simulated models."""
        notes = list(self.notes)
        if "simulated" in self.frame.columns:
            notes.append((SIMULATED_NOTE, pl.col("simulated")))
        reasons = {column.withheld for column in self.columns if column.bounds is not None}
        if reasons := reasons & set(self.frame.columns):
            is_stopped = pl.any_horizontal(pl.col(*reasons).eq_missing(STOPPED))
            is_bounded = pl.any_horizontal(pl.col(*reasons).is_in([BY_RULE, UNSCORED]))
            notes += [(BOUNDS_NOTE, is_bounded), (STOPPED_NOTE, is_stopped)]
        return [
            note if isinstance(note, str) else note[0]
            for note in notes
            if isinstance(note, str) or _any(self.frame, note[1])
        ]


def _any(frame: pl.DataFrame, condition: pl.Expr | str) -> bool:
    condition = pl.col(condition) > 0 if isinstance(condition, str) else condition
    return not frame.is_empty() and bool(frame.select(condition.any()).item())


def _unneeded(frame: pl.DataFrame) -> set[str]:
    """Return which of judge, sampling, simulated, cell and withheld say nothing in these rows.

    The cell is needed only where two cells have all their names in common, such as two revisions
    of one model.
    """
    marks = {name for name in frame.columns if name.endswith("withheld")}
    unneeded = {name for name in marks if frame[name].null_count() == len(frame)}
    if "simulated" not in frame.columns:
        return unneeded
    names = [name for name in _NAMES if name in frame.columns]
    unneeded |= {
        name for name in ("judge", "sampling") if name in names and frame[name].n_unique() <= 1
    }
    if not _any(frame, pl.col("simulated")):
        unneeded.add("simulated")
    if "cell" in frame.columns:
        cells = frame.select(*names, "cell").unique()
        if len(cells) == cells.select(names).n_unique():
            unneeded.add("cell")
    return unneeded


def render(table: Table, to: Format, width: int = WIDTH) -> str:
    """Return ``table`` in a format, ending in a line feed; ``width`` is in columns, for text."""
    return _RENDERERS[to](table, width)


def render_all(tables: Sequence[Table], to: Format, width: int = WIDTH) -> str:
    """Return tables in one text: as :func:`render` does one, or one after the other.

    JSON of several tables is an object of lists by the tables' names; in lines of JSON each says
    its table.
    """
    if to is Format.JSON and len(tables) != 1:
        return as_json({table.name: records(table) for table in tables})
    if to is Format.JSONL and len(tables) != 1:
        return as_lines({"table": t.name, **record} for t in tables for record in records(t))
    return "\n".join(render(table, to, width) for table in tables)


class Layout(NamedTuple):
    """A table as people see it: its columns, the cells of its rows, and what all rows share."""

    columns: list[Column]
    rows: list[tuple[str, ...]]
    constants_line: str


def layout(table: Table, *, for_paper: bool = False) -> Layout:
    """Lay a table out for people; no cell is escaped for anything yet.

    ``for_paper`` leaves out the columns that a paper has no room for, and gives short names.
    """
    shown, cells, constants = [], [], []
    for column in table.columns:
        if column.key == "cell" and "cell" not in table.fields:
            continue
        if for_paper and not column.in_paper:
            continue
        if column.needs is not None and not _any(table.frame, column.needs):
            continue
        values = [] if table.frame.is_empty() else column.cells(table.frame)
        if for_paper and column.key in _NAMED:
            short = short_names(dict.fromkeys(values))
            values = [short[name].replace(SIMULATED, SHORT_SIMULATED) for name in values]
        distinct = set(values)
        in_caption = column.constant in (WhenConstant.CAPTION, WhenConstant.CAPTION_ONLY)
        if in_caption and len(distinct) == 1:
            is_limit = column.form is Form.THRESHOLD
            title = f"Threshold: {column.title}" if is_limit else f"{column.title}:"
            constants.append(f"{title} {values[0]}")
        elif column.constant is not WhenConstant.CAPTION_ONLY and (
            column.constant is WhenConstant.KEEP
            or len(distinct) > 1
            or distinct - {"0", NOT_MEASURED}
        ):
            shown.append(column)
            cells.append(values)
    return Layout(shown, list(zip(*cells, strict=True)), "; ".join(constants))


def _notes(table: Table, columns: Sequence[Column]) -> list[str]:
    """Return the notes that the rows need, but for those on columns that are left out alone."""
    gone = {column.title for column in table.columns} - {column.title for column in columns}
    return [note for note in table.needed_notes() if not _is_about(note, gone)]


def _is_about(note: Note, titles: set[str]) -> bool:
    """Return whether a note explains columns of these titles alone."""
    text = note if isinstance(note, str) else note[0]
    subject = text.partition(":")[0].removesuffix(f" {NOT_MEASURED}")
    return set(subject.split(", ")) <= titles


def _text(table: Table, width: int) -> str:
    columns, rows, constants_line = layout(table)
    cells = [[for_terminal(cell) for cell in row] for row in rows]
    body = grid([c.title for c in columns], cells, [c.is_text for c in columns], width)
    above = (table.title, constants_line, table.caption)
    out = [line for text in above for line in _wrap(text, width)]
    out += ["", *(body if cells else ["nothing to show"]), ""]
    for note in _notes(table, columns):
        out += _wrap(note, width)
    return "\n".join(out).rstrip("\n") + "\n"


def _markdown(table: Table, _: int) -> str:
    columns, rows, constants_line = layout(table)
    head = [for_markdown(c.title) for c in columns]
    rule = [":--" if c.is_text else "--:" for c in columns]
    body = [[for_markdown(cell) for cell in row] for row in rows]
    lines = [f"| {' | '.join(line)} |" for line in (head, rule, *body)]
    above = [
        f"**{for_markdown(table.title)}**",
        *map(for_markdown, (constants_line, table.caption)),
    ]
    below = [for_markdown(note) for note in _notes(table, columns)]
    return "\n\n".join(filter(None, [*above, "\n".join(lines), *below])) + "\n"


def _latex(table: Table, _: int) -> str:
    columns, rows, constants_line = layout(table, for_paper=True)
    said = (table.title, constants_line, table.caption)
    notes = [
        note.replace("(simulated)", f"{SHORT_SIMULATED.strip()}, simulated")
        for note in _notes(table, columns)
    ]
    return latex(
        Content(
            name=table.name,
            caption=" ".join(
                text if text.endswith((".", "?", "!")) else f"{text}." for text in said if text
            ),
            titles=[column.title for column in columns],
            is_text=[column.is_text for column in columns],
            rows=rows,
            notes=notes,
        )
    )


def records(table: Table) -> list[dict[str, Any]]:
    """Return the rows as programs get them: every column by its name, null where not measured."""
    frame = table.frame.select(table.fields)
    tallies = [name for name, dtype in frame.schema.items() if dtype == TALLY]
    thresholds = {c.key for c in table.columns if c.form is Form.THRESHOLD} & set(frame.columns)
    rows = frame.to_dicts()
    for row in rows:
        for name in tallies:
            row[name] = {entry["name"]: entry["n"] for entry in row[name]}
        for name in thresholds:
            number = row[name]  # as people write it: 4 rather than 4.0
            row[name] = int(number) if number is not None and number == int(number) else number
    return rows


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(for_terminal(text), width, break_long_words=False, break_on_hyphens=False)


_RENDERERS: Final[Mapping[Format, Callable[[Table, int], str]]] = {
    Format.TEXT: _text,
    Format.MD: _markdown,
    Format.CSV: lambda table, _: as_csv(table.fields, records(table)),
    Format.JSON: lambda table, _: as_json(records(table)),
    Format.JSONL: lambda table, _: as_lines(records(table)),
    Format.LATEX: _latex,
}
