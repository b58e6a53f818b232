"""Write the table of reasoning formats in docs/formats.md from reasoning/formats.toml.

    python scripts/document_formats.py

A test holds the document to the table.
"""

from __future__ import annotations

from pathlib import Path

from opensafemlrm.reasoning import FORMATS

DOCUMENT = Path(__file__).parents[1] / "docs" / "formats.md"
BEGIN, END = "<!-- formats -->\n", "<!-- /formats -->\n"


def table() -> str:
    """Return the table, a row a format."""
    lines = ["| format | a reply | models | `auto` | seen in |", "|:--|:--|:--|:--|:--|"]
    for form in FORMATS.values():
        cells = (
            f"`{form.name}`",
            form.summary.replace("|", "\\|").replace("<", "&lt;"),
            ", ".join(form.models),
            "yes" if form.is_detected else "",
            form.source,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def text() -> str:
    """Return the document with the table as it should be."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    DOCUMENT.write_text(text(), encoding="utf-8")
