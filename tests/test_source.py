"""What the source has to keep to, beside what ruff and import-linter check: size and names."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src/opensafemlrm"

MAX_LINES = 400
LONGER: dict[str, int] = {}
"""Files that are longer than ``MAX_LINES`` today. Take them out as they shrink; add none."""

GONE = {
    "carry": "process_sample", "carry_out": "run_plan", "carry_out_by": "run_with_progress",
    "forewarn": "set_image_limit", "wind_up": "drain", "take_turns": "run_sequentially",
    "Wanted": "MissingWork", "Slot": "SampleKey", "Ask": "JudgeRequest", "Found": "SearchResult",
    "Crew": "WorkerState", "Hand": "WorkerHandle", "Freight": "ImageTransfer",
    "Given": "ImageCache", "Mark": "ScoreField", "keeper": "supervisor", "inert": "neutralize",
    "is_begun": "is_prefilled", "is_over": "is_complete", "Piece": "WorkBatch",
    "Said": "ParsedReply", "Thought": "ReasoningText", "Constant": "WhenConstant",
    "Incoming": "ResponseParser", "resident": "in_process", "inapplicable": "not_applicable",
    "splitter": "reasoning_parser", "not_sent": "not_applicable",
}  # fmt: skip
"""Names that gave way to the field's own: what they are called now."""

AT_MOST = {
    "found": 90, "one": 40, "shown": 19, "said": 12, "asked": 11, "drawn": 11, "kept": 5,
    "told": 2, "each": 3, "most": 8, "its": 0,
}  # fmt: skip
"""Words that say nothing of what they name, and how often the source still uses each as a name.

Lower a number when you have renamed some; never raise one.
"""


@cache
def names() -> list[tuple[str, str]]:
    """Every name that the source gives to something, and where."""
    return list(_names())


def _names() -> Iterator[tuple[str, str]]:
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ""
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = node.name
            elif isinstance(node, ast.arg):
                name = node.arg
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                name = node.id
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                name = node.attr
            if name:
                line = getattr(node, "lineno", 0)
                yield name.strip("_"), f"{path.relative_to(SOURCE)}:{line}"


def test_no_file_is_too_long() -> None:
    lines = {
        path.relative_to(SOURCE).as_posix(): path.read_text(encoding="utf-8").count("\n")
        for path in SOURCE.rglob("*.py")
    }
    assert {path: n for path, n in lines.items() if n > LONGER.get(path, MAX_LINES)} == {}


def test_names_that_gave_way_do_not_come_back() -> None:
    back = [f"{where}: {name} (call it {GONE[name]})" for name, where in names() if name in GONE]
    assert not back, "\n".join(back)


def test_the_largest_and_the_smallest_are_called_max_and_min() -> None:
    prefixes = ("MOST_", "LONGEST_", "FEWEST_", "SHORTEST_")
    limits = [f"{where}: {name}" for name, where in names() if name.startswith(prefixes)]
    assert not limits, "\n".join(limits)


def test_words_that_name_nothing_become_fewer() -> None:
    count = Counter(name.lower() for name, _ in names())
    more = {word: count[word] for word, limit in AT_MOST.items() if count[word] > limit}
    assert not more, f"{more}: at most {AT_MOST}. Say in the name what the thing is."
