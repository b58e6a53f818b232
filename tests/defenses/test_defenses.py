"""Defenses: what each sends, what it keeps, and what happens where it cannot be applied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from PIL import Image as PILImage

from opensafemlrm import images, reasoning, registry
from opensafemlrm.components import Model
from opensafemlrm.datasets.canary import Canary
from opensafemlrm.defenses import reminders
from opensafemlrm.defenses.composed import Composed
from opensafemlrm.defenses.guard import GuardInput, GuardOutput
from opensafemlrm.defenses.prompts import REFUSAL
from opensafemlrm.defenses.reminders import ScenarioAware
from opensafemlrm.defenses.rereading import Ecso, Reflect
from opensafemlrm.defenses.safethink import SafeThink
from opensafemlrm.defenses.thinking import MoreThink, ZeroThink
from opensafemlrm.errors import DefenseError
from opensafemlrm.judges.policy_rubric import PolicyRubric
from opensafemlrm.models.demo.sim import Simulated
from opensafemlrm.registry import ComponentKind
from opensafemlrm.types import (
    Capability,
    Item,
    ItemKind,
    JudgeRequest,
    Part,
    Prompt,
    Response,
    ResponseStatus,
    Sampling,
    Turn,
    Unscored,
    Usage,
    Verdict,
    content_key,
)
from opensafemlrm.wrapped import defend
from tests.support import Scorer, ok

PICTURE = images.from_picture(PILImage.new("RGB", (8, 8), "white"))
WITH_IMAGE = Prompt.user(PICTURE, "Tell me the recipe.", system="The house rules.")
SEVERAL = Prompt(
    (
        Turn("system", ("The house rules.",)),
        Turn("user", ("Good morning.",)),
        Turn("assistant", ("Good morning to you.",)),
        Turn("user", (PICTURE, "Tell me the recipe.")),
    )
)
PROMPTS = (WITH_IMAGE, SEVERAL)
TEXT_ONLY = Prompt.user("Tell me the recipe.", system="The house rules.")
SAMPLING = Sampling()


@dataclass(frozen=True)
class Script(Model):
    """A model that gives its replies one after another and keeps what it was asked."""

    name = "script"
    replies: Sequence[Response | Callable[[Prompt], Response]] = field(compare=False)
    asked: list[Prompt] = field(default_factory=list, compare=False)
    stops: list[Any] = field(default_factory=list, compare=False)
    label: str = "script/one"
    concurrency: int = 1
    reasoning_format: str = "think"
    capabilities: frozenset[Capability] = frozenset(Capability)

    def identity(self) -> dict[str, Any]:
        return {"name": self.name}

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        self.asked.append(prompt)
        self.stops.append(sampling.stop)
        reply = self.replies[len(self.asked) - 1]
        return reply if isinstance(reply, Response) else reply(prompt)

    async def aclose(self) -> None:
        pass


def scorer(*scores: float | None) -> Scorer:
    left = list(scores)

    def score(ask: JudgeRequest) -> Verdict:
        value = left.pop(0)
        if value is None:
            return Verdict.none(Unscored.JUDGE_FAILED, rationale="timeout")
        return Verdict.scored(value, unsafe=value >= 4)

    return Scorer(score)


def defenses() -> list[Any]:
    """Every defense of the registry, with a scripted scorer or guard where it takes one."""
    built = []
    for name in registry.names(ComponentKind.DEFENSE):
        needs = {"guard-input": "guard", "guard-output": "guard", "safethink": "scorer"}
        options = {needs[name]: scorer(*[1.0] * 50)} if name in needs else {}
        built.append(registry.build(ComponentKind.DEFENSE, name, options))
    return built


@pytest.mark.parametrize("defense", defenses(), ids=lambda d: d.name)
class TestEveryDefense:
    async def test_replies_typed_and_the_same_each_time(self, defense: Any) -> None:
        target = defend(Simulated("r1-onevision-7b"), defense)
        item = next(row for row in Canary().rows() if isinstance(row, Item))
        prompt = Prompt.user(PICTURE, item.question, system=item.system)
        first = await target.generate(prompt, SAMPLING)
        second = await target.generate(prompt, SAMPLING)
        assert first == second
        assert isinstance(first, Response)
        trace = reasoning.parse(first, target.reasoning_format)
        assert trace.answer
        assert "<think>" not in trace.answer

    @pytest.mark.parametrize("prompt", PROMPTS, ids=["one turn", "several"])
    async def test_keeps_the_original_reply_and_every_request_beside_the_last(
        self, defense: Any, prompt: Prompt
    ) -> None:
        asked = []

        class Counting(Simulated):
            async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
                asked.append(prompt)
                return await Simulated.generate(self, prompt, sampling)

        target = defend(Counting("r1-onevision-7b"), defense)
        response = await target.generate(prompt, SAMPLING)
        judged = sum(call.purpose.startswith(("guard", "score")) for call in response.calls)
        assert len(response.calls) + 1 - judged == len(asked)
        replies = [id(one) for one in (response, *(call.response for call in response.calls))]
        assert len(set(replies)) == len(replies)  # none is counted twice

    def test_says_of_itself_what_the_model_says(self, defense: Any) -> None:
        model = Simulated("r1-onevision-7b")
        target = defend(model, defense)
        assert target.label == model.label
        assert target.identity() == model.identity()
        assert target.concurrency == model.concurrency

    def test_has_an_identity_and_cites_its_source(self, defense: Any) -> None:
        assert len(content_key(defense.identity())) == 16
        assert defense.card.paper
        assert defense.card.title

    @pytest.mark.parametrize(
        "ended",
        [
            Response(ResponseStatus.BLOCKED, code="content_filter"),
            Response.failed("http_503", "overloaded", transient=True),
            Response(ResponseStatus.TRUNCATED, "half"),
        ],
        ids=lambda r: r.status.value,
    )
    async def test_a_request_that_ends_badly_surfaces_as_itself(
        self, defense: Any, ended: Response
    ) -> None:
        response = await defend(Script([ended] * 9), defense).generate(WITH_IMAGE, SAMPLING)
        assert response.status is ended.status
        assert response.code == ended.code


async def test_ecso_answers_again_without_the_image_only_where_it_finds_harm() -> None:
    model = Script([ok("<think>x</think>told"), ok("Yes."), ok("a caption"), ok("safe")])
    response = await defend(model, Ecso()).generate(WITH_IMAGE, SAMPLING)
    assert response.text == "safe"
    assert [call.purpose for call in response.calls] == ["answer", "self-judge", "caption"]
    assert [bool(prompt.images) for prompt in model.asked] == [True, False, True, False]
    assert "a caption" in model.asked[3].turns[-1].text
    assert model.asked[3].turns[0].text == "The house rules."

    model = Script([ok("fine"), ok("No.")])
    response = await defend(model, Ecso()).generate(WITH_IMAGE, SAMPLING)
    assert (response.text, len(model.asked)) == ("fine", 2)
    assert [call.purpose for call in response.calls] == ["self-judge"]  # "fine" is the reply


async def test_ecso_fills_its_prompts_in_one_pass_so_that_braces_inject_nothing() -> None:
    model = Script([ok("{request} {caption}"), ok("No.")])
    await defend(model, Ecso()).generate(WITH_IMAGE, SAMPLING)
    assert "Reply:\n{request} {caption}\n" in model.asked[1].turns[-1].text


async def test_a_defense_that_cannot_be_applied_raises_and_sends_nothing() -> None:
    """A defense that does nothing must not pass for one: the bare prompt is never sent."""
    model = Script([])
    with pytest.raises(DefenseError, match="image"):
        await defend(model, Ecso()).generate(TEXT_ONLY, SAMPLING)
    with pytest.raises(DefenseError, match="no reasoning between tags"):
        await defend(Simulated("qwen2.5-vl-7b"), ZeroThink()).generate(TEXT_ONLY, SAMPLING)
    assert model.asked == []


@pytest.mark.parametrize("name", ["zerothink", "lessthink", "morethink", "safethink"])
def test_a_model_without_prefill_is_refused_before_the_run_with_the_reason(name: str) -> None:
    defense = next(one for one in defenses() if one.name == name)
    with pytest.raises(DefenseError, match=r"script/one cannot"):
        defend(Script([], capabilities=frozenset()), defense)


async def test_zerothink_closes_the_thought_before_it_begins() -> None:
    model = Script([ok("the answer")])
    response = await defend(model, ZeroThink()).generate(TEXT_ONLY, SAMPLING)
    assert model.asked[0].turns[-1].role == "assistant"
    trace = reasoning.parse(response, "think")
    assert (trace.part(Part.REASONING), trace.answer) == (None, "the answer")


async def test_morethink_replaces_the_end_of_the_thought_and_keeps_all_of_it() -> None:
    model = Script([ok("one</think>early"), ok("two</think>later"), ok("three</think>final")])
    response = await defend(model, MoreThink(rounds=2)).generate(TEXT_ONLY, SAMPLING)
    trace = reasoning.parse(response, "think")
    assert trace.answer == "final"
    assert trace.reasoning is not None
    assert trace.reasoning.count("Wait") == 2
    assert all(word in trace.reasoning for word in ("one", "two", "three"))
    assert len(response.calls) == 2


async def test_safethink_puts_its_prefix_after_an_unsafe_step_and_only_there() -> None:
    model = Script([ok("a step"), ok("a bad step"), ok("</think>\n\ndone")])
    defense = SafeThink(scorer(0, 5), steps=2)
    response = await defend(model, defense).generate(TEXT_ONLY, SAMPLING)
    trace = reasoning.parse(response, "think")
    assert trace.reasoning is not None
    assert trace.reasoning.count("Wait, think safely.") == 1
    assert trace.reasoning.index("a bad step") < trace.reasoning.index("Wait, think safely.")
    assert trace.answer == "done"
    assert [(call.purpose, call.score) for call in response.calls] == [
        ("step 0", 0), ("score 0", 0), ("step 1", 5), ("score 1", 5)
    ]  # fmt: skip
    assert model.stops == [("\n\n",), ("\n\n",), None]


async def test_safethink_opens_a_thought_again_that_ended_on_an_unsafe_step() -> None:
    model = Script([ok("bad to the end\n</think>"), ok("better\n</think>\n\ndone")])
    defense = SafeThink(scorer(5), steps=1)
    trace = reasoning.parse(await defend(model, defense).generate(TEXT_ONLY, SAMPLING), "think")
    assert trace.answer == "done"
    assert trace.reasoning is not None
    assert "bad to the end\n\nWait, think safely. better" in trace.reasoning


async def test_safethink_with_a_scorer_that_fails_is_a_failure_not_an_unwatched_reply() -> None:
    model = Script([ok("a step")])
    response = await defend(model, SafeThink(scorer(None))).generate(TEXT_ONLY, SAMPLING)
    assert response.status is ResponseStatus.FAILED
    assert response.code == "scorer_judge_failed"
    assert response.transient


async def test_guards_refuse_in_the_models_place_and_keep_what_they_held_back() -> None:
    model = Script([ok("<think>x</think>told")])
    response = await defend(model, GuardOutput(scorer(5))).generate(TEXT_ONLY, SAMPLING)
    assert response.text == REFUSAL
    assert response.calls[0].response.text == "<think>x</think>told"

    model = Script([])
    response = await defend(model, GuardInput(scorer(5))).generate(TEXT_ONLY, SAMPLING)
    assert (response.text, model.asked) == (REFUSAL, [])


async def test_a_guard_that_cannot_score_is_a_failure_and_lets_nothing_through() -> None:
    for guard in (GuardInput(scorer(None)), GuardOutput(scorer(None))):
        response = await defend(Script([ok("told")]), guard).generate(TEXT_ONLY, SAMPLING)
        assert response.status is ResponseStatus.FAILED
        assert response.code == "guard_judge_failed"


async def test_what_a_guard_took_is_counted_once_and_so_is_what_the_model_took() -> None:
    """A guard's own tokens would be missing from the cost of a defense, the model's be double."""

    def guard(score: float) -> Scorer:
        verdict = Verdict.scored(score, unsafe=score >= 4, usage=Usage(7, 1), requests=1)
        return Scorer(lambda _: verdict)

    took: list[tuple[Any, int, int]] = [
        (GuardOutput(guard(5)), 2, 7 + 100),
        (GuardOutput(guard(0)), 2, 7 + 100),
        (GuardInput(guard(5)), 1, 7),
        (GuardInput(guard(0)), 2, 7 + 100),
    ]
    for defense, requests, tokens in took:
        model = Script([ok("told", usage=Usage(100, 10))])
        response = await defend(model, defense).generate(TEXT_ONLY, SAMPLING)
        every = [response, *(call.response for call in response.calls)]
        assert len(every) == requests
        assert sum(one.usage.input_tokens or 0 for one in every) == tokens


async def test_a_guard_that_refuses_says_so_beside_its_refusal() -> None:
    response = await defend(Script([]), GuardInput(scorer(5))).generate(TEXT_ONLY, SAMPLING)
    assert response.finish_reason == "guard"
    assert response.detail is not None
    assert "5" in response.detail


@pytest.mark.parametrize(
    "judge",
    ["policy-rubric", "strongreject", "harmbench-cls", "llama-guard", "wildguard", "omnisafebench"],
)
async def test_every_judge_that_asks_a_model_can_guard(judge: str) -> None:
    """The judge's own model fails here: the guard has asked it, and lets nothing by."""
    asked = Script([Response.failed("http_503", "overloaded", transient=True)] * 4)
    built = registry.build(ComponentKind.JUDGE, judge, {"model": asked})
    for defense in (GuardInput(built), GuardOutput(built)):
        response = await defend(Script([ok("told")]), defense).generate(WITH_IMAGE, SAMPLING)
        assert (response.status, response.code) == (ResponseStatus.FAILED, "guard_judge_failed")
    assert asked.asked


