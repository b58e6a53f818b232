"""Splitting a reply into reasoning and answer: formats, edge cases, and what must never happen."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opensafemlrm import reasoning
from opensafemlrm.errors import UnknownNameError
from opensafemlrm.types import Part, Response, ResponseStatus, Trace, TraceStatus

OK, TRUNCATED = ResponseStatus.OK, ResponseStatus.TRUNCATED


def split(text: str, name: str = "auto", status: ResponseStatus = OK) -> Trace:
    return reasoning.parse(Response(status, text=text), name)


def parts(text: str, name: str = "auto", status: ResponseStatus = OK):
    trace = split(text, name, status)
    assert trace.full == text
    return trace.status.value, trace.reasoning, trace.answer


# name, whether auto finds it, reply; each reasons "moon" and answers "soup".
REPLIES = {
    "r1-onevision": ("think", True, "<think>\nmoon\n</think>\n\nsoup"),
    "mm-eureka": ("think", True, "<think>moon</think><answer>soup</answer>"),
    "skywork": ("think", True, "moon\n</think>\n\nsoup"),
    "qwen3-vl": ("think-prefilled", True, "moon\n</think>\n\nsoup"),
    "qwen3-vl, doubled tag": ("think-prefilled", True, "<think>\nmoon\n</think>\n\nsoup"),
    "thinking": ("thinking", True, "<thinking>moon</thinking>\nsoup"),
    "thought": (
        "thought",
        True,
        "<|begin_of_thought|>\n\nmoon\n\n<|end_of_thought|>\n\n"
        "<|begin_of_solution|>\n\nsoup\n\n<|end_of_solution|>",
    ),
    "kimi": ("kimi", True, "◁think▷moon◁/think▷soup"),
    "kimi, swallowed": ("kimi", True, "moon◁/think▷\n\nsoup"),
    "glm": (
        "glm",
        True,
        "<think>moon</think><answer><|begin_of_box|>soup<|end_of_box|></answer>",
    ),
    "keye": ("keye", True, "<analysis>moon</analysis>soup"),
    "thought tags": ("thought-tags", True, "<thought>moon</thought>soup"),
    "reasoning tags": ("reasoning-tags", True, "<reasoning>moon</reasoning>soup"),
    "ernie": ("think", True, "<think>\nmoon\n</think>\n\n<response>\nsoup\n</response>\n"),
    "as plain text": ("think", True, "<Think >moon</ THINK>soup"),
    "gemma 4": ("gemma", True, "<|channel>thought\nmoon<channel|>soup"),
    "magistral": ("mistral", True, "[THINK]moon[/THINK]soup"),
    "minimax m3": ("minimax", True, "<mm:think>moon</mm:think>soup"),
    "seed": ("seed", True, "<seed:think>moon</seed:think>soup"),
    "cohere, opened by the template": (
        "cohere",
        True,
        "moon<|END_THINKING|><|START_TEXT|>soup<|END_TEXT|>",
    ),
    "cohere": (
        "cohere",
        True,
        "<|START_THINKING|>moon<|END_THINKING|><|START_RESPONSE|>soup<|END_RESPONSE|>",
    ),
    "kimi k3": (
        "kimi-k3",
        True,
        "<|open|>think<|sep|>moon<|close|>think<|sep|>"
        "<|open|>response<|sep|>soup<|close|>response<|sep|><|close|>message<|sep|>",
    ),
    "inkling": (
        "inkling",
        True,
        "<|message_model|><|content_thinking|>moon<|end_message|>"
        "<|message_model|><|content_text|>soup<|end_message|><|content_model_end_sampling|>",
    ),
    "apertus": ("apertus", True, "<|inner_prefix|>moon<|inner_suffix|>soup"),
    "llava-cot": (
        "llava-cot",
        True,
        "<REASONING> moon </REASONING>\n\n<CONCLUSION> soup </CONCLUSION>",
    ),
    "harmony": (
        "harmony",
        True,
        "<|channel|>analysis<|message|>moon<|end|>"
        "<|start|>assistant<|channel|>final<|message|>soup<|return|>",
    ),
    "kimi k2.5": ("kimi-k2", True, "moon</think>soup"),
    "longcat": ("longcat", True, "moon</longcat_think>soup"),
    "solar": ("solar", True, "moon<|think:end|>soup"),
    "pangu": ("pangu", True, "[unused16]moon[unused17]soup[unused10]"),
    "harmony, special tokens stripped": ("harmony", True, "analysismoonassistantfinalsoup"),
    "harmony, start swallowed": (
        "harmony",
        True,
        "analysis<|message|>moon<|end|><|start|>assistant<|channel|>final<|message|>soup",
    ),
    "vl-rethinker": ("boxed", False, "moon\n$\\boxed{soup}$."),
    "qvq": ("qvq", False, "moon\n\n**Final Answer**\n\nsoup"),
    "llamav-o1": ("llamav-o1", False, "moon\n\n### Conclusion:\nsoup"),
}


@pytest.mark.parametrize(("name", "detected", "reply"), REPLIES.values(), ids=REPLIES)
def test_each_format_is_split_by_name_and_where_its_marks_are_its_own_by_detection(
    name: str, detected: bool, reply: str
):
    assert parts(reply, name) == ("closed", "moon", "soup")
    expected = ("closed", "moon", "soup") if detected else ("absent", None, reply)
    assert parts(reply, "auto") == expected


def test_every_named_format_is_described_and_says_how_it_was_found():
    assert {name for name, _, _ in REPLIES.values()} | {
        "auto",
        "none",
        "mulberry",
        "granite",
    } == set(reasoning.FORMATS)
    assert split("<think>a</think>b").found_by == "think, detected"
    assert split("<think>a</think>b", "think").found_by == "think, given"
    assert split("b").found_by == "no marks detected"


def test_an_unknown_format_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean think"):
        split("a", "thnk")


MULBERRY = (
    "### Image Description:\nA lantern.\n\n### Rationales:\nIt is lit.\n\n"
    "### Let's think step by step.\n\n### Step 1:\nLook.\n\n### The final answer is: soup"
)


@pytest.mark.parametrize("name", ["auto", "mulberry"])
def test_mulberry_headings(name: str):
    status, reason, answer = parts(MULBERRY, name)
    assert (status, answer) == ("closed", "soup")
    assert reason is not None
    assert reason.startswith("### Image Description:")
    assert reason.endswith("### Step 1:\nLook.")
    cut = MULBERRY[: MULBERRY.index("### The final")]
    assert parts(cut, name, TRUNCATED) == ("unclosed", cut, None)
    assert parts("I would rather not say.", name) == ("absent", None, "I would rather not say.")


def test_granite_is_detected_where_its_sentence_begins_the_reply():
    reply = "Here is my thought process:\nmoon\n\nHere's my response:\nsoup"
    for name in ("auto", "granite"):
        assert parts(reply, name)[::2] == ("closed", "soup")


def test_llava_cot_stages_are_all_reasoning_and_without_a_conclusion_unclosed():
    stages = "<SUMMARY> a </SUMMARY>\n\n<CAPTION> b </CAPTION>\n\n<REASONING> c </REASONING>\n\n"
    assert parts(stages + "<CONCLUSION> soup </CONCLUSION>") == ("closed", "a\n\nb\n\nc", "soup")
    assert parts(stages) == ("unclosed", "a\n\nb\n\nc", None)
    assert parts(stages + "soup") == ("closed", "a\n\nb\n\nc", "soup")


def test_keye_analysis_and_thought_are_both_reasoning():
    reply = "<analysis>hard</analysis><think>moon</think><answer>soup</answer>"
    assert parts(reply) == ("closed", "hard\n\nmoon", "soup")


def test_harmony_commentary_reaches_the_user_and_an_open_analysis_is_unclosed():
    reply = "<|channel|>analysis<|message|>moon<|end|><|channel|>commentary<|message|>soup<|end|>"
    assert parts(reply) == ("closed", "moon", "soup")
    assert parts("<|channel|>analysis<|message|>moon")[0::2] == ("unclosed", None)
    assert parts("<|channel|>final<|message|>soup<|return|>") == ("absent", None, "soup")


def test_a_box_is_matched_to_its_own_brace_and_the_last_one_is_the_answer():
    assert parts(r"so \boxed{a}? Let me check. \boxed{\frac{1}{2}}", "boxed") == (
        "closed",
        r"so \boxed{a}? Let me check.",
        r"\frac{1}{2}",
    )
    assert parts(r"x \boxed{soup} and salt", "boxed") == ("closed", "x", "soup\n\nand salt")


# Published tools go wrong: no </think> found ---------------------------------------------------


@pytest.mark.parametrize("name", sorted(reasoning.FORMATS))
def test_no_end_tag_found_never_turns_the_first_characters_into_reasoning(name: str):
    reply = "The lantern soup needs a carrot."
    status, reason, answer = parts(reply, name)
    if reasoning.FORMATS[name].prefilled:  # the template opened a block that never ends
        assert (status, reason, answer) == ("unclosed", reply, None)
    else:
        assert (status, reason, answer) == ("absent", None, reply)


@pytest.mark.parametrize("name", ["auto", "think"])
def test_an_unclosed_trace_is_all_reasoning_and_has_no_answer(name: str):
    assert parts("<think>\nI wonder", name, TRUNCATED) == ("unclosed", "I wonder", None)
    assert parts("<think>a</think> b <think>c", name) == ("unclosed", "a\n\nc", None)
    assert parts("<think>", name) == ("unclosed", None, None)


def test_cut_free_text_is_unclosed_reasoning_not_an_answer():
    for name in ("boxed", "qvq", "llamav-o1"):
        assert parts("I wonder", name, TRUNCATED) == ("unclosed", "I wonder", None)


@pytest.mark.parametrize("name", ["auto", "think", "think-prefilled"])
def test_an_empty_block_is_no_reasoning(name: str):
    assert parts("<think>\n\n</think>\n\nsoup", name) == ("absent", None, "soup")


def test_several_blocks_are_joined_and_what_stands_between_is_answer():
    assert parts("<think>a</think> b <think>c</think> d") == ("closed", "a\n\nc", "b\n\nd")


def test_a_closed_trace_without_an_answer_has_none():
    assert parts("<think>a</think>\n") == ("closed", "a", None)


def test_a_forgotten_end_tag_is_supplied_by_the_answer_tag():
    assert parts("<think>moon\n<answer>soup</answer>") == ("closed", "moon", "soup")
    assert parts("moon\n<answer>soup</answer>", "think") == ("closed", "moon", "soup")


def test_blocks_do_not_nest_so_a_doubled_opening_tag_does_not_hide_the_answer():
    assert parts("<think>\n<think>\nmoon</think>soup")[2] == "soup"


# Tags that are talked about --------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        "Models end it with `</think>` and go on.",
        'Models end it with "</think>" and go on.',
        "They write <think>...</think> tags around it.",
        "It is called the </think> tag.",
        "As in:\n```xml\n<think>\nmoon\n</think>\nsoup\n```\nThat is all.",
        "Use `<think>moon</think>` for it.",
    ],
)
def test_a_reply_that_talks_about_tags_is_not_split(reply: str):
    assert parts(reply) == ("absent", None, reply)


@pytest.mark.parametrize(
    "thought",
    [
        "I must write `</think>` when done.",
        "I must write “</think>” when done.",
        "I must write the </think> tag when done.",
        "Like so:\n```\n<think>\nx\n</think>\n```\nDone.",
    ],
)
def test_a_tag_talked_about_in_the_reasoning_does_not_end_it(thought: str):
    assert parts(f"<think>{thought}</think>soup") == ("closed", thought, "soup")
    assert parts(f"<think>{thought}", "auto", TRUNCATED) == ("unclosed", thought, None)


def test_a_fence_left_open_does_not_hide_the_end():
    reply = "<think>try\n```py\nx = 1\n</think>\nsoup\n```py\ny\n```\n"
    assert parts(reply)[1] == "try\n```py\nx = 1"


def test_an_end_in_mid_sentence_counts_where_there_is_no_better_one_and_the_reply_is_whole():
    reply = "<think>it is 5 </think> so five"
    assert parts(reply) == ("closed", "it is 5", "so five")
    assert parts(reply, "auto", TRUNCATED)[0] == "unclosed"
    assert parts("it is 5 </think> so five", "think") == ("closed", "it is 5", "so five")
    assert parts("it is 5 </think> so five") == ("closed", "it is 5", "so five")
    assert parts("it is 5 </think> so five", "auto", TRUNCATED)[0] == "absent"


def test_the_format_whose_tag_comes_first_is_taken():
    assert parts("<thinking>not <think> yet</thinking>soup")[1:] == ("not <think> yet", "soup")
    assert parts("◁think▷the old </think>\n◁/think▷soup")[1:] == ("the old </think>", "soup")


# What servers split off ------------------------------------------------------------------------


def server(text: str = "", **more) -> Trace:
    return reasoning.parse(Response(OK, text=text, **more))


def test_server_fields_win_over_tags():
    trace = server("<answer>soup</answer>", reasoning="moon </think> x")
    assert (trace.status, trace.reasoning, trace.answer) == (
        TraceStatus.CLOSED,
        "moon </think> x",
        "soup",
    )
    assert trace.full == "moon </think> x\n\n<answer>soup</answer>"
    assert trace.found_by == "server"


def test_everything_sent_as_reasoning_is_a_trace_whose_end_never_came():
    trace = server("", reasoning="moon and")
    assert (trace.status, trace.answer, trace.full) == (TraceStatus.UNCLOSED, None, "moon and")


def test_a_blank_server_field_says_nothing():
    assert server("<think>a</think>b", reasoning="\n").reasoning == "a"


def test_hidden_reasoning_and_summaries_are_marked():
    hidden = server("soup", reasoning_hidden=True)
    assert (hidden.status, hidden.reasoning, hidden.answer) == (TraceStatus.HIDDEN, None, "soup")
    summary = server("soup", reasoning="In short", reasoning_is_summary=True)
    assert (summary.status, summary.reasoning) == (TraceStatus.SUMMARY, "In short")
    partly = server("soup", reasoning="first", reasoning_hidden=True)
    assert partly.status is TraceStatus.SUMMARY, "what was kept back makes it less than the trace"
    assert server("soup", reasoning_is_summary=True).status is TraceStatus.HIDDEN


# Laws ------------------------------------------------------------------------------------------

TAGS = "think /think answer /answer thinking /thinking analysis SUMMARY /SUMMARY /CONCLUSION"
TOKENS = "begin_of_box end_of_box begin_of_thought end_of_thought channel message start end"
MARKS = [
    *(f"<{tag}>" for tag in re.split(" ", TAGS)),
    *(f"<|{token}|>" for token in re.split(" ", TOKENS)),
    *(
        "◁think▷",
        "◁/think▷",
        "`",
        '"',
        "(",
        ",",
        ".",
        "analysis",
        "final",
        "\\boxed{",
        "}",
        "{",
        "$",
    ),
    *("\n### Image Description:", "\n### The final answer is:", "\n**Final Answer**", "\n```"),
    *("\n", "\n\n", " ", "moon", "Soup", "月"),
]
TEXTS = st.lists(st.sampled_from(MARKS) | st.text(max_size=5), max_size=25).map("".join)


@given(TEXTS, st.sampled_from(sorted(reasoning.FORMATS)), st.booleans())
def test_splitting_loses_no_character(text: str, name: str, truncated: bool):
    reading = reasoning.read(text, name, truncated=truncated)
    assert "".join(segment.text for segment in reading.segments) == text
    assert all(segment.text for segment in reading.segments)


@given(TEXTS, st.sampled_from(sorted(reasoning.FORMATS)), st.sampled_from([OK, TRUNCATED]))
def test_a_trace_never_contradicts_itself(text: str, name: str, status: ResponseStatus):
    trace = split(text, name, status)
    if trace.status is TraceStatus.UNCLOSED:
        assert trace.answer is None
    elif trace.status is TraceStatus.ABSENT:
        assert trace.reasoning is None
    else:
        assert trace.status is TraceStatus.CLOSED
        assert trace.part(Part.REASONING)
    assert trace.full == text


@given(st.text(alphabet=st.characters(exclude_characters="<>`◁▷#|"), min_size=1))
def test_a_reply_without_marks_is_its_own_answer(text: str):
    assert split(text).part(Part.ANSWER) == (text if text.strip() else None)


HOSTILE = ["<think>", "<think> a </think> b, ", "`<think>`", "<think>\n```\n</think>\n```\n"]
HOSTILE += ["in <think> </think> x ", "\\boxed{", "<|message|>", "**", "$", "\n", " ", "<answer>"]


@pytest.mark.once
@pytest.mark.no_cover
@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_replies_are_read_in_linear_time(unit: str):
    # 100 KB: what is quadratic in the tags takes minutes here.
    text = unit * (100_000 // len(unit))
    for name in reasoning.FORMATS:
        assert sum(len(s.text) for s in reasoning.read(text, name).segments) == len(text)


@given(
    st.lists(
        st.sampled_from(
            (
                *("###", "The Final Answer is", "IMAGE description", "# rationaleſ"),
                *("## let’s think step by step", "# Let's think step by step"),
                *("\n", " ", "  ", ":", "moon", "é"),
            )
        )
    ).map("".join)
)
def test_a_final_heading_behind_one_that_begins_is_detected_wherever_it_is_read(text: str):
    text = f"### Rationales\n{text}"
    named = reasoning.read(text, "mulberry")
    if named.is_marked:
        assert reasoning.read(text) == named


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("TIGER-Lab/VL-Rethinker-7B", "boxed"),
        ("omkarthawakar/LlamaV-o1", "llamav-o1"),
        ("Qwen/QVQ-72B-Preview", "qvq"),
        ("Fancy-MLLM/R1-Onevision-7B", "auto"),
        ("acme/mvl-rethinkers", "auto"),
    ],
)
def test_models_that_reason_in_free_text_are_known_by_name(model: str, expected: str):
    assert reasoning.format_of_model(model) == expected
