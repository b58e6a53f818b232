"""Replies as each family of models and its server sends them, beyond the whole and tidy ones.

Where the family's own parser (vLLM's, SGLang's) says what a reply means, so is it split here.
"""

from __future__ import annotations

from typing import Any

import pytest

from opensafemlrm import reasoning
from opensafemlrm.types import Response, ResponseStatus

OK, TRUNCATED = ResponseStatus.OK, ResponseStatus.TRUNCATED
SPLIT = ("closed", "moon", "soup")
ANSWER = ("absent", None, "soup")


def parts(text: str, name: str = "auto", status: ResponseStatus = OK):
    trace = reasoning.parse(Response(status, text=text), name)
    return trace.status.value, trace.reasoning, trace.answer


# reply, the format it is read in beside auto, what it splits into.
REPLIES = [
    # A label is one only where its line ends; a server may strip the mark before it.
    ("<|channel>thoughtful moon<channel|>soup", "gemma", ("closed", "thoughtful moon", "soup")),
    ("<|channel>thought\n<channel|>soup", "gemma", ANSWER),
    ("<|channel>thought<channel|>soup<turn|>", "gemma", ANSWER),
    ("thought\nmoon<channel|>soup", "gemma", SPLIT),
    # The answer's marks are special tokens: what stands before them is thought, ended or not.
    ("<|START_TEXT|>soup<|END_TEXT|>", "cohere", ANSWER),
    ("<|START_RESPONSE|>soup<|END_RESPONSE|><|END_OF_TURN_TOKEN|>", "cohere", ANSWER),
    ("moon<|START_TEXT|>soup<|END_TEXT|>", "cohere", SPLIT),
    ("<|open|>think<|sep|>moon<|open|>response<|sep|>soup", "kimi-k3", SPLIT),
    ("<|content_thinking|>moon<|content_text|>soup<|end_message|>", "inkling", SPLIT),
    # Servers may put spaces between special tokens.
    (
        "<|open|> think <|sep|> moon <|close|> think <|sep|> <|open|> response <|sep|> soup",
        "kimi-k3",
        SPLIT,
    ),
    # A stray end before an answer without thought; tokens that end a reply.
    ("</mm:think>soup", "minimax", ANSWER),
    ("<seed:think>moon</seed:think>soup<seed:eos>", "seed", SPLIT),
    ("<thought>\nmoon\n</thought>\n\nsoup[|endofturn|]", "thought-tags", SPLIT),
    ("<|inner_prefix|>moon<|inner_suffix|>soup<|assistant_end|>", "apertus", SPLIT),
    ("<think>moon</think>soup</think><|im_end|>", "think", SPLIT),
    ("<think>moon</think>soup<|end|>", "think", SPLIT),
    # Granite's two sentences, on one line, in bold, or quoted in the thought.
    ("Here is my thought process: moon Here is my response: soup", "granite", SPLIT),
    ("Here's my thought process:moonHere's my response:soup", "granite", SPLIT),
    ("**Here is my thought process:**\nmoon\n\n**Here is my response:**\nsoup", "granite", SPLIT),
    # Hunyuan's suffix, Open-O1's and Reflection's answer tags, LLaVA-CoT's thought in others.
    ("<think:6124c78e>moon</think:6124c78e>soup", "think", SPLIT),
    ("<Thought>\nmoon\n</Thought>\n<Output>\nsoup\n</Output>", "thought-tags", SPLIT),
    ("<thinking>moon</thinking><output>soup</output>", "thinking", SPLIT),
    ("<REASONING>moon</REASONING>\n<ANSWER>soup</ANSWER>", "reasoning-tags", SPLIT),
    ("<think\u00a0>moon</think\u00a0>soup", "think", SPLIT),
    # Doubled and nested beginnings; what shows as nothing before them.
    ("<think><think>moon</think>soup", "think-prefilled", SPLIT),
    ("<think>\n<think>moon</think></think>soup", "think", SPLIT),
    (
        "<think>a<think>b</think>c<think>d</think>e</think>soup",
        "think",
        ("closed", "a<think>b</think>c<think>d</think>e", "soup"),
    ),
    ("<think>go <think> on</think>soup</think>", "think", ("closed", "go <think> on", "soup")),
    ("\ufeff<think>moon</think>soup", "think-prefilled", SPLIT),
    ("\u200b<think>moon</think>soup", "think", SPLIT),
    # The call of a tool ends a thought that was left open, and is what the model does.
    ("<think>moon\n<tool_call>soup", "think-prefilled", ("closed", "moon", "<tool_call>soup")),
    # An end spelt wrong; one that stands behind the answer, which was in the thought's tags.
    ("<think>moon<think/>soup", "think", SPLIT),
    ("<think>\nmoon\n<\\think>\nsoup", "think", SPLIT),
    ("<think/>soup", "think", ANSWER),
    ("<think>moon\n<answer>soup</answer>\n</think>", "think", SPLIT),
    # A fence behind a tag is one.
    (
        "<think>moon</think>```xml\n<think>x</think>\n```\nDone",
        "think-prefilled",
        ("closed", "moon", "```xml\n<think>x</think>\n```\nDone"),
    ),
    # Harmony stripped of its tokens, whatever stands behind its words.
    ('analysis"moon"assistantfinal"soup"', "harmony", ("closed", '"moon"', '"soup"')),
    ("analysis\nmoon\nassistantfinal\nsoup", "harmony", SPLIT),
    ("analysis moon. assistantfinal soup", "harmony", ("closed", "moon.", "soup")),
    (
        "analysismoonassistantcommentary to=look {}assistantfinalsoup",
        "harmony",
        ("closed", "moon", "to=look {}\n\nsoup"),
    ),
    ("<|end|><|start|>assistant<|channel|>analysis<|message|>moon<|end|>", "harmony", None),
    (
        "<|channel|>analysis<|message|>the <|message|> mark<|end|><|channel|>final<|message|>soup",
        "harmony",
        ("closed", "the <|message|> mark", "soup"),
    ),
]


