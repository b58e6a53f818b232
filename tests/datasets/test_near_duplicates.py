"""Items that two data sets share, word for word or nearly so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from typer.testing import CliRunner

from opensafemlrm.cli import app
from opensafemlrm.datasets.audit import near_duplicates
from opensafemlrm.registry import ComponentKind, build
from opensafemlrm.types import Item

ITEMS = [row for row in build(ComponentKind.DATASET, "canary", {}).rows() if isinstance(row, Item)]


def test_a_question_in_nearly_the_same_words_is_named() -> None:
    changed = [
        replace(item, question=f"Please, {item.question.lower().rstrip('?')} !")
        for item in ITEMS[:20]
    ]
    found = list(near_duplicates(ITEMS, changed))
    right = [pair for pair in found if pair.item == pair.other_item]
    assert len(right) >= 19
    assert all(0.7 <= pair.similarity <= 1 for pair in found)


def test_questions_of_one_template_about_other_things_are_not() -> None:
    """Two halves of the bundled benchmark share their ways to ask."""
    found = list(near_duplicates(ITEMS[::2], ITEMS[1::2]))
    assert len(found) <= 0.1 * len(ITEMS[::2])


def test_the_command_names_ids_and_no_texts(tmp_path: Path) -> None:
    table = tmp_path / "own.csv"
    question = ITEMS[0].question
    table.write_text(f'id,scenario,question\nmine,s,"{question}"\nother,s,"Is it raining?"\n')
    runner = CliRunner()
    made = runner.invoke(app, ["datasets", "init", str(table)])
    assert made.exit_code == 0, made.output
    result = runner.invoke(
        app,
        ["datasets", "check", "table", "-o", f"path={table}", "--against", "canary"],
        env={"COLUMNS": "200"},
    )
    assert "items nearly the same in canary: 1 of 2" in result.output
    assert "mine" in result.output
    assert ITEMS[0].id in result.output
    assert question not in result.output
