"""The catalogue: its rows hold together, and a model is told what its row says."""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opensafemlrm import reasoning, registry, study
from opensafemlrm.errors import OptionError, UnknownNameError
from opensafemlrm.models import catalog
from opensafemlrm.models.catalog import Row, Setup
from opensafemlrm.models.hosted.vllm import VLLM
from opensafemlrm.types import Prompt, Response, ResponseStatus, Sampling, TraceStatus, Turn

ROWS = pytest.mark.parametrize("row", catalog.rows(), ids=lambda row: row.id)
WORDS = st.text(st.characters(categories=["L", "N", "Zs"]), min_size=1).filter(str.strip)

SAMPLES = {
    "none": "{answer}",
    "think": "<think>{thought}</think><answer>{answer}</answer>",
    "think-prefilled": "{thought}</think>{answer}",
    "kimi": "◁think▷{thought}◁/think▷{answer}",
    "glm": "<think>{thought}</think><answer><|begin_of_box|>{answer}<|end_of_box|></answer>",
    "keye": "<analysis>{thought}</analysis>{answer}",
    "llava-cot": "<SUMMARY>{thought}</SUMMARY><CONCLUSION>{answer}</CONCLUSION>",
    "mulberry": "### Rationales:\n{thought}\n### The final answer is: {answer}",
    "llamav-o1": "{thought}\n\n### Final Answer:\n{answer}",
    "qvq": "{thought}\n**Final Answer**\n{answer}",
    "boxed": r"{thought} \boxed{{{answer}}}",
}
"""A reply in each format that a row names, written for this test."""


@ROWS
def test_a_row_holds_together(row: Row):
    assert row.format in reasoning.FORMATS
    assert row.base is None or catalog.find(row.base) is not None, "the base has no row"
    assert row.base != row.id
    assert (row.thinking is None) == (row.on is None) == (row.off is None)
    assert catalog.find(row.id.upper()) is row


def test_there_are_enough_rows_and_no_name_twice():
    names = [name.casefold() for row in catalog.rows() for name in row.names]
    assert len(catalog.rows()) >= 30
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("reasoner", "base"),
    [
        ("Fancy-MLLM/R1-Onevision-7B", "Qwen/Qwen2.5-VL-7B-Instruct"),
        ("HuanjinYao/Mulberry_llava_8b", "llava-hf/llama3-llava-next-8b-hf"),
        ("Qwen/Qwen3-VL-8B-Thinking", "Qwen/Qwen3-VL-8B-Instruct"),
        ("zai-org/GLM-4.5V", "zai-org/GLM-4.5V"),
    ],
)
def test_pairs_resolve(reasoner: str, base: str):
    assert (reasoner, base) in [(pair.reasoner.id, pair.base.id) for pair in catalog.pairs()]


@given(
    row=st.sampled_from(catalog.rows()),
    thinking=st.booleans(),
    question=WORDS,
    system=st.none() | WORDS,
    thought=WORDS,
    answer=WORDS,
)
def test_every_rows_prompt_is_built_and_its_reply_split(
    row: Row, thinking: bool, question: str, system: str | None, thought: str, answer: str
):
    """No word of the item is lost to what a model must be told, and no part to another."""
    model = VLLM(row.id, thinking=thinking if row.thinking else None)
    body = orjson.loads(model._body(Prompt.user(question, system=system), Sampling()))
    roles = [message["role"] for message in body["messages"]]
    assert roles in (["user"], ["system", "user"])
    assert body["messages"][-1]["content"].startswith(question)
    assert system is None or body["messages"][0]["content"].endswith(system)
    reasons = model.reasoning_format.name != "none"
    text = SAMPLES[model.reasoning_format.name].format(thought=thought, answer=answer)
    trace = reasoning.parse(Response(ResponseStatus.OK, text), model.reasoning_format)
    assert trace.answer is not None
    assert trace.answer.strip() == answer.strip()
    assert trace.status is (TraceStatus.CLOSED if reasons else TraceStatus.ABSENT)
    assert not reasons or thought.strip() in (trace.reasoning or "")


