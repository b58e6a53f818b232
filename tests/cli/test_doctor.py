"""``safemlrm doctor`` asks as the run asks, and says what would go wrong in it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage
from typer.testing import CliRunner

from opensafemlrm.attacks.figstep import FigStepPro
from opensafemlrm.cli import app
from opensafemlrm.datasets.canary import Canary
from opensafemlrm.types import Item
from tests.cli.chat_server import Body, has_image, refused, said, serving, words_of

STUDY = """\
models: [{models}]
datasets: [{dataset}]
attacks: [{attack}]
defenses: [{defense}]
judge: {judge}
sampling: {{max_tokens: 4321, temperature: 0.25}}
"""


def doctor(
    path: Path,
    answer: Callable[[Body], tuple[int, Any]],
    *,
    models: tuple[str, ...] = ("m",),
    judge: str = "canary",
    dataset: str = "canary",
    attack: str = "direct",
    defense: str = "none",
    options: str = "",
    more: tuple[str, ...] = (),
) -> tuple[int, str, list[Body]]:
    """The exit code, what was printed (on one line) and what was sent."""
    with serving(answer) as (url, bodies):
        of_model = f"base_url: '{url}', max_retries: 0{options}"
        listed = ", ".join(f"{{model: openai/{name}, {of_model}}}" for name in models)
        judge = judge.replace("URL", url)
        text = STUDY.format(
            models=listed, judge=judge, dataset=dataset, attack=attack, defense=defense
        )
        (path / "study.yaml").write_text(text, encoding="utf-8")
        result = CliRunner().invoke(
            app, ["doctor", str(path / "study.yaml"), *more], catch_exceptions=False
        )
    return result.exit_code, " ".join(result.stdout.split()), bodies


RUBRIC = "{judge: policy-rubric, model: {model: openai/j, base_url: 'URL', max_retries: 0}}"


def no_vision(body: Body) -> tuple[int, Any]:
    """llama.cpp's server with a model of text alone."""
    if has_image(body):
        return refused("image input is not supported - hint: you may need --mmproj", 500)
    return said("Blue.")


def test_a_text_only_study_is_not_refused_for_want_of_vision(tmp_path):
    code, words, bodies = doctor(tmp_path, no_vision)
    assert (code, "0 cannot be used" in words) == (0, True)
    assert not any(has_image(body) for body in bodies)


def test_a_study_with_pictures_needs_vision(tmp_path):
    code, words, _ = doctor(tmp_path, no_vision, attack="figstep")
    assert (code, "takes text, but not images" in words) == (2, True)
    assert "--mmproj" in words


def test_pictures_are_as_many_and_as_large_as_the_study_makes_them(tmp_path):
    """A server with room for fewer pictures, or for smaller ones, turned the run down alone."""
    code, _, bodies = doctor(tmp_path, lambda _: said("Blue."), attack="figstep-pro")
    item = next(row for row in Canary().rows() if isinstance(row, Item))
    pictures = FigStepPro().apply(item, 0).images
    (body,) = filter(has_image, bodies)
    urls = [part["image_url"]["url"] for part in body["messages"][-1]["content"][:-1]]
    sizes = [PILImage.open(io.BytesIO(base64.b64decode(u.split(",")[1]))).size for u in urls]
    assert (code, sizes) == (0, [(picture.width, picture.height) for picture in pictures])


def test_the_sampling_is_the_studys(tmp_path):
    """With 256 tokens, a thinking budget of 4,096 was refused that the run can have."""
    _, _, bodies = doctor(tmp_path, lambda _: said("Blue."))
    assert {(b["max_tokens"], b["temperature"], b["seed"]) for b in bodies} == {(4321, 0.25, 0)}


def test_system_messages_are_asked_as_the_items_have_them(tmp_path):
    _, words, bodies = doctor(
        tmp_path,
        lambda body: (
            refused("System role not supported")
            if body["messages"][0]["role"] == "system"
            else said("Blue.")
        ),
    )
    assert bodies[0]["messages"][0]["role"] == "system"
    assert "asked with its system message in the user's turn" in words


def test_a_defense_that_the_server_cannot_carry_is_named(tmp_path):
    def answer(body: Body) -> tuple[int, Any]:
        again = sum(turn["role"] == "user" for turn in body["messages"]) > 1
        return refused("one turn only, please") if again else said("<think>a</think>Blue.")

    code, words, _ = doctor(tmp_path, answer, defense="none, reflect")
    assert (code, "failed with reflect" in words) == (2, True)
    assert "one turn only" in words


def test_a_dataset_that_is_not_there_leaves_a_doubt_and_no_traceback(tmp_path):
    dataset = f"{{dataset: vlguard, root: '{tmp_path}/none'}}"
    code, words, bodies = doctor(tmp_path, lambda _: said("Blue."), dataset=dataset)
    assert code == 0
    assert "whether vlguard has pictures is not known" in words
    assert has_image(bodies[0])


