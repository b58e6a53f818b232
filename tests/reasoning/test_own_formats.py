"""A user's own reasoning format, described in the study."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opensafemlrm import reasoning
from opensafemlrm.errors import OptionError, UnknownNameError
from opensafemlrm.types import Response, ResponseStatus


def parts(text: str, spec: dict[str, Any], status: ResponseStatus = ResponseStatus.OK):
    trace = reasoning.parse(Response(status, text=text), reasoning.resolve(spec))
    return trace.status.value, trace.reasoning, trace.answer


REASON = {"open": "<<reason>>", "close": "<</reason>>"}


def test_a_pair_of_marks_splits_a_reply():
    assert parts("<<reason>>moon<</reason>>soup", REASON) == ("closed", "moon", "soup")
    assert parts("soup", REASON) == ("absent", None, "soup")
    assert parts("<<reason>>moon", REASON) == ("unclosed", "moon", None)


def test_the_answer_may_have_marks_and_the_template_may_open_the_block():
    spec = {**REASON, "answer_open": "[A]", "answer_close": "[/A]", "opened_by_template": True}
    assert parts("moon<</reason>>[A]soup[/A]", spec) == ("closed", "moon", "soup")
    assert parts("moon and", spec) == ("unclosed", "moon and", None)


def test_a_pattern_splits_a_reply_and_loses_no_character():
    spec = {"regex": r"THOUGHT:(?P<reasoning>.*?)\nSAY:(?P<answer>.*)"}
    reply = "THOUGHT: moon\nSAY: soup"
    assert parts(reply, spec) == ("closed", "moon", "soup")
    assert parts("soup", spec) == ("absent", None, "soup")
    assert parts("THOUGHT: mo", spec, ResponseStatus.TRUNCATED)[::2] == ("unclosed", None)
    reading = reasoning.read(reply, reasoning.resolve(spec))
    assert "".join(text for _, text in reading.segments) == reply


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"open": "<a>"}, "needs the text 'close'"),
        ({"open": "", "close": "b"}, "needs the text 'open'"),
        ({"open": "a", "close": "a"}, "must differ"),
        ({**REASON, "answer_open": "x"}, "needs the text 'answer_close'"),
        ({**REASON, "opened_by_template": "yes"}, "true or false"),
        ({"regex": "("}, "regex"),
        ({"regex": "(?P<reasoning>a)"}, "needs the groups"),
        ({"regex": "(?P<reasoning>a)(?P<answer>b)", "open": "c"}, "takes no 'open'"),
    ],
)
def test_a_description_that_cannot_be_read_says_what_is_wrong(spec: dict[str, Any], words: str):
    with pytest.raises(OptionError, match=words):
        reasoning.resolve(spec)


def test_an_unknown_key_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean close"):
        reasoning.resolve({"open": "a", "closes": "b"})


def test_descriptions_that_differ_are_told_apart_in_what_is_stored():
    names = {reasoning.resolve(spec).name for spec in (REASON, {**REASON, "close": "x"})}
    assert len(names) == 2
    assert str(reasoning.resolve(REASON)) == reasoning.resolve(dict(REASON)).name


@given(st.text(alphabet=st.characters(exclude_characters="<>`◁▷#|[]"), min_size=1))
def test_a_further_format_changes_no_split_of_a_text_without_its_marks(text: str):
    assert parts(text, REASON) == parts(text, {"open": "@@1", "close": "@@2"})
