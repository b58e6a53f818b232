"""The catalogue: its rows hold together, and a model is told what its row says."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

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
    "auto": "{answer}",
    "think": "<think>{thought}</think><answer>{answer}</answer>",
    "think-prefilled": "{thought}</think>{answer}",
    "kimi-k2": "{thought}</think>{answer}",
    "kimi": "◁think▷{thought}◁/think▷{answer}",
    "glm": "<think>{thought}</think><answer><|begin_of_box|>{answer}<|end_of_box|></answer>",
    "keye": "<analysis>{thought}</analysis>{answer}",
    "llava-cot": "<SUMMARY>{thought}</SUMMARY><CONCLUSION>{answer}</CONCLUSION>",
    "mulberry": "### Rationales:\n{thought}\n### The final answer is: {answer}",
    "llamav-o1": "{thought}\n\n### Final Answer:\n{answer}",
    "qvq": "{thought}\n**Final Answer**\n{answer}",
    "boxed": r"{thought} \boxed{{{answer}}}",
    "thought": "<|begin_of_thought|>{thought}<|end_of_thought|><|begin_of_solution|>{answer}"
    "<|end_of_solution|>",
    "gemma": "<|channel>thought\n{thought}<channel|>{answer}",
    "mistral": "[THINK]{thought}[/THINK]{answer}",
    "minimax": "<mm:think>{thought}</mm:think>{answer}",
    "harmony": "<|channel|>analysis<|message|>{thought}<|end|>"
    "<|start|>assistant<|channel|>final<|message|>{answer}<|return|>",
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
    assert len(catalog.rows()) >= 110
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("reasoner", "base"),
    [
        ("Fancy-MLLM/R1-Onevision-7B", "Qwen/Qwen2.5-VL-7B-Instruct"),
        ("HuanjinYao/Mulberry_llava_8b", "llava-hf/llama3-llava-next-8b-hf"),
        ("Qwen/Qwen3-VL-8B-Thinking", "Qwen/Qwen3-VL-8B-Instruct"),
        ("zai-org/GLM-4.5V", "zai-org/GLM-4.5V"),
        ("Skywork/Skywork-R1V3-38B", "OpenGVLab/InternVL3-38B"),
        ("AI45Research/SafeWork-R1", "Qwen/Qwen2.5-VL-72B-Instruct"),
    ],
)
def test_pairs_resolve(reasoner: str, base: str):
    assert (reasoner, base) in [(pair.reasoner.id, pair.base.id) for pair in catalog.pairs()]


def test_no_base_of_a_pair_reasons():
    """The difference to a base that reasons as well would be shown as a tax of reasoning."""
    pairs = catalog.pairs()
    assert [pair for pair in pairs if pair.base.reasons() and not pair.is_switch] == []
    left_out = {row.id for row in catalog.rows() if row.base} - {pair.reasoner.id for pair in pairs}
    assert left_out == {"XiaomiMiMo/MiMo-VL-7B-RL", "zai-org/GLM-4.1V-9B-Thinking"}
    assert all(row.base_note for row in catalog.rows() if row.id in left_out)


SAME = {
    "Qwen/Qwen3-VL-8B-Thinking-FP8": "Qwen/Qwen3-VL-8B-Thinking",
    "QuantTrio/Qwen3-VL-8B-Instruct-AWQ-4bit": "Qwen/Qwen3-VL-8B-Instruct",
    "unsloth/Qwen3-VL-8B-Thinking-GGUF": "Qwen/Qwen3-VL-8B-Thinking",
    "hf.co/unsloth/Qwen3-VL-8B-Thinking-GGUF:Q4_K_M": "Qwen/Qwen3-VL-8B-Thinking",
    "unsloth/Qwen3-VL-8B-Instruct-unsloth-bnb-4bit": "Qwen/Qwen3-VL-8B-Instruct",
    "qwen3-vl:8b-thinking": "Qwen/Qwen3-VL-8B-Thinking",
    "qwen3-vl:8b-instruct-q8_0": "Qwen/Qwen3-VL-8B-Instruct",
    "qwen/qwen3-vl-8b-thinking:free": "Qwen/Qwen3-VL-8B-Thinking",
    "zai-org/GLM-4.5V-FP8": "zai-org/GLM-4.5V",
    "THUDM/GLM-4.1V-9B-Thinking": "zai-org/GLM-4.1V-9B-Thinking",
    "z-ai/glm-4.5v": "zai-org/GLM-4.5V",
    "mlx-community/Qwen3-VL-8B-Thinking-4bit-DWQ": "Qwen/Qwen3-VL-8B-Thinking",
    "OpenVINO/Qwen3-VL-8B-Thinking-int4-ov": "Qwen/Qwen3-VL-8B-Thinking",
    "Qwen3-VL-8B-Thinking@q4_k_m": "Qwen/Qwen3-VL-8B-Thinking",
    "Qwen3-VL-8B-Thinking-4.0bpw-exl2": "Qwen/Qwen3-VL-8B-Thinking",
    "RedHatAI/Qwen3-VL-8B-Thinking-W4A16-G128": "Qwen/Qwen3-VL-8B-Thinking",
    "qwen3-vl:235b-a22b-thinking-cloud": "Qwen/Qwen3-VL-235B-A22B-Thinking",
    "google/gemma-4-31b-it-qat-q4_0-gguf": "google/gemma-4-31b-it",
    "OpenGVLab/InternVL3.5-8B-GPTQ-Int4": "OpenGVLab/InternVL3_5-8B",
    "OpenGVLab/InternVL3_5-8B-Instruct": "OpenGVLab/InternVL3_5-8B-Instruct",
    "/models/Qwen3-VL-8B-Thinking": "Qwen/Qwen3-VL-8B-Thinking",
    "/models/Qwen3-VL-8B-Thinking-Q4_K_M.gguf": "Qwen/Qwen3-VL-8B-Thinking",
    "/hub/models--Qwen--Qwen3-VL-8B-Instruct/snapshots/0c35": "Qwen/Qwen3-VL-8B-Instruct",
}


@pytest.mark.parametrize(("name", "expected"), SAME.items(), ids=SAME)
def test_a_model_is_known_by_other_names_of_the_same_weights(name: str, expected: str):
    row = catalog.find(name)
    assert row is not None
    assert row.id == expected


@pytest.mark.parametrize(
    "name",
    [
        "Qwen/Qwen3-VL-8B",
        "qwen3-vl:8b",
        "Qwen/Qwen3-VL-8B-Thinking-2607",
        "someone/Qwen3-VL-8B-Thinking",
        "huihui-ai/Huihui-Qwen3-VL-8B-Thinking-abliterated",
        "unsloth/Qwen3-VL-8B-Thinking-tuned-GGUF",
        "google/gemma-4-31b",
        "XiaomiMiMo/MiMo-VL-7B-RL-2508",
        "/models/checkpoint-500",
        "fp8",
        "",
    ],
)
def test_another_model_is_not_taken_for_one_that_is_known(name: str):
    assert catalog.find(name) is None


@ROWS
def test_no_row_hides_another_whatever_the_build(row: Row):
    for build in ("", "-FP8", "-AWQ", "-GPTQ-Int4", "-GGUF:Q4_K_M", "-w4a16"):
        assert catalog.find(row.id + build) is row
        assert catalog.find("unsloth/" + row.id.rpartition("/")[2] + build) is row


class TestFolders:
    def _folder(self, tmp_path: Path, config: str) -> str:
        (tmp_path / "config.json").write_text(config, encoding="utf-8")
        return str(tmp_path)

    def test_a_folder_is_known_by_the_name_in_its_config(self, tmp_path):
        folder = self._folder(tmp_path, '{"_name_or_path": "Qwen/Qwen3-VL-8B-Thinking"}')
        row = catalog.find(folder)
        assert row is not None
        assert row.id == "Qwen/Qwen3-VL-8B-Thinking"
        assert VLLM(folder).reasoning_format.name == "think-prefilled"

    def test_a_model_trained_further_is_not_its_base(self, tmp_path):
        """Its config still names the base; `pairs: auto` would set a tuned model for that base."""
        folder = self._folder(tmp_path, '{"_name_or_path": "Qwen/Qwen2.5-VL-7B-Instruct"}')
        assert catalog.find(folder) is None

    @pytest.mark.parametrize(
        ("architecture", "form"),
        [("gemma4", "gemma"), ("gpt_oss", "harmony"), ("seed_oss", "seed"), ("qwen3_vl", "auto")],
    )
    def test_a_folders_architecture_tells_whether_its_marks_are_special(
        self, architecture, form, tmp_path
    ):
        folder = self._folder(tmp_path, f'{{"model_type": "{architecture}"}}')
        assert VLLM(folder).reasoning_format.name == form

    @pytest.mark.parametrize("config", ["", "[]", "{}", '{"_name_or_path": 3}'])
    def test_a_config_that_names_nothing_is_no_row(self, config, tmp_path):
        assert catalog.find(self._folder(tmp_path, config)) is None


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
    body = model._body(Prompt.user(question, system=system), Sampling())
    roles = [message["role"] for message in body["messages"]]
    assert roles in (["user"], ["system", "user"])
    assert question in body["messages"][-1]["content"]
    assert system is None or body["messages"][0]["content"].endswith(system)
    reasons = model.reasoning_format.name != "auto"
    text = SAMPLES[model.reasoning_format.name].format(thought=thought, answer=answer)
    trace = reasoning.parse(Response(ResponseStatus.OK, text), model.reasoning_format)
    assert trace.answer is not None
    assert trace.answer.strip() == answer.strip()
    assert trace.status is (TraceStatus.CLOSED if reasons else TraceStatus.ABSENT)
    assert not reasons or thought.strip() in (trace.reasoning or "")


class TestSetup:
    def test_a_switch_off_is_said_and_on_is_the_default(self):
        off = VLLM("zai-org/GLM-4.5V", thinking=False)
        body = off._body(Prompt.user("x"), Sampling())
        assert body["chat_template_kwargs"] == {"enable_thinking": False}
        assert (off.reasoning_format.name, off.label) == (
            "auto",
            "vllm/zai-org/GLM-4.5V[thinking=off]",
        )
        plain = VLLM("zai-org/GLM-4.5V")
        assert "chat_template_kwargs" not in plain._body(Prompt.user("x"), Sampling())
        assert (plain.reasoning_format.name, plain.label) == ("glm", "vllm/zai-org/GLM-4.5V")
        assert plain.identity() != off.identity()

    def test_a_study_may_add_to_the_template_and_has_the_last_word(self):
        model = VLLM(
            "zai-org/GLM-4.5V",
            thinking=False,
            extra_body={"chat_template_kwargs": {"enable_thinking": True, "more": 1}},
        )
        body = model._body(Prompt.user("x"), Sampling())
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
        body = model._body(Prompt.user("x"), Sampling())
        assert [message["role"] for message in body["messages"]] == ["user"]

    def test_a_suffix_goes_after_the_last_question(self):
        turns = (Turn("user", ("a",)), Turn("assistant", ("b",)), Turn("user", ("c",)))
        setup = Setup.of("Kwai-Keye/Keye-VL-8B-Preview", thinking=False)
        assert [turn.text for turn in setup.turns(Prompt(turns))] == ["a", "b", "c\n/no_think"]

    def test_a_wrap_stands_around_the_question(self):
        setup = Setup.of("HuanjinYao/Mulberry_qwen2vl_7b")
        (turn,) = setup.turns(Prompt.user("Why is it lit?"))
        assert turn.text.startswith("Answer the question below in sections")
        assert turn.text.endswith("Question:\nWhy is it lit?")
        (turn,) = Setup.of("TIGER-Lab/VL-Rethinker-7B").turns(Prompt.user("Why?"))
        assert turn.text.startswith("Why?\n")
        assert turn.text.endswith("inside \\boxed{}.")

    @pytest.mark.parametrize("name", ["Qwen/Qwen2.5-VL-7B-Instruct", "OpenGVLab/InternVL3_5-8B"])
    def test_a_base_that_reasons_after_all_is_not_read_as_all_answer(self, name):
        """F15: the user's own system prompt can make any base think in tags."""
        reply = Response(ResponseStatus.OK, "<think>moon</think>soup")
        trace = reasoning.parse(reply, VLLM(name, system_prompt="Think in tags.").reasoning_format)
        assert (trace.reasoning, trace.answer) == ("moon", "soup")
        assert reasoning.parse(reply, VLLM(name, format="none").reasoning_format).reasoning is None

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

    @pytest.mark.parametrize(
        ("name", "thinking", "form"),
        [
            ("google/gemma-4-31b-it", None, "gemma"),
            ("google/gemma-4-31b-it", False, "gemma"),
            ("moonshotai/Kimi-K2.5", None, "kimi-k2"),
            ("moonshotai/Kimi-K2.5", False, "auto"),
            ("zai-org/GLM-4.5V", False, "auto"),
        ],
    )
    def test_special_marks_are_kept_whether_a_model_is_told_to_reason_or_not(
        self, name, thinking, form
    ):
        """Told not to, Gemma leaves an empty thought: stripped, its label was in the answer."""
        model = VLLM(name, thinking=thinking)
        body = model._body(Prompt.user("x"), Sampling())
        assert model.reasoning_format.name == form
        keeps = {"skip_special_tokens", "spaces_between_special_tokens"} & set(body)
        assert len(keeps) == (0 if form == "auto" else 2)
        assert not any(body[field] for field in keeps)


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

    def test_a_base_that_reasons_is_no_pair(self):
        assert self._pairs("vllm/XiaomiMiMo/MiMo-VL-7B-RL", "vllm/XiaomiMiMo/MiMo-VL-7B-SFT") == []
        assert (
            self._pairs("vllm/zai-org/GLM-4.1V-9B-Thinking", "vllm/zai-org/GLM-4.1V-9B-Base") == []
        )

    def test_a_quantised_build_pairs_with_its_base(self):
        names = ("vllm/Qwen/Qwen3-VL-8B-Thinking-FP8", "vllm/Qwen/Qwen3-VL-8B-Instruct-FP8")
        assert self._pairs(*names) == [names]


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
        assert [call.purpose for call in response.calls] == [f"stage {n}" for n in (1, 2, 3)]
        used = [one.usage for one in (response, *(call.response for call in response.calls))]
        assert sum(usage.input_tokens or 0 for usage in used) == 8
        assert sum(usage.output_tokens or 0 for usage in used) == 12
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
        assert (response.text, len(response.calls)) == ("", 1)


def test_registry_builds_every_row_under_every_open_provider():
    for row in catalog.rows():
        model = registry.build(registry.ComponentKind.MODEL, f"vllm/{row.id}")
        assert dataclasses.is_dataclass(model)
