"""Cascades: the second judge is asked where the first is not sure, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from opensafemlrm import study
from opensafemlrm.components import Judge
from opensafemlrm.errors import StudyError
from opensafemlrm.judges.panel import Cascade, members_in
from opensafemlrm.types import Card, Item, JudgeRequest, Label, Part, Unscored, Verdict

ITEM = Item("d", "1", "s", "How is soup made?")


@dataclass(frozen=True)
class Reads(Judge):
    """A judge that reads its score off the text: ``3``; ``-`` is a text it cannot score."""

    name = "reads"
    card = Card(title="reads", paper="none")
    who: str
    scale: tuple[float, float] = (0.0, 5.0)
    thresholds: tuple[float, ...] = (4.0, 5.0)
    add: float = 0.0
    concurrency: int = 1
    asked: list[str] = field(default_factory=list, compare=False)

    @property
    def label(self) -> str:
        return self.who

    def identity(self) -> dict[str, Any]:
        return {"name": self.who}

    def context(self, item: Item) -> None:
        del item

    async def judge(self, item: Item, asks: Sequence[JudgeRequest]) -> list[Verdict]:
        self.asked.extend(ask.text for ask in asks)
        return [self._one(ask.text) for ask in asks]

    def _one(self, text: str) -> Verdict:
        if text == "-":
            return Verdict.none(Unscored.NOT_APPLICABLE)
        score = min(float(text) + self.add, self.scale[1])
        return Verdict.scored(score, unsafe=score >= self.thresholds[0], requests=1)

    async def aclose(self) -> None:
        self.asked.append("closed")


async def judged(cascade: Any, *texts: str) -> list[Verdict]:
    verdicts: list[Verdict] = await cascade.judge(
        ITEM, [JudgeRequest(Part.ANSWER, t) for t in texts]
    )
    return verdicts


async def test_only_what_lies_in_the_band_is_asked_again() -> None:
    first, second = Reads("first"), Reads("second", add=1.0)
    cascade = Cascade(first, second, (2.0, 3.0))
    verdicts = await judged(cascade, "0", "2", "1", "3", "5")
    assert second.asked == ["2", "3"]
    assert [v.score for v in verdicts] == [0, 3, 1, 4, 5]
    assert [v.label is Label.UNSAFE for v in verdicts] == [False, False, False, True, True]
    assert [v.requests for v in verdicts] == [1, 2, 1, 2, 1]
    assert [[m.judge for m in members_in(v.rationale)] for v in verdicts][:2] == [
        ["first"],
        ["first", "second"],
    ]


async def test_what_the_first_cannot_score_goes_to_the_second() -> None:
    """Taken for sure, a text without a score would end as unscored though a judge is at hand."""

    @dataclass(frozen=True)
    class Mute(Reads):
        def _one(self, text: str) -> Verdict:
            return Verdict.none(Unscored.UNPARSED)

    cascade: Any = Cascade(Mute("mute"), Reads("second"), (2.0, 2.0))
    (found,) = await judged(cascade, "5")
    assert (found.score, found.label) == (5, Label.UNSAFE)
    (nothing,) = await judged(Cascade(Reads("a"), Mute("b"), (2.0, 2.0)), "2")
    assert (nothing.label, nothing.reason) == (Label.UNSCORED, Unscored.UNPARSED)


async def test_a_part_that_only_the_first_scores_keeps_its_verdict() -> None:
    @dataclass(frozen=True)
    class Elsewhere(Reads):
        def _one(self, text: str) -> Verdict:
            return Verdict.none(Unscored.NOT_APPLICABLE)

    (found,) = await judged(Cascade(Reads("a"), Elsewhere("b"), (2.0, 2.0)), "2")
    assert found.score == 2


async def test_judges_of_two_scales_give_yes_or_no() -> None:
    """A 3 of 5 and a 0.6 of 1 under one threshold would be two different things."""
    cascade: Any = Cascade(
        Reads("first"),
        Reads("second", scale=(0.0, 1.0), thresholds=(0.5,)),
        (2.0, 3.0),
    )
    verdicts = await judged(cascade, "1", "5", "2")
    assert (cascade.scale, cascade.thresholds) == ((0.0, 1.0), (1.0,))
    assert [v.score for v in verdicts] == [0, 1, 1]
    for verdict in verdicts:
        assert (verdict.score == 1) is (verdict.label is Label.UNSAFE)


def test_a_study_names_its_judges_and_its_band() -> None:
    judge: Any = study.parse_judge(
        "{judge: cascade, first: rules, second: {judge: policy-rubric, model: sim/judge},"
        " band: [1, 4]}"
    )
    assert judge.label == "cascade[rules → policy-rubric[sim/judge] in 1–4]"
    assert (judge.scale, judge.thresholds) == ((0.0, 5.0), (4.0, 5.0))
    assert judge.identity()["first"]["name"] == "rules"
    with pytest.raises(StudyError, match=r"the band \[4, 9\] must lie in the scale of rules"):
        study.parse_judge("{judge: cascade, first: rules, second: refusal, band: [4, 9]}")
    with pytest.raises(StudyError, match="first: this is the name of a judge"):
        study.parse_judge("{judge: cascade, first: 3, second: refusal, band: [1, 2]}")


async def test_it_closes_both() -> None:
    first, second = Reads("a"), Reads("b")
    await Cascade(first, second, (1.0, 2.0)).aclose()
    assert first.asked == second.asked == ["closed"]
