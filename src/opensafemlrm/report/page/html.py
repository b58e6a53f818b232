"""Tables in HTML, and the environment that fills the page's template.

Everything that is put into the page is made visible and escaped, unless it is markup that this
package made itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from opensafemlrm.report.tables import Table, layout
from opensafemlrm.text import for_html, for_terminal

_PACKAGE: Final = "opensafemlrm.report.page"
MAX_ROWS: Final = 250
"""Rows of a table on the page; the files have all of them."""


def fill(template: str, values: Mapping[str, Any]) -> str:
    """Return a template of this package, filled with ``values``."""
    return environment(_PACKAGE).get_template(template).render(values)


def environment(package: str) -> Environment:
    """Return what fills the templates of a package, or those of this one that they take in.

    Whatever is put in is visible and escaped.
    """
    return Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(_PACKAGE)]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _visible(value: Any) -> Any:
    """Write out what cannot be seen; markup has gone through :func:`for_html` already."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return for_terminal(value, newlines=True)


def table_html(table: Table) -> Markup:
    """Return a table for people, with its caption and notes; long ones are cut and say so."""
    columns, rows, constants_line = layout(table)
    head = "".join(
        f'<th scope="col"{_side(column.is_text)}>{for_html(column.title)}</th>'
        for column in columns
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{_side(column.is_text)}>{for_html(cell)}</td>"
            for column, cell in zip(columns, row, strict=True)
        )
        + "</tr>"
        for row in rows[:MAX_ROWS]
    )
    title = for_html(table.title)
    notes = [constants_line, table.caption, *table.needed_notes()]
    if len(rows) > MAX_ROWS:
        notes.insert(0, f"The first {MAX_ROWS:,} of {len(rows):,} rows; the files have all.")
    # Made of constants and of texts that are escaped above.
    said = "".join(f"<p>{for_html(note)}</p>" for note in notes if note)
    return Markup(  # noqa: S704
        f'<p class="table-title">{title}</p>'
        f'<div class="scroll" role="group" tabindex="0" aria-label="{title}">'
        f'<table aria-label="{title}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f'</div><div class="notes">{said}</div>'
    )


def _side(is_text: bool) -> str:
    return "" if is_text else ' class="n"'