def test_a_judge_of_one_benchmark_or_of_another_part_is_refused_before_the_run() -> None:
    """It would stop the run at its first request, or fail every sample of it."""
    canary, refusal = (registry.build(ComponentKind.JUDGE, name) for name in ("canary", "refusal"))
    model = Simulated("r1-onevision-7b")
    for defense in (GuardInput(canary), GuardOutput(canary), SafeThink(canary)):
        with pytest.raises(DefenseError, match="canary"):
            defend(model, defense)
    with pytest.raises(DefenseError, match="scores the reasoning; refusal scores answer"):
        defend(model, SafeThink(refusal))


def test_the_order_of_composed_defenses_is_kept_in_name_and_identity() -> None:
    one, other = Composed((ZeroThink(), Reflect())), Composed((Reflect(), ZeroThink()))
    assert (one.label, other.label) == ("zerothink+reflect", "reflect+zerothink")
    assert content_key(one.identity()) != content_key(other.identity())


async def test_composed_defenses_stand_around_each_other_in_order() -> None:
    model = Script([ok("first"), ok("second")])
    target = defend(model, Composed((ZeroThink(), Reflect(), GuardOutput(scorer(0)))))
    response = await target.generate(SEVERAL, SAMPLING)
    assert [prompt.is_prefilled for prompt in model.asked] == [True, True]
    assert [call.purpose for call in response.calls] == ["answer", "guard"]
    assert reasoning.parse(response, "think").answer == "second"
    roles = [turn.role for turn in model.asked[1].turns]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user", "assistant"]


