"""Hostile text must reach a reader as text: not as an escape, a formula, a link or markup."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from opensafemlrm.text import for_csv_cell, for_html, for_latex, for_markdown, for_terminal

HOSTILE = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\x1b\x9b\x07\u202e\u2066\u200b\ufeff\r\n\t|`*_<>[]()\\&$#%{}~^=+-@'\"!.:"),
    )
)


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        (
            "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
            r"\x1b]8;;http://evil\x1b\click\x1b]8;;\x1b" "\\",
        ),
        ("\x9b31mred", r"\x9b31mred"),
        ("safe\u202eefasnu", r"safe\u202eefasnu"),
        ("\u2066isolate\u2069", r"\u2066isolate\u2069"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("over\rwritten", r"over\rwritten"),
        ("two\nlines", r"two\nlines"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("lone\ud800", r"lone\ud800"),
        ("blank\u3164", r"blank\u3164"),
        ("Qwen2.5-VL 视觉 é 😀", "Qwen2.5-VL 视觉 é 😀"),
    ],
)
def test_a_terminal_is_not_driven_by_text(hostile: str, shown: str) -> None:
    assert for_terminal(hostile) == shown


def test_line_feeds_and_tabs_stay_where_they_are_wanted() -> None:
    assert for_terminal("a\n\tb\r\x1b", newlines=True) == "a\n\tb\\r\\x1b"


@given(HOSTILE)
def test_for_terminal_leaves_one_line_of_visible_utf8(text: str) -> None:
    shown = for_terminal(text)
    assert len(shown.splitlines()) <= 1
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    shown.encode("utf-8")
    assert for_terminal(shown) == shown


@given(
    st.text(
        st.characters(
            categories=["L", "N", "P", "S"], exclude_characters="\u3164\uffa0\u115f\u1160\u2800"
        )
    )
)
def test_for_terminal_changes_nothing_that_is_visible(text: str) -> None:
    assert for_terminal(text) == text


@pytest.mark.parametrize(
    "formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "＝1"]
)
def test_a_spreadsheet_does_not_run_a_models_text(formula: str) -> None:
    assert for_csv_cell(formula).startswith("'")


@given(HOSTILE)
def test_a_csv_cell_comes_back_whole_and_is_no_formula(text: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerow([for_csv_cell(text), "next"])
    (cell, following), *more = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert following == "next"
    assert not more
    assert not re.match(r"\s*[=+\-@]", cell)
    assert cell.removeprefix("'") == for_terminal(text, newlines=True).removeprefix("'")


MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


@given(HOSTILE)
def test_markdown_shows_the_text_literally_in_a_cell(text: str) -> None:
    cell = for_markdown(text)
    tokens = MARKDOWN.parse(f"| a | b |\n| :-- | --: |\n| {cell} | x |\n")
    cells = [t for t in tokens if t.type == "inline"]
    assert [t.content for t in cells][:2] == ["a", "b"]
    assert len(cells) == 4
    assert cells[3].content == "x"
    children = cells[2].children or []
    assert {child.type for child in children} <= {"text", "text_special"}
    assert "".join(child.content for child in children) == for_terminal(text).strip()


@given(HOSTILE)
def test_markdown_shows_the_text_literally_as_a_paragraph(text: str) -> None:
    tokens = MARKDOWN.parse(f"x\n\n{for_markdown(text).strip()}\n")
    kinds = {t.type for t in tokens}
    assert kinds <= {"paragraph_open", "inline", "paragraph_close"}


def test_markdown_makes_no_link_of_an_address() -> None:
    assert for_markdown("see http://evil.example") == r"see http\://evil.example"
    assert for_markdown("see www.evil.example") == r"see www\.evil.example"


UNDO_LATEX = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textasciigrave{}": "`",
    r"\textquotesingle{}": "'",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"\ensuremath{\leq}": "≤",
    r"\ensuremath{\geq}": "≥",
    r"\ensuremath{-}": "−",
    "-{}": "-",
    **{f"\\{c}": c for c in "{}$&#%_"},
    **{f"{{{c}}}": c for c in '[]*"'},
}
LATEX_TOKEN = re.compile("|".join(map(re.escape, UNDO_LATEX)) + r"|[^\\{}$&#%_~^`'<>|\[\]*\"]")


@given(HOSTILE)
def test_latex_typesets_the_text_literally(text: str) -> None:
    escaped = for_latex(text)
    tokens = LATEX_TOKEN.findall(escaped)
    assert "".join(tokens) == escaped
    assert "".join(UNDO_LATEX.get(token, token) for token in tokens) == for_terminal(text)
    assert "--" not in escaped


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[tuple[str, object]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.seen.append(("data", data))


@given(HOSTILE)
def test_html_shows_the_text_literally_in_elements_and_attributes(text: str) -> None:
    reader = _Reader()
    reader.feed(f'<p title="{for_html(text)}">.{for_html(text)}</p>')
    reader.close()
    shown = for_terminal(text, newlines=True)
    assert reader.seen[0] == ("p", [("title", shown)])
    assert "".join(str(data) for kind, data in reader.seen[1:] if kind == "data") == f".{shown}"
    assert {kind for kind, _ in reader.seen[1:]} == {"data"}