class TestSetup:
    def test_a_switch_off_is_said_and_on_is_the_default(self):
        off = VLLM("zai-org/GLM-4.5V", thinking=False)
        body = orjson.loads(off._body(Prompt.user("x"), Sampling()))
        assert body["chat_template_kwargs"] == {"enable_thinking": False}
        assert (off.reasoning_format.name, off.label) == (
            "none",
            "vllm/zai-org/GLM-4.5V[thinking=off]",
        )
        plain = VLLM("zai-org/GLM-4.5V")
        assert "chat_template_kwargs" not in orjson.loads(plain._body(Prompt.user("x"), Sampling()))
        assert (plain.reasoning_format.name, plain.label) == ("glm", "vllm/zai-org/GLM-4.5V")
        assert plain.identity() != off.identity()

    def test_a_study_may_add_to_the_template_and_has_the_last_word(self):
        model = VLLM(
            "zai-org/GLM-4.5V",
            thinking=False,
            extra_body={"chat_template_kwargs": {"enable_thinking": True, "more": 1}},
        )
        body = orjson.loads(model._body(Prompt.user("x"), Sampling()))
        assert body["chat_template_kwargs"] == {"enable_thinking": True, "more": 1}

    def test_a_system_prompt_of_the_catalogue_is_part_of_the_identity(self):
        """Published mistake: changed parameters reuse old results."""
        told, bare = VLLM("FanqingM/MM-Eureka-Qwen-7B"), VLLM(
            "FanqingM/MM-Eureka-Qwen-7B", catalog="none"
        )  # fmt: skip
        assert told.identity() != bare.identity()
        assert "system_prompt" in repr(told.identity())
        assert told.label == bare.label == "vllm/FanqingM/MM-Eureka-Qwen-7B"

    def test_the_empty_system_prompt_leaves_the_catalogues_out(self):
        model = VLLM("FanqingM/MM-Eureka-Qwen-7B", system_prompt="")
        body = orjson.loads(model._body(Prompt.user("x"), Sampling()))
        assert [message["role"] for message in body["messages"]] == ["user"]

    def test_a_suffix_goes_after_the_last_question(self):
        turns = (Turn("user", ("a",)), Turn("assistant", ("b",)), Turn("user", ("c",)))
        setup = Setup.of("Kwai-Keye/Keye-VL-8B-Preview", thinking=False)
        assert [turn.text for turn in setup.turns(Prompt(turns))] == ["a", "b", "c\n/no_think"]

    def test_a_served_name_can_say_which_row_it_is(self):
        assert VLLM("my-model", catalog="Qwen/QVQ-72B-Preview").reasoning_format.name == "qvq"
        with pytest.raises(UnknownNameError, match="did you mean Qwen/QVQ-72B-Preview"):
            VLLM("my-model", catalog="Qwen/QVQ-72B")

    def test_thinking_of_a_model_without_a_known_switch_is_an_error(self):
        for name in ("org/unlisted", "Osilly/Vision-R1-7B"):
            with pytest.raises(OptionError, match="not known to have a switch"):
                VLLM(name, thinking=False)

    def test_an_unlisted_model_works_and_says_that_its_format_was_detected(self):
        model = VLLM("org/unlisted")
        reply = Response(ResponseStatus.OK, "<think>a</think>b")
        assert model.reasoning_format.name == "auto"
        assert reasoning.parse(reply, model.reasoning_format).found_by == "think, detected"
        assert model.identity() == {"name": "vllm", "version": "1-A", "model": "org/unlisted"}


class TestAutomaticPairs:
    STUDY = "datasets: [canary]\njudge: canary\npairs: auto\nmodels:\n"

    def _pairs(self, *models: str) -> list[tuple[str, str]]:
        text = self.STUDY + "".join(f"  - {model}\n" for model in models)
        return [(one.label, two.label) for one, two in study.parse(text).pairs]

    def test_models_pair_by_what_they_are_wherever_they_are_served(self):
        assert self._pairs(
            "sim/qwen2.5-vl-7b",
            "sim/r1-onevision-7b",
            "vllm/org/unlisted",
            "{model: openai/served, catalog: Osilly/Vision-R1-7B}",
        ) == [("sim/r1-onevision-7b", "sim/qwen2.5-vl-7b"), ("openai/served", "sim/qwen2.5-vl-7b")]

    def test_one_model_pairs_with_itself_by_its_switch(self):
        assert self._pairs(
            "{model: vllm/zai-org/GLM-4.5V, thinking: false}", "vllm/zai-org/GLM-4.5V"
        ) == [("vllm/zai-org/GLM-4.5V", "vllm/zai-org/GLM-4.5V[thinking=off]")]
        assert self._pairs(
            "vllm/OpenGVLab/InternVL3_5-8B", "{model: vllm/OpenGVLab/InternVL3_5-8B, thinking: on}"
        ) == [("vllm/OpenGVLab/InternVL3_5-8B[thinking=on]", "vllm/OpenGVLab/InternVL3_5-8B")]


class TestStages:
    async def _reply(self, server: Any, connect: Any, *replies: Any) -> Response:
        server.script = list(replies)
        model = connect(model="omkarthawakar/LlamaV-o1", max_retries=0)
        response = await model.generate(Prompt.user("what is it?"), Sampling())
        assert isinstance(response, Response)
        return response

    @staticmethod
    def _said(text: str, finish: str = "stop") -> dict[str, Any]:
        choice = {"message": {"content": text}, "finish_reason": finish}
        return {"choices": [choice], "usage": {"prompt_tokens": 2, "completion_tokens": 3}}

    async def test_each_turn_is_asked_after_what_was_said(self, server, connect):
        said = ["summary", "caption", "steps", "a tree"]
        response = await self._reply(server, connect, *map(self._said, said))
        trace = reasoning.parse(response, "llamav-o1")
        assert (trace.status, trace.answer) == (TraceStatus.CLOSED, "a tree")
        assert trace.reasoning == "summary\n\ncaption\n\nsteps"
        assert [call.purpose for call in response.calls] == [f"stage {n}" for n in (1, 2, 3, 4)]
        assert (response.usage.input_tokens, response.usage.output_tokens) == (8, 12)
        last = [message["content"] for message in server.bodies[3]["messages"]]
        assert [last[1], last[3], last[5]] == said[:3]

    async def test_a_cut_stage_is_no_answer(self, server, connect):
        replies = (self._said("summary"), self._said("capt", "length"))
        response = await self._reply(server, connect, *replies)
        assert response.status is ResponseStatus.TRUNCATED
        assert reasoning.parse(response, "llamav-o1").answer is None

    async def test_a_failed_stage_fails_the_reply(self, server, connect):
        nothing: dict[str, Any] = {"choices": []}
        response = await self._reply(server, connect, self._said("summary"), nothing)
        assert (response.status, response.code) == (ResponseStatus.FAILED, "empty_choices")
        assert (response.text, len(response.calls)) == ("", 2)


def test_registry_builds_every_row_under_every_open_provider():
    for row in catalog.rows():
        model = registry.build(registry.ComponentKind.MODEL, f"vllm/{row.id}")
        assert dataclasses.is_dataclass(model)