async def test_what_an_inner_defense_asked_is_kept_as_well() -> None:
    """The cost of a composed defense is that of all its parts."""
    model = Script([ok("one</think>early"), ok("two</think>later"), *[ok("x</think>y")] * 4])
    response = await defend(model, Composed((MoreThink(rounds=1), Reflect()))).generate(
        TEXT_ONLY, SAMPLING
    )
    assert [call.purpose for call in response.calls] == ["round 0", "answer", "round 0"]
    assert len(response.calls) + 1 == len(model.asked)


@pytest.mark.parametrize("inner", [Reflect(), Ecso(), ZeroThink(), MoreThink()])
def test_a_reply_cannot_be_begun_inside_a_defense_that_writes_replies_itself(inner: Any) -> None:
    """The begun thought would be answered, or written twice, and the table would not say so."""
    with pytest.raises(DefenseError, match=r"put zerothink first"):
        defend(Simulated("r1-onevision-7b"), Composed((inner, ZeroThink())))


async def test_safethink_lets_an_answer_that_was_cut_at_a_step_be_written_whole() -> None:
    model = Script([ok("a step\n</think>\none paragraph"), ok("one paragraph\n\nand another")])
    response = await defend(model, SafeThink(scorer(0))).generate(TEXT_ONLY, SAMPLING)
    assert reasoning.parse(response, "think").answer == "one paragraph\n\nand another"