@pytest.mark.parametrize(
    ("text", "more", "outcome"),
    [
        ("", {}, "empty reply"),
        (" \n ", {}, "empty reply"),
        (None, {"reasoning_content": ""}, "empty reply"),
        (None, {"reasoning_content": "The sky is blue."}, "no answer"),
        ("<think>The sky is blue.</think>", {}, "no answer"),
    ],
)
def test_a_model_whose_replies_are_empty_cannot_be_used(tmp_path, text, more, outcome):
    """It was "ok", and the run gave no figure at all."""

    def answer(body: Body) -> tuple[int, Any]:
        _, reply = said(text, body["model"])
        reply["choices"][0]["message"] |= more
        return 200, reply

    code, words, _ = doctor(tmp_path, answer)
    assert (code, outcome in words) == (2, True)


def scored(safe: str, unsafe: str, other: str = "Blue.") -> Callable[[Body], tuple[int, Any]]:
    """A judge that writes what it is told of the refusal and of the help."""

    def answer(body: Body) -> tuple[int, Any]:
        words = words_of(body)
        if body["model"] != "j" or "Five stars" in words:
            return said(unsafe if body["model"] == "j" else other)
        return said(safe)

    return answer


class TestJudges:
    def test_a_judge_is_shown_a_safe_and_an_unsafe_text_in_its_own_prompt(self, tmp_path):
        code, words, bodies = doctor(tmp_path, scored("#thescore: 0", "#thescore: 5"), judge=RUBRIC)
        assert (code, "0 cannot be used" in words) == (0, True)
        assert "cannot tell" not in words
        of_judge = [body for body in bodies if body["model"] == "j"]
        assert {body["max_tokens"] for body in of_judge} == {1024}
        assert all("safety reviewer" in words_of(body) for body in of_judge)

    @pytest.mark.parametrize("wrong", ["**#thescore:** 4 or so", "It is bad."])
    def test_a_judge_that_gives_no_score_cannot_be_used(self, tmp_path, wrong):
        """A judge whose every score was unreadable was "ok", and the run paid for all of it."""
        code, words, _ = doctor(tmp_path, scored(wrong, wrong), judge=RUBRIC)
        assert (code, "no score: unparsed" in words) == (2, True)
        assert "its replies hold no score that can be read" in words

    def test_a_judge_whose_tokens_are_used_up_by_thinking_is_told_so(self, tmp_path):
        def answer(body: Body) -> tuple[int, Any]:
            _, reply = said("<think>Hmm")
            reply["choices"][0]["finish_reason"] = "length"
            return 200, reply if body["model"] == "j" else said("Blue.")[1]

        code, words, _ = doctor(tmp_path, answer, judge=RUBRIC)
        assert (code, "no score: judge_truncated" in words) == (2, True)
        assert "raise the judge's `max_tokens`" in words

    def test_a_judge_that_calls_everything_safe_is_said_to_be_unable_to_tell(self, tmp_path):
        """It was named, and the exit code was 0."""
        code, words, _ = doctor(tmp_path, scored("#thescore: 1", "#thescore: 1"), judge=RUBRIC)
        assert (code, "(policy-rubric): cannot be used: cannot tell" in words) == (2, True)
        assert "safe alike: choose another model or prompt" in words

    def test_a_guard_that_calls_everything_safe_is_doubtful(self, tmp_path):
        """What it takes for harm was trained into it, and a fake review may be none of that."""
        guard = RUBRIC.replace("policy-rubric", "llama-guard")
        code, words, _ = doctor(tmp_path, scored("safe", "safe"), judge=guard)
        assert (code, "(llama-guard): in doubt" in words) == (0, True)
        assert "1 in doubt" in words

    def test_a_judge_that_calls_a_refusal_unsafe_cannot_be_used(self, tmp_path):
        code, words, _ = doctor(tmp_path, scored("#thescore: 5", "#thescore: 5"), judge=RUBRIC)
        assert (code, "it calls a plain refusal unsafe" in words) == (2, True)

    def test_every_judge_within_a_judge_is_asked_through_its_own_prompt(self, tmp_path):
        guard = RUBRIC.replace("policy-rubric", "llama-guard").replace("openai/j", "openai/g")
        judge = f"{{judge: panel, judges: [{RUBRIC}, {guard}]}}"

        def answer(body: Body) -> tuple[int, Any]:
            if body["model"] == "g":
                return said("It may be safe.")
            return scored("#thescore: 0", "#thescore: 5")(body)

        code, words, _ = doctor(tmp_path, answer, judge=judge)
        assert (code, "3 models asked, 1 cannot be used" in words) == (2, True)
        assert "panel: llama-guard" in words

    def test_a_judge_whose_model_has_no_system_role_can_be_used(self, tmp_path):
        """doctor passed it, and the run stopped at its first verdict."""

        def answer(body: Body) -> tuple[int, Any]:
            if body["messages"][0]["role"] == "system":
                return refused("System role not supported")
            return scored("#thescore: 0", "#thescore: 5")(body)

        code, words, _ = doctor(tmp_path, answer, judge=RUBRIC)
        assert (code, "0 cannot be used" in words) == (0, True)


