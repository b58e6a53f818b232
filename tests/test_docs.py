"""The documents say what is so: the tests they name exist, the commands they show can be run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from opensafemlrm.cli import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"^\$? ?(safemlrm .*?)(?:\s+#.*)?$", re.MULTILINE)


def commands() -> list[str]:
    found = []
    for document in DOCUMENTS:
        blocks = re.findall(r"```sh\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
        joined = "\n".join(blocks).replace("\\\n", " ")
        found += COMMAND.findall(joined)
    return sorted(set(found))


def test_the_documents_show_commands() -> None:
    assert len(commands()) >= 8


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_documents_has_the_options_it_is_shown_with(command: str) -> None:
    found: Any = typer.main.get_command(app)
    words = shlex.split(command)[1:]
    while hasattr(found, "resolve_command"):
        context = found.make_context("safemlrm", words[:1], resilient_parsing=True)
        _, found, _ = found.resolve_command(context, [words.pop(0)])
    found.make_context(found.name, words)  # raises for an option it does not take


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_tests_and_files_that_a_document_names_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text):
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{name}"
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
        assert (document.parent / target).exists(), target
