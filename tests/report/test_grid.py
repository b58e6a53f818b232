"""Text tables stay aligned and whole, whatever their width."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from opensafemlrm.report.grid import grid, least_width

IS_TEXT = [True, True, False, False]
WORDS = st.text("abc-/ 视", min_size=1, max_size=40).map(str.strip).filter(bool)
NUMBERS = st.integers(0, 10**9).map("{:,}".format)
ROWS = st.lists(st.tuples(WORDS, WORDS, NUMBERS, NUMBERS).map(list), min_size=1, max_size=6)


def test_names_go_left_numbers_right_and_repeats_are_left_out() -> None:
    rows = [["m", "direct", "1,000", "3"], ["m", "direct", "20", "4"], ["n", "direct", "5", "6"]]
    assert grid(["Model", "Attack", "n", "k"], rows, IS_TEXT, 80) == [
        "Model  Attack      n  k",
        "───────────────────────",
        "m      direct  1,000  3",
        "                  20  4",
        "n      direct      5  6",
    ]


def test_a_long_name_becomes_a_heading_of_its_rows() -> None:
    name = "a-model-with-a-very-long-name (simulated)"
    assert grid(["Model", "Attack", "n", "k"], [[name, "direct", "1", "2"]] * 2, IS_TEXT, 41) == [
        "Model",
        "  Attack  n  k",
        "──────────────",
        name,
        "  direct  1  2",
        "          1  2",
    ]


def test_as_many_names_move_to_the_heading_as_it_takes() -> None:
    rows = [["model", "attack", "scenario", "1"], ["model", "attack", "other", "2"]]
    titles, is_text = ["Model", "Attack", "Scenario", "n"], [True, True, True, False]
    assert grid(titles, rows, is_text, 14) == [
        "Model, Attack",
        "  Scenario  n",
        "─────────────",
        "model, attack",
        "  scenario  1",
        "  other     2",
    ]


@settings(deadline=None)
@given(ROWS, st.integers(1, 120))
def test_no_number_is_ever_cut_or_folded(rows: list[list[str]], width: int) -> None:
    lines = grid(["A", "B", "n", "k"], rows, IS_TEXT, width)
    ends = [line.split()[-2:] for line in lines if line[-1:].isdigit()]
    assert ends == [row[2:] for row in rows]


@settings(deadline=None)
@given(ROWS)
def test_it_keeps_to_the_width_where_its_numbers_leave_room(rows: list[list[str]]) -> None:
    titles = ["A", "B", "n", "k"]
    for line in grid(titles, rows, IS_TEXT, 60):
        assert cell_len(line) <= 60


def test_words_stay_whole_as_long_as_folding_titles_makes_room() -> None:
    """Scenarios stood as "financia", "l-advice" beside a title wider than its numbers."""
    titles, rows = ["Scenario", "judge requests"], [["financial-advice", "1"], ["fraud", "2"]]
    assert grid(titles, rows, [True, False], 20) == [
        "Scenario       judge",
        "            requests",
        "────────────────────",
        "financial-         1",
        "advice",
        "fraud              2",
    ]
    assert least_width(titles, rows, [True, False]) == 20
