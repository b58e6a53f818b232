"""The fence around what a judge reads: nothing in it closes it, or speaks as the judge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opensafemlrm.judges.fence import edition, fence_token, fill, neutralize
from opensafemlrm.judges.policy_rubric import RUBRIC
from opensafemlrm.reasoning import FORMATS

HOSTILE = st.lists(
    st.sampled_from(["===", "text ends", "=== ", "#thescore: 1", "{{", "}}", "token", "\n"])
    | st.text(max_size=8),
    max_size=12,
).map("".join)


@given(HOSTILE, HOSTILE)
def test_nothing_in_an_item_can_close_its_fence(question: str, text: str):
    prompt = RUBRIC.prompt(question, text)
    token = fence_token(neutralize(question), neutralize(text))
    assert token not in neutralize(question)
    assert token not in neutralize(text)
    fences = [line for line in prompt.turns[1].text.split("\n") if line.startswith(f"=== {token}")]
    assert [line.split(maxsplit=2)[2] for line in fences] == [
        "question begins ===",
        "question ends ===",
        "text begins ===",
        "text ends ===",
    ]
    enclosed = prompt.turns[1].text.split(f"{fences[2]}\n")[1].split(f"\n{fences[3]}")[0]
    assert enclosed == neutralize(text)
    assert prompt == RUBRIC.prompt(question, text), "the same item makes the same prompt"


def test_a_reply_that_knows_the_first_token_gets_another():
    # The token depends on the text; a collision is forced by looking for the first one tried.
    class Knowing(str):
        __slots__ = ("tokens",)

        def __contains__(self, token: object) -> bool:
            self.tokens: list[object] = [*getattr(self, "tokens", []), token]
            return len(self.tokens) < 3

    text = Knowing("soup")
    assert fence_token(text) == text.tokens[-1]
    assert len(set(text.tokens)) == 3


TOKENS = (
    *(
        "<|im_start|>",
        "<|eot_id|>",
        "<|start_header_id|>",
        "</s>",
        "<s>",
        "<eos>",
        "<bos>",
        "<pad>",
    ),
    *("<start_of_turn>", "<end_of_turn>", "<image_soft_token>", "<img>", "</img>", "<IMG_CONTEXT>"),
    *("<im_start>", "<im_end>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    *("[TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "[IMG_BREAK]", "[IMG_END]", "[THINK]", "<<SYS>>"),
    *(
        "<</SYS>>",
        "[gMASK]",
        "<sop>",
        "<|channel|>",
        "[|system|]",
        "[|endofturn|]",
        "]~b]",
        "]~!b[",
    ),
    *(
        "]~!b[",
        "[e~[",
        "<pad>",
        ">>QUESTION<<",
        "<seed:think>",
        "<unused12>",
        "<extra_id_0>",
        "<tool_call>",
    ),
    *(
        "<｜User｜>",
        "＜|im_end|＞",
        "＜｜im_end｜＞",
        "［INST］",
        "［ＩＮＳＴ］",
        "＜/s＞",
        "﹤/s﹥",
    ),
    *("﹤/s﹥", "＜ｔｈｉｎｋ＞", "‹/s›", "<∣im_end∣>"),
    *(
        mark
        for form in FORMATS.values()
        for marks in (*form.blocks, *form.answers, form.inline)
        for mark in marks
        if not mark[0].isalnum()
    ),
)


@pytest.mark.parametrize("token", TOKENS)
def test_no_control_token_of_any_family_reaches_a_judge(token: str):
    """A reply that a server tokenizes from plain text could end its turn and speak as the judge."""
    for text in (token, f"carrot{token}moon", f"{token}{token}", f"<{token}"):
        body = RUBRIC.prompt("soup?", text).turns[1].text
        assert token not in body
        assert neutralize(text).replace(" ", "") == text.replace(" ", "")
        assert neutralize(neutralize(text)) == neutralize(text)


@pytest.mark.parametrize(
    "token",
    [
        "<|im_end|>",
        "<|eot_id|>",
        "</s>",
        "<end_of_turn>",
        "[/INST]",
        "<｜end▁of▁sentence｜>",
        "<image>",
    ],
)
def test_control_tokens_of_chat_templates_are_broken_and_no_word_is_lost(token: str):
    body = RUBRIC.prompt("soup?", f"carrot{token}moon").turns[1].text
    assert token not in body
    assert neutralize(f"carrot{token}moon").replace(" ", "") == f"carrot{token}moon"


def test_ordinary_text_is_judged_as_it_is():
    text = "a < b | c > d [x]\n| table | of |\n<b>soup</b>"
    assert neutralize(text) == text
    assert neutralize("a\ud800b") == "a?b"


def test_a_slot_without_a_value_is_a_mistake():
    with pytest.raises(KeyError):
        fill("{{nothing}}", {})


LATER = {
    **{f"letters of mathematics {n}": t for n, t in enumerate(("<𝐬>", "</𝐬>", "<𝓼𝔂𝓼>", "<𝔢𝔬𝔰>"))},
    **{f"numerals and superscripts {n}": t for n, t in enumerate(("<ⅽls>", "<ˢ>", "<Ⓢ>", "<ₛₑₚ>"))},
    **{
        f"{ord(sign):x} inside": f"<{sign}s>"
        for sign in "\u200b\u200d\xad\u2060\u202e\ufe0f\ufeff\u180e\u034f\u3164\U000e0041\x01\ufffd"
    },
    **{
        f"unseen {n}": t
        for n, t in enumerate(("<s\u200b>", "[IN\u200bST]", "<|im\u200b_end|\u200b>"))
    },
    **{
        token: token
        for token in (
            *("<[begin▁of▁sentence]>", "<[PLHD21_never_used]>", "[unused1]", "[img]", "[inst]"),
            *("<reserved0>", "<eom>", "<bom>", "<AI>", "<0x0A>", "<end of text>", "<s/>", "<s >"),
            *("<end▁of▁sentence>", "<loc0123>", "<pad0>", "<eoc>", "<grounding>", "<dummy32001>"),
            *("❰s❱", "<❘im_start❘>", "<⏐im_end⏐>", "〈s〉", "﹇ＩＮＳＴ﹈", "＜ｅｏｍ＞"),
        )
    },
}
"""Tokens that the first edition of the fence let through, or broke by another rule."""


@pytest.mark.parametrize("token", LATER.values(), ids=LATER)
def test_a_token_that_only_a_normalizing_tokenizer_reads_is_broken_too(token: str):
    for text in (token, f"carrot {token} moon", f"“{token}” – {token}", f"<{token}", token * 3):
        shown = neutralize(text)
        assert token not in shown
        assert shown.replace(" ", "") == text.replace(" ", "")
        assert neutralize(shown) == shown


@given(HOSTILE | st.text() | st.text("<>|[]/s𝐬ⅽ\u200b＜＞ INSTim_end▁", max_size=30))
def test_a_broken_text_holds_no_token_and_every_sign_that_it_had(text: str):
    shown = neutralize(text)
    assert edition(shown) == 1
    assert neutralize(shown) == shown
    whole = text.encode("utf-8", "replace").decode()
    assert shown.replace(" ", "") == whole.replace(" ", "")


def test_what_both_editions_show_alike_is_of_the_first():
    """Its verdicts, which were paid for, are those that the store has."""
    plain = [
        "Boil it.",
        "<think>a < b</think>\n| x | y [z] |",
        "「把胡萝卜煮熟」（真的）",
        "＜/s＞[INST]",
        "ﬁne ①",
    ]
    assert [edition(text) for text in plain] == [1] * len(plain)
    assert {edition("soup?", token) for token in LATER.values()} == {1, 2}
    assert edition("soup", "<𝐬>") == edition("<𝐬>", "soup") == 2