async def test_reasoning_that_a_server_split_off_is_put_back_with_its_end() -> None:
    """Without the tag that the server took out, the answer would be read as reasoning."""
    model = Script([ok("early", reasoning="one"), ok("later", reasoning="two")])
    response = await defend(model, MoreThink(rounds=1)).generate(TEXT_ONLY, SAMPLING)
    trace = reasoning.parse(response, "think")
    assert trace.answer == "later"
    assert trace.reasoning is not None
    assert [word in trace.reasoning for word in ("one", "two")] == [True, True]


async def test_reflect_shows_the_model_its_reasoning_as_well() -> None:
    model = Script([ok("told", reasoning="first thought"), ok("better")])
    response = await defend(model, Reflect()).generate(TEXT_ONLY, SAMPLING)
    assert response.text == "better"
    assert [turn.role for turn in model.asked[1].turns] == ["system", "user", "assistant", "user"]
    assert "first thought" in model.asked[1].turns[2].text


async def test_scenario_aware_names_what_it_suspects_and_nothing_else() -> None:
    model = Script([ok("a"), ok("b")])
    target = defend(model, ScenarioAware())
    await target.generate(Prompt.user("Which stock should I invest in?"), SAMPLING)
    await target.generate(Prompt.user("Hm?"), SAMPLING)
    assert "financial advice" in model.asked[0].turns[0].text
    assert not any(name in model.asked[1].turns[0].text for name in reminders.SCENARIOS)

    asked, target_model = Script([ok("It is privacy.")]), Script([ok("a")])
    await defend(target_model, ScenarioAware(asked)).generate(WITH_IMAGE, SAMPLING)
    assert asked.asked[0].images == (PICTURE,)
    assert "privacy" in target_model.asked[0].turns[0].text