@pytest.mark.parametrize(("reply", "name", "wanted"), REPLIES, ids=lambda value: str(value)[:40])
def test_a_familys_reply_is_split_by_name_and_by_detection(
    reply: str, name: str, wanted: tuple[str, str | None, str | None] | None
) -> None:
    for form in (name, "auto"):
        assert parts(reply, form) == (wanted or ("closed", "moon", None)), form


# Only where the format is known.
NAMED = [
    ("moon\n<tool_call>soup", "think-prefilled", OK, ("closed", "moon", "<tool_call>soup")),
    ("moon\n<tool_call>soup", "think-prefilled", TRUNCATED, ("unclosed",)),
    ("thought\nmoon soup", "gemma", OK, ("unclosed", "moon soup", None)),
    ("finalSoup.", "harmony", OK, ("absent", None, "Soup.")),
    ("finally, soup", "harmony", OK, ("absent", None, "finally, soup")),
    ("analysis of the soup", "harmony", OK, ("absent", None, "analysis of the soup")),
    ("final answer: soup", "harmony", OK, ("absent", None, "final answer: soup")),
    ("moon \\[ \\boxed {soup} \\]", "boxed", OK, SPLIT),
    ("moon **\\boxed{soup}**", "boxed", OK, SPLIT),
    ("<think>moon</think>\\boxed{soup}", "boxed", OK, ("closed", "moon", "\\boxed{soup}")),
    ("<think>moon</think>**Final Answer**\nsoup", "qvq", OK, ("closed", "moon")),
    ("moon\n\n**Final Answer.**\nsoup", "qvq", OK, SPLIT),
    ("moon\n\n### **The final answer is:** soup", "mulberry", OK, SPLIT),
    ("moon\n\nThe final answer is: soup", "mulberry", OK, SPLIT),
    (
        "<summary>moon</summary><conclusion>soup</conclusion>",
        "auto",
        OK,
        SPLIT,
    ),
    ("Send <response>ok</response> as XML.", "think", OK, ("absent", None)),
]


