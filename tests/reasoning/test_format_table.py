"""The table of formats: its document, and that no format changes what it does not mark."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from opensafemlrm import reasoning
from opensafemlrm.reasoning import FORMATS, Reading, formats
from tests.test_docs import ROOT


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"scripts/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_document_of_the_formats_is_current():
    document = script("document_formats")
    written = document.DOCUMENT.read_text(encoding="utf-8")
    assert written == document.text(), "run: python scripts/document_formats.py"


DETECTED = [name for name, form in FORMATS.items() if form.hints]
PIECES = sorted(
    {mark for form in FORMATS.values() for pair in (*form.blocks, *form.answers) for mark in pair}
    | {mark for form in FORMATS.values() for mark in form.inline}
    | {"### Rationales:\n", "### The final answer is: ", "Here is my thought process: "}
    | {"moon", "soup", " ", "\n", "`", "```\n", '"', "<b>", "# Conclusion\n"}
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


def read_with(monkeypatch: pytest.MonkeyPatch, table: Any, text: str) -> Reading:
    with monkeypatch.context() as patch:
        patch.setattr(reasoning, "DETECTED", tuple(table))
        return reasoning.read(text)


@pytest.mark.parametrize("name", DETECTED)
def test_a_format_changes_no_split_of_a_text_without_its_marks(name: str):
    """Each row in turn is taken for the one that was added."""

    @settings(deadline=None)
    @given(TEXTS)
    def check(text: str) -> None:
        assume(not FORMATS[name].may_mark(text, text.lower()))
        before = [form for form in formats.DETECTED if form.name != name]
        with pytest.MonkeyPatch.context() as patch:
            with_it = read_with(patch, formats.DETECTED, text)
            assert read_with(patch, before, text) == with_it

    check()


def test_the_yardsticks_split_at_the_first_and_at_the_last_end():
    compare = script("compare_end_tags")
    text, form = "<think>moon</think>more</think><answer>soup</answer>", FORMATS["think"]
    assert compare.at_end_tag(text, form, str.find) == ("closed", "moon", "more</think>soup")
    assert compare.at_end_tag(text, form, str.rfind) == ("closed", "moon</think>more", "soup")
    assert compare.at_end_tag("<think>moon", form, str.find) == ("unclosed", "moon", None)
    assert compare.at_end_tag("soup", form, str.find) == ("absent", None, "soup")
    case = {"text": text, "truncated": False, "named_format": "think", "detect": True}
    counted = dict(compare.results({**case, "want": ["closed", "moon</think>more", "soup"]}))
    assert counted["last end tag"]
    assert not counted["first end tag"]