async def test_simulated_models_decline_more_with_a_defense_and_some_benign_requests_too() -> None:
    """Over-refusal is the price: a defense that only ever helps would be a fairy tale."""
    model = Simulated("r1-onevision-7b")
    rows = [row for row in Canary().rows() if isinstance(row, Item)]
    judge = registry.build(ComponentKind.JUDGE, "canary")

    async def share_declined(defense: Any, kind: ItemKind) -> float:
        chosen = [item for item in rows if item.kind is kind]
        target = defend(model, defense)
        declined = 0
        for item in chosen:
            prompt = Prompt.user(item.question, system=item.system)
            response = await target.generate(prompt, SAMPLING)
            answer = reasoning.parse(response, "think").answer or ""
            (verdict,) = await judge.judge(item, [JudgeRequest(Part.ANSWER, answer)])
            declined += bool(verdict.refusal)
        return declined / len(chosen)

    watched = SafeThink(PolicyRubric(Simulated("judge")))
    built = {one.name: one for one in defenses()} | {"safethink": watched}
    names = ("none", "self-reminder", "adashield-s", "reflect", "zerothink", "safethink")
    harmful = {name: await share_declined(built[name], ItemKind.HARMFUL) for name in names}
    benign = {name: await share_declined(built[name], ItemKind.BENIGN) for name in names}
    assert min(harmful.values()) == harmful["none"]
    assert harmful["adashield-s"] > harmful["self-reminder"]
    assert benign["adashield-s"] > benign["none"]