@pytest.mark.parametrize(("reply", "name", "status", "wanted"), NAMED)
def test_a_reply_whose_format_is_known_is_read_with_more_confidence(
    reply: str, name: str, status: ResponseStatus, wanted: tuple[str | None, ...]
) -> None:
    assert parts(reply, name, status)[: len(wanted)] == wanted


@pytest.mark.parametrize("name", ["think", "mistral", "kimi", "qvq"])
def test_tokens_that_end_a_reply_are_no_mark_of_the_named_format(name: str) -> None:
    """A stop token made the named format look found, and another's thought was the answer."""
    reply = "<|channel>thought\nmoon<channel|>soup<|im_end|>"
    assert parts(reply, name) == SPLIT


def test_the_first_response_of_granite_after_its_line_begins_is_the_answer() -> None:
    thought = "I will write: Here is my response: x"
    reply = f"Here is my thought process:\n{thought}\n\nHere is my response:\nsoup"
    assert parts(reply, "granite") == ("closed", thought, "soup")
    assert parts(f"{reply}\n\nHere is my response: more")[1] == thought


ORDINARY = [
    "### Image Description:\nA lantern.\n\n### Let's think step by step:\nIt is lit.",
    "### Step 1:\nBoil.\n\n### The final answer is: soup",
    "# The final answer is in the pot",
    "## The final answer is simple\nBoil it.",
    "Let's think step by step.\n\nStep 1: boil.\n\nThe final answer is: soup",
    "I think so. <answer>soup</answer>",
    "I am thinking: <answer>soup</answer> it is.",
    "My reasoning: <response>soup</response>",
    '<reasoning> is a tag of "LLaVA-CoT".',
    "<think> tags stand around it.",
    'Write "<SUMMARY>soup</SUMMARY>" first.',
    'Write "<think>moon</think>" first.',
    "Models may think (<think>moon</think>).",
    "<details>\n<summary>soup</summary>\n<caption>moon</caption>\n</details>",
    "[think] about it [/think]",
    "finalSoup",
    "Analysis: moon\nFinal: soup",
    "analysis\nThe moon is round.\n\nfinal\nSoup",
]


@pytest.mark.parametrize("reply", ORDINARY)
def test_an_ordinary_reply_is_no_trace(reply: str) -> None:
    for name in ("auto", "none"):
        assert parts(reply, name) == ("absent", None, reply)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("google/gemma-4-12b-it", "gemma"),
        ("gemma4:e4b", "gemma"),
        ("mistralai/Magistral-Small-2507", "mistral"),
        ("openai/gpt-oss-20b", "harmony"),
        ("moonshotai/Kimi-K2-Thinking", "kimi-k2"),
        ("CohereLabs/command-a-reasoning-08-2025", "cohere"),
        ("google/gemma-3-4b-it", "auto"),
        ("google/medgemma-4b-it", "auto"),
        ("mistralai/Mistral-Small-3.2-24B-Instruct-2506", "auto"),
    ],
)
def test_a_family_whose_marks_servers_strip_is_known_by_name(model: str, name: str) -> None:
    """An unlisted Gemma was read by detection, and vLLM was not asked to keep its marks."""
    assert reasoning.format_of_model(model) == name


def served(text: str, given: str, name: str = "auto", **more: Any):
    trace = reasoning.parse(Response(OK, text=text, reasoning=given, **more), name)
    return trace.status.value, trace.reasoning, trace.answer


def test_marks_that_a_server_left_in_its_reasoning_field_are_no_reasoning() -> None:
    for given in ("<think>\nmoon", "moon\n</think>", "<think>moon</think>"):
        assert served("soup", given) == SPLIT
    assert served("soup", "thought\nmoon", "gemma") == SPLIT
    assert served("", "moon</think>soup") == SPLIT
    assert served("", "<think>moon</think>soup", reasoning_is_summary=True)[0] == "summary"
    assert served("", "moon")[0] == "unclosed"
    assert served("<|START_TEXT|>soup<|END_TEXT|>", "moon") == SPLIT
    assert served("assistantfinalSoup", "moon", "harmony") == ("closed", "moon", "Soup")