class TestLongPrompts:
    @staticmethod
    def cutting(body: Body) -> tuple[int, Any]:
        """Ollama: a prompt beyond the context loses its front, and is answered."""
        words = len(words_of(body).split())
        reply = scored("#thescore: 0", "#thescore: 5")(body)[1]
        return 200, {**reply, "usage": {"prompt_tokens": min(words, 4096), "completion_tokens": 1}}

    def test_a_server_that_cuts_prompts_is_named_with_what_to_set(self, tmp_path):
        code, words, _ = doctor(tmp_path, self.cutting, judge=RUBRIC)
        assert code == 2
        assert "2 models asked, 2 cannot be used" in words
        assert words.count("prompt cut by the server") == 2
        assert "OLLAMA_CONTEXT_LENGTH" in words

    def test_a_server_that_turns_long_prompts_down_cuts_nothing(self, tmp_path):
        def answer(body: Body) -> tuple[int, Any]:
            if len(words_of(body)) > 20_000:
                return refused("This model's maximum context length is 2048 tokens.")
            return said("Blue.")

        code, words, _ = doctor(tmp_path, answer)
        assert (code, "8,000 words are too long for it" in words) == (0, True)

    def test_a_server_that_reads_all_of_it_needs_no_word(self, tmp_path):
        def answer(body: Body) -> tuple[int, Any]:
            tokens = int(1.2 * len(words_of(body).split()))
            return said("Blue.", usage={"prompt_tokens": tokens, "completion_tokens": 1})

        code, words, bodies = doctor(tmp_path, answer)
        assert (code, "long" in words) == (0, False)
        assert max(len(json.dumps(body)) for body in bodies) > 30_000


class TestWhoAnswers:
    def test_another_model_that_answers_is_named_and_two_that_are_one(self, tmp_path):
        loaded = "Qwen2.5-VL-7B-Instruct-Q4_K_M.gguf"
        code, words, _ = doctor(
            tmp_path, lambda _: said("Blue.", loaded), models=("a", "qwen2.5-vl-7b-instruct")
        )
        assert code == 0
        assert f"asked for a, {loaded} answered" in words
        assert "asked for qwen" not in words
        assert "openai/a and openai/qwen2.5-vl-7b-instruct were both answered by" in words

    def test_a_parameter_that_is_left_out_is_said(self, tmp_path):
        def answer(body: Body) -> tuple[int, Any]:
            if "temperature" in body:
                return refused("Unsupported value: 'temperature'", param="temperature")
            return said("Blue.")

        code, words, _ = doctor(tmp_path, answer)
        assert (code, "asked without temperature" in words) == (0, True)


@pytest.mark.parametrize("used_as", ["model", "judge"])
def test_each_server_of_a_list_is_asked_and_a_dead_one_named(tmp_path, used_as):
    """With one of three addresses dead, doctor said "ok" whenever another one was asked."""
    with serving(lambda body: said("Blue.")) as (gone, _):
        pass
    with serving(lambda body: said("[[0]]" if "tea" in words_of(body) else "Blue.")) as (url, _):
        pool = f"{{model: openai/m, base_url: ['{url}', '{gone}?key=s3cret'], max_retries: 0}}"
        one = f"{{model: openai/n, base_url: '{url}', max_retries: 0}}"
        models, judge = (pool, "canary")
        if used_as == "judge":
            models, judge = (one, f"{{judge: policy-rubric, model: {pool}}}")
        text = STUDY.format(
            models=models, judge=judge, dataset="canary", attack="direct", defense="none"
        )
        (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
        arguments = ["doctor", str(tmp_path / "study.yaml"), "--format", "json"]
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    rows = json.loads(result.stdout)
    role = "model" if used_as == "model" else "policy-rubric"
    by_server = {row["server"]: row for row in rows if row["role"] == role}
    assert list(by_server) == [f"{url}/chat/completions", f"{gone}/chat/completions"]
    dead, alive = by_server[f"{gone}/chat/completions"], by_server[f"{url}/chat/completions"]
    assert "does not answer" in dead["detail"]
    assert "does not answer" not in alive["detail"]
    assert result.exit_code == 2
    assert "s3cret" not in result.output


def test_a_budget_ends_it_with_3_and_says_what_was_not_asked(tmp_path):
    """It was the one command that asks models and could not be held."""
    answer = scored("#thescore: 0", "#thescore: 5")
    code, words, bodies = doctor(tmp_path, answer, judge=RUBRIC, more=("--max-requests", "2"))
    assert (code, len(bodies)) == (3, 2)
    assert "0 cannot be used, 2 not asked to the end" in words
    assert "the budget of 2 requests is spent" in words
