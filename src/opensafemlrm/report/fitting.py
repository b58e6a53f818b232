"""Fitting a table to a terminal, which shows no more than its width."""

from __future__ import annotations

from dataclasses import replace

from opensafemlrm.report.grid import least_width
from opensafemlrm.report.tables import Table, layout


def fitted(table: Table, width: int) -> Table:
    """Return the table without the columns of numbers that ``width`` has no room for.

    First go those that a paper does without, from the left, then the others, from the right. A
    note names them; CSV and JSON have them all the same.
    """
    columns, rows, _ = layout(table)
    numbers = [i for i, column in enumerate(columns) if not column.is_text]
    spare = [i for i in numbers if not columns[i].in_paper]
    order = [*spare, *(i for i in reversed(numbers[1:]) if i not in spare)]
    places = list(range(len(columns)))
    while order and width < least_width(
        [columns[i].title for i in places],
        [[row[i] for i in places] for row in rows],
        [columns[i].is_text for i in places],
    ):
        places.remove(order.pop(0))
    gone = [column for i, column in enumerate(columns) if i not in places]
    if not gone:
        return table
    titles = ", ".join(column.title for column in gone)
    smaller = table.with_columns([column for column in table.columns if column not in gone])
    left_out = f"Not shown, as {width} columns are too few: {titles}. --format csv has them."
    return replace(smaller, notes=[*smaller.notes, left_out])
