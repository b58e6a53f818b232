"""Real formats in adversarial replies: what each smallest input of the format review must give.

The review's own file holds 65 cases beside this checkout, texts and servers' replies; they are run
here where the file is at hand. The failures it found stand below by number and run always.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import reasoning
from opensafemlrm.models.hosted.anthropic import MessagesCodec
from opensafemlrm.models.hosted.chat import ChatCodec
from opensafemlrm.models.hosted.google import GeminiCodec
from opensafemlrm.models.hosted.openai_responses import ResponsesCodec
from opensafemlrm.models.http.replies import Reader, Timing
from opensafemlrm.types import Response, ResponseStatus, TraceStatus

OK, TRUNCATED = ResponseStatus.OK, ResponseStatus.TRUNCATED
CASES = Path(__file__).parents[3] / "shared/review/formats.jsonl"


def parts(text: str, name: str = "auto", status: ResponseStatus = OK, **more: Any):
    trace = reasoning.parse(Response(status, text=text, **more), name)
    return trace.status.value, trace.reasoning, trace.answer


CODECS = {
    "chat": ChatCodec(),
    "anthropic": MessagesCodec(),
    "gemini": GeminiCodec(),
    "responses": ResponsesCodec(),
}


def cases() -> list[Any]:
    if not CASES.exists():
        return []
    rows = [json.loads(line) for line in CASES.read_text("utf-8").splitlines()]
    return [pytest.param(row, id=row["id"]) for row in rows]


def response_of(case: dict[str, Any]) -> Response:
    if case["text"] is not None:
        return Response(TRUNCATED if case["truncated"] else OK, text=case["text"])
    reader = Reader(CODECS[case["reader"]])
    return reader.reply(json.dumps(case["payload"]).encode(), 4096, Timing())


def folded(text: str | None) -> str | None:
    return None if text is None else re.sub(r"\s+", " ", text).strip()


@pytest.mark.skipif(not CASES.exists(), reason="the review's cases are not beside this checkout")
@pytest.mark.parametrize("case", cases())
def test_a_reviewed_reply_is_split_as_wanted_by_name_and_by_detection(case: dict[str, Any]):
    status, thought, answer = case["want"]
    wanted = (status, folded(thought), folded(answer))
    for name in (case["named_format"], *(["auto"] if case["detect"] else [])):
        trace = reasoning.parse(response_of(case), name)
        found = (trace.status.value, folded(trace.reasoning), folded(trace.answer))
        assert found == wanted, name


def test_a_reply_that_is_thought_alone_is_kept_with_its_usage_and_not_asked_again():
    """It was thrown away and paid for six times, its tokens counted by nobody."""
    thought = {"type": "thinking", "thinking": "moon"}
    payload = {"content": [thought], "stop_reason": "end_turn", "usage": {"output_tokens": 9}}
    response = Reader(MessagesCodec()).reply(json.dumps(payload).encode(), 4096, Timing())
    assert (response.status, response.usage.output_tokens) == (OK, 9)
    trace = reasoning.parse(response)
    assert (trace.status, trace.answer) == (TraceStatus.SUMMARY, None)


@pytest.mark.parametrize(
    ("finish", "status"),
    [("model_length", TRUNCATED), ("max_new_tokens", TRUNCATED), ("eos_token", OK), ("odd", OK)],
)
def test_every_vendors_word_for_a_cut_reply_is_known_and_an_unknown_one_is_shown(
    finish: str, status: ResponseStatus
):
    message = {"role": "assistant", "content": "soup"}
    payload = {"choices": [{"message": message, "finish_reason": finish}]}
    response = Reader(ChatCodec()).reply(json.dumps(payload).encode(), 4096, Timing())
    assert response.status is status
    assert (response.detail is not None) == (finish == "odd")


def test_f1_a_refusal_behind_a_blank_thought_is_the_answer_of_a_thinking_model():
    """Qwen3-VL-Thinking behind a parser: the refusals were judged as reasoning."""
    for field in ("\n", ""):
        assert parts("\n\nSorry, no soup.", "think-prefilled", reasoning=field) == (
            "absent",
            None,
            "\n\nSorry, no soup.",
        )
    # Nothing is known of a reply that was cut, nor of one whose server said nothing.
    assert parts("moon and", "think-prefilled", TRUNCATED, reasoning="")[0] == "unclosed"
    assert parts("moon and", "think-prefilled")[0] == "unclosed"


def test_f1_a_thought_that_the_host_keeps_back_is_hidden_not_unclosed():
    assert parts("soup", "think-prefilled", reasoning_hidden=True) == ("hidden", None, "soup")
    kept = parts("moon</think>soup", "think-prefilled", reasoning_hidden=True)
    assert kept == ("closed", "moon", "soup")


def test_f4_ordinary_markdown_of_a_base_model_is_never_a_trace():
    for reply in (
        "### Image Description\nA red lantern.\n\n### Answer\nSoup.",
        "# Rationales\nIt is lit.\n\n### Image description\nA lantern.",
        "I wrote: Here is my thought process: moon",
        "Let me show my reasoning.\n\n**Conclusion**\n\nSoup.",
        "The <details><summary>soup</summary>more</details>",
    ):
        assert parts(reply) == ("absent", None, reply)


def test_f5_a_conclusion_inside_the_last_stage_stays_in_the_answer():
    stages = "I look.\n\nIt is lit.\n\n### Final Answer:\nBoil it.\n\n**Conclusion**\n\nEnjoy."
    assert parts(stages, "llamav-o1") == (
        "closed",
        "I look.\n\nIt is lit.",
        "Boil it.\n\n**Conclusion**\n\nEnjoy.",
    )


@pytest.mark.parametrize("name", ["auto", "think"])
@pytest.mark.parametrize(
    ("thought", "answer"),
    [
        ("I don`t know", "Try `ls`."),
        ('I should say "no"', '"No" is my answer.'),
        ("It isn't 'no'", "'No' is my answer."),
    ],
)
def test_f6_an_end_that_only_seems_quoted_loses_no_answer(thought: str, answer: str, name: str):
    reply = f"<think>{thought}</think>{answer}"
    assert parts(reply, name) == ("closed", thought, answer)
    assert parts(reply, name, TRUNCATED)[0] == "closed"


def test_f6_a_fence_left_open_in_the_thought_does_not_reach_into_the_answer():
    reply = "try\n```\nx = 1\n</think>\nHere is soup:\n```\ny\n```"
    for name in ("auto", "think-prefilled"):
        assert parts(reply, name) == ("closed", "try\n```\nx = 1", "Here is soup:\n```\ny\n```")


def test_f6_a_quoted_end_is_the_last_resort_of_a_whole_reply_alone():
    reply = "<think>Close it with “</think>” soup"
    assert parts(reply) == ("closed", "Close it with “", "” soup")
    assert parts(reply, "auto", TRUNCATED)[0] == "unclosed"


def test_f7_boxes_stay_inside_the_sentence_of_the_answer():
    assert parts("At <|begin_of_box|>[1,2]<|end_of_box|> it is.") == (
        "absent",
        None,
        "At [1,2] it is.",
    )
    assert parts("<think>moon</think>At <|begin_of_box|>[1]<|end_of_box|> it is.", "glm") == (
        "closed",
        "moon",
        "At [1] it is.",
    )
    # A whole reply that never closed its thought and ends with its result.
    assert parts("<think>moon\n<|begin_of_box|>soup<|end_of_box|>") == ("closed", "moon", "soup")


@pytest.mark.parametrize(
    "reply",
    [
        "<think>It is at <|begin_of_box|>[1,2]<|end_of_box|> so next I",
        "<think>I could write <answer>soup</answer> but then I",
        "<think>I could write <response>soup",
        "moon \\boxed{sou",
    ],
)
def test_f8_a_cut_reply_never_promotes_a_draft(reply: str):
    name = "boxed" if "boxed" in reply else "auto"
    assert parts(reply, name, TRUNCATED)[::2] == ("unclosed", None)


def test_f9_what_a_server_left_in_the_text_is_read_too():
    def served(text: str, thought: str = "moon", name: str = "auto"):
        return parts(text, name, reasoning=thought)

    assert served("<think>moon</think>\n\nsoup") == ("closed", "moon", "soup")
    assert served("</think>\n\nsoup") == ("closed", "moon", "soup")
    assert served("more</think>soup") == ("closed", "moon\n\nmore", "soup")
    assert served("moon\n\nsoup") == ("closed", "moon", "soup")
    assert served("<think>again", "moon") == ("unclosed", "moon\n\nagain", None)
    assert served("So: <answer>soup</answer>") == ("closed", "moon", "So:\n\nsoup")
    assert served("moon soup") == ("closed", "moon", "moon soup")
    assert served("It is \\boxed{soup}", name="boxed") == ("closed", "moon", "It is \\boxed{soup}")


def test_f10_a_thought_ends_at_the_last_of_its_ends():
    assert parts("<think>Out <think>in</think> on</think>soup")[1:] == (
        "Out <think>in</think> on",
        "soup",
    )
    assert parts("moon</think>more</think>soup")[1:] == ("moon</think>more", "soup")
    assert parts("<think>moon</think>\n</think>soup")[1:] == ("moon", "soup")
    # An end with nothing behind it takes no answer away.
    assert parts("<think>moon</think>soup</think>")[1:] == ("moon", "soup")
    assert parts("moon</think>soup</think>\n", "think-prefilled")[1:] == ("moon", "soup")
    # An end behind an answer tag, or one that is talked about, ends nothing.
    assert parts("<think>a</think><answer>soup</think></answer>")[1] == "a"
    assert parts("<think>a</think>Close it with </think> tags.")[1] == "a"


def test_f11_stop_tokens_are_no_part_of_an_answer():
    for token in ("<|im_end|>", "<|eot_id|>", "</s>", "<end_of_turn>", "<｜end▁of▁sentence｜>"):
        assert parts(f"<think>moon</think>soup{token}") == ("closed", "moon", "soup")
        assert parts(f"soup{token}")[2] == "soup"
    assert parts("<s>struck</s>")[2] == "<s>struck</s>"


def test_f16_a_lone_end_in_mid_line_counts_unless_the_sentence_is_about_it():
    assert parts("I pick the soup </think> the soup is hot.")[0] == "closed"
    for reply in ("Close with </think> and go on.", "It is called the </think> tag."):
        assert parts(reply) == ("absent", None, reply)


def test_a_reply_in_another_format_than_the_one_named_is_read_in_its_own():
    for name in ("think", "think-prefilled", "boxed", "mulberry"):
        trace = reasoning.parse(Response(OK, text="[THINK]moon[/THINK]soup"), name)
        assert (trace.status, trace.found_by) == (TraceStatus.CLOSED, "mistral, detected")
    assert parts("[THINK]moon[/THINK]soup", "none")[0] == "absent"
