"""Runs are builds: what is missing is made, and nothing else."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from opensafemlrm import engine, frame
from opensafemlrm.defenses.guard import GuardOutput
from opensafemlrm.defenses.rereading import Ecso, Reflect
from opensafemlrm.defenses.thinking import ZeroThink
from opensafemlrm.errors import (
    DatasetError,
    DefenseError,
    EndpointDownError,
    StoppedError,
    StoreError,
)
from opensafemlrm.judges.policy_rubric import PolicyRubric
from opensafemlrm.store import Store
from opensafemlrm.study import Study
from opensafemlrm.types import Item, Response, ResponseStatus, Unscored, Verdict
from tests.support import Listed, Scorer, Scripted, Searches, Undefended, Wrapped, items, ok, study


def bring_up_to_date(what: Study, path: Path, *, skip_invalid: bool = False) -> engine.Plan:
    plan = engine.Plan.of(what, skip_invalid=skip_invalid)
    with Store.open(path, "create") as store:
        asyncio.run(engine.evaluate(plan, store))
    return plan


def table(path: Path):
    with Store.open(path) as store:
        return frame.read(store)


def test_a_second_run_makes_no_request(tmp_path):
    first, second = Scripted(), Scripted()
    judge = Scorer()
    bring_up_to_date(study(first, items(30)), tmp_path)
    plan = bring_up_to_date(study(second, items(30), judge=judge), tmp_path)
    assert len(first.asked) == 30
    assert second.asked == []
    assert judge.asked == []
    assert plan.cells[0].tally.stored == 30


def test_changing_the_judge_regenerates_nothing(tmp_path):
    bring_up_to_date(study(Scripted(), items(10)), tmp_path)
    model, judge = Scripted(), Scorer(variant="b")
    bring_up_to_date(study(model, items(10), judge=judge), tmp_path)
    assert model.asked == []
    assert len(judge.asked) == 30
    assert table(tmp_path)["judge"].n_unique() == 2


def test_changing_one_attack_parameter_redoes_that_cell_alone(tmp_path):
    attacks = [Wrapped("a"), Wrapped("b")]
    bring_up_to_date(study(Scripted(), items(10), attacks=attacks), tmp_path)
    model = Scripted()
    attacks = [Wrapped("a"), Wrapped("c")]
    bring_up_to_date(study(model, items(10), attacks=attacks), tmp_path)
    assert sorted(model.asked) == sorted(f"c: question {i}?" for i in range(10))


def test_changed_sampling_or_revision_or_item_never_reuses_old_replies(tmp_path):
    """Changed parameters reuse old results (how published tools go wrong)."""
    base = study(Scripted(), items(4))
    bring_up_to_date(base, tmp_path)
    hotter = dataclasses.replace(base.sampling, temperature=1.0)
    reworded = [dataclasses.replace(item, question=item.question + "!") for item in items(4)]
    changes = [
        ("one", dataclasses.replace(base, sampling=hotter)),
        ("one@v2", base),
        ("one", dataclasses.replace(base, datasets=(Listed(reworded),))),
    ]
    for name, changed in changes:
        model = Scripted(model=name)
        bring_up_to_date(dataclasses.replace(changed, models=(model,)), tmp_path)
        assert len(model.asked) == 4


def test_more_items_add_to_what_is_there(tmp_path):
    bring_up_to_date(study(Scripted(), items(100), limit=10), tmp_path)
    model = Scripted()
    bring_up_to_date(study(model, items(100), limit=25), tmp_path)
    assert len(model.asked) == 15


def test_repeats_use_seeds_of_their_own_and_are_kept_apart(tmp_path):
    model = Scripted(lambda prompt, seed: ok(f"seed {seed}"))
    bring_up_to_date(study(model, items(3), repeats=2), tmp_path)
    rows = table(tmp_path)
    assert len(model.asked) == 6
    assert sorted(rows["repeat"].unique()) == [0, 1]
    assert rows["sample"].n_unique() == 6


def test_a_limit_meets_every_scenario(tmp_path):
    bring_up_to_date(study(Scripted(), items(100, scenarios=5), limit=7), tmp_path)
    counts = table(tmp_path).unique("sample")["scenario"].value_counts()
    assert sorted(counts["count"]) == [1, 1, 1, 2, 2]


@pytest.mark.parametrize("status", [ResponseStatus.TRUNCATED, ResponseStatus.BLOCKED])
def test_what_is_not_an_answer_is_neither_scored_nor_safe(tmp_path, status):
    """A reply cut at 512 tokens counts as answered; a policy rejection as a refusal."""
    model = Scripted(lambda *_: Response(status, "I will", code="content_filter"))
    judge = Scorer()
    bring_up_to_date(study(model, items(4), judge=judge), tmp_path)
    rows = table(tmp_path)
    assert bool(judge.asked) == (status is ResponseStatus.TRUNCATED)
    assert set(rows["label"]) == {"unscored"}
    assert set(rows["reason"]) == {status.value}
    assert rows["score"].null_count() == len(rows) == 12


def test_a_failure_that_may_pass_is_tried_again_by_the_next_run_and_a_lasting_one_is_not(tmp_path):
    def flaky(prompt, seed):
        transient = "question 1" in prompt.turns[-1].text
        return Response.failed("http_503", "overloaded", transient=transient)

    bring_up_to_date(study(Scripted(flaky), items(2)), tmp_path)
    assert set(table(tmp_path)["reason"]) == {"failed"}
    again = Scripted()
    bring_up_to_date(study(again, items(2)), tmp_path)
    assert again.asked == ["please: question 1?"]
    assert set(table(tmp_path).filter(item="i1")["status"]) == {"ok"}
    assert set(table(tmp_path).filter(item="i0")["status"]) == {"failed"}


def test_a_judge_that_fails_leaves_the_part_unscored_and_is_asked_again_next_time(tmp_path):
    """A judge that fails counts as "safe" (how published tools go wrong)."""
    broken = Scorer(lambda ask: Verdict.none(Unscored.JUDGE_FAILED, rationale="timeout"))
    with pytest.raises(StoppedError, match="judge_failed 6"):
        bring_up_to_date(study(Scripted(), items(2), judge=broken), tmp_path)
    rows = table(tmp_path)
    assert set(rows["label"]) == {"unscored"}
    assert set(rows["reason"]) == {"judge_failed"}
    mended, model = Scorer(), Scripted()
    bring_up_to_date(study(model, items(2), judge=mended), tmp_path)
    assert model.asked == []
    assert len(mended.asked) == 6
    assert "unscored" not in set(table(tmp_path)["label"])


def test_an_item_the_attack_cannot_carry_is_never_sent_bare(tmp_path):
    """An attack whose helper is missing sends the bare question (how published tools go wrong)."""
    model = Scripted()
    attack = Wrapped(refuse=("i0", "i2"))
    plan = bring_up_to_date(study(model, items(4), attacks=[attack]), tmp_path)
    assert sorted(model.asked) == ["please: question 1?", "please: question 3?"]
    assert plan.cells[0].tally.not_applicable == 2
    assert "no key phrase" in plan.cells[0].tally.notes[0]
    assert set(table(tmp_path)["item"]) == {"i1", "i3"}


def test_equal_texts_are_judged_once(tmp_path):
    judge = Scorer()
    same = [dataclasses.replace(item, question="the same?") for item in items(20)]
    bring_up_to_date(study(Scripted(lambda *_: ok("all alike")), same, judge=judge), tmp_path)
    assert len(judge.asked) == 1
    rows = table(tmp_path)
    assert rows["judge_requests"].sum() == 0
    assert rows.filter(part="reasoning")["reason"].unique().to_list() == ["no_text"]
    assert rows.filter(part="full")["score"].null_count() == 0


def test_a_bad_row_stops_the_run_before_any_request_and_can_be_skipped(tmp_path):
    bad = DatasetError("the question is empty", path="x.csv", row=3)
    rows: list[Item | DatasetError] = [*items(3), bad]
    model = Scripted()
    with pytest.raises(DatasetError, match=r"x\.csv: row 3: the question is empty"):
        bring_up_to_date(study(model, rows), tmp_path)
    assert model.asked == []
    plan = bring_up_to_date(study(model, rows), tmp_path, skip_invalid=True)
    assert len(model.asked) == 3
    assert plan.cells[0].subset.skipped == (bad,)


def test_a_dead_server_ends_the_run_and_keeps_what_came(tmp_path):
    def dies(prompt, seed):
        if "question 7" in prompt.turns[-1].text:
            raise EndpointDownError("http://127.0.0.1:1 has stopped answering")
        return ok("fine")

    model = Scripted(dies, concurrency=1)
    with pytest.raises(StoppedError, match="stopped answering"):
        bring_up_to_date(study(model, items(20)), tmp_path)
    assert model.closed
    kept = table(tmp_path)["sample"].n_unique()
    assert kept >= 5
    again = Scripted()
    bring_up_to_date(study(again, items(20)), tmp_path)
    assert len(again.asked) == 20 - kept


def test_a_run_that_is_interrupted_keeps_everything_that_came(tmp_path):
    model = Scripted(delay=0.001)
    plan = engine.Plan.of(study(model, items(500)))

    async def interrupted(store: Store) -> None:
        task = asyncio.create_task(engine.evaluate(plan, store))
        await asyncio.sleep(0.15)
        assert 0 < plan.cells[0].tally.judged < 500
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Store.open(tmp_path, "create") as store:
        asyncio.run(interrupted(store))
    again = Scripted()
    bring_up_to_date(study(again, items(500)), tmp_path)
    assert len(set(model.asked) & set(again.asked)) <= 6  # only what was in flight
    assert len(set(model.asked) | set(again.asked)) == 500
    assert table(tmp_path)["sample"].n_unique() == 500


def test_two_runs_cannot_write_to_one_store_at_once(tmp_path):
    with (
        Store.open(tmp_path, "create"),
        pytest.raises(StoreError, match="another run is writing"),
    ):
        Store.open(tmp_path, "create")


def test_a_dry_run_sends_and_writes_nothing(tmp_path):
    model = Scripted()
    plan = engine.Plan.of(study(model, items(10), attacks=[Wrapped(refuse=("i0",))]))
    found = engine.survey(plan, plan.cells[0], None)
    assert (found.samples, found.to_generate, found.to_judge, found.not_applicable) == (10, 9, 9, 1)
    assert "no key phrase" in found.note
    assert model.asked == []


def test_a_dry_run_after_a_run_counts_only_what_is_missing(tmp_path):
    attacks = [Wrapped(refuse=("i3",))]
    bring_up_to_date(study(Scripted(), items(10), attacks=attacks), tmp_path)
    plan = engine.Plan.of(study(Scripted(), items(12), attacks=attacks))
    with Store.open(tmp_path) as store:
        found = engine.survey(plan, plan.cells[0], store.connection)
    assert (found.samples, found.to_generate, found.to_judge, found.not_applicable) == (12, 2, 2, 1)


def test_lone_surrogates_and_nuls_in_a_reply_are_stored_and_judged_once(tmp_path):
    model = Scripted(lambda *_: ok("a\ud800b\x00c"))
    bring_up_to_date(study(model, items(1)), tmp_path)
    judge = Scorer()
    bring_up_to_date(study(Scripted(), items(1), judge=judge), tmp_path)
    assert judge.asked == []
    with Store.open(tmp_path) as store:
        assert store.connection.execute("SELECT text FROM generations").fetchone() == (
            "a\ufffdb\x00c",
        )


def test_a_search_sends_what_it_found_and_every_query_is_in_the_store(tmp_path):
    model = Scripted()
    plan = bring_up_to_date(study(model, items(3), attacks=[Searches()]), tmp_path)
    assert sorted(model.asked) == sorted(
        [f"try {t}: question {i}?" for t in (0, 1) for i in (1, 2)]
        + [f"try 1: question {i}?" for i in (1, 2)]
    )
    assert plan.cells[0].tally.not_applicable == 1
    with Store.open(tmp_path) as store:
        calls = store.connection.execute("SELECT purpose, score, text FROM calls").fetchall()
    assert sorted(purpose for purpose, _, _ in calls) == [
        "query 0",
        "query 0",
        "query 1",
        "query 1",
    ]
    assert all(score is not None and text for _, score, text in calls)
    again = Scripted()
    bring_up_to_date(study(again, items(3), attacks=[Searches()]), tmp_path)
    assert again.asked == []


def test_a_search_guided_by_another_judge_is_another_attack(tmp_path):
    bring_up_to_date(study(Scripted(), items(2), attacks=[Searches()]), tmp_path)
    model = Scripted()
    other = Scorer(variant="b")
    bring_up_to_date(study(model, items(2), attacks=[Searches()], judge=other), tmp_path)
    assert len(model.asked) == 3


def test_a_prompt_that_a_defense_cannot_be_applied_to_is_counted_and_not_sent(tmp_path):
    """A defense that cannot do its work must not pass for one that did (DESIGN, rule 2)."""
    model = Scripted()
    what = dataclasses.replace(study(model, items(3)), defenses=(Undefended(), Ecso()))
    plan = bring_up_to_date(what, tmp_path)
    assert len(model.asked) == 3
    assert [cell.tally.not_applicable for cell in plan.cells] == [0, 3]
    assert "needs a prompt with an image" in plan.cells[1].tally.notes[0]


def test_a_defense_that_a_model_cannot_carry_stops_the_study_before_its_first_request(tmp_path):
    what = dataclasses.replace(study(Scripted(), items(3)), defenses=(ZeroThink(),))
    with pytest.raises(DefenseError, match="prefill"):
        engine.Plan.of(what)


def test_every_request_of_a_defense_is_in_the_store_beside_the_reply(tmp_path):
    what = dataclasses.replace(study(Scripted(), items(2)), defenses=(Reflect(),))
    bring_up_to_date(what, tmp_path)
    with Store.open(tmp_path) as store:
        rows = store.connection.execute("SELECT purpose, text FROM calls").fetchall()
    assert [purpose for purpose, _ in rows] == ["answer", "answer"]
    assert all("about please" in text for _, text in rows)


def test_a_judge_that_a_defense_was_given_is_closed_with_the_run(tmp_path):
    inner = Scripted(lambda *_: ok("#thescore: 0"), model="guard")
    guard = GuardOutput(PolicyRubric(inner))
    bring_up_to_date(dataclasses.replace(study(rows=items(1)), defenses=(guard,)), tmp_path)
    assert inner.closed
