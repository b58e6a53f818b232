"""A component of somebody's own that gives back, or says of itself, what its kind does not.

A score of NaN was stored as safe, a judge without thresholds made a store that nothing could read,
and a model that was cancelled from within ended the run as if it had no sample more.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import registry
from opensafemlrm.components import Attack, Component, Dataset, Defense, Judge, Model, Search
from opensafemlrm.engine.labelled import LabelledText, judge_texts
from opensafemlrm.errors import ComponentError, DuplicateError, StudyError
from opensafemlrm.judges.panel import Panel
from opensafemlrm.store import Store
from opensafemlrm.types import (
    Call,
    Item,
    Prompt,
    Response,
    ResponseStatus,
    SearchResult,
    Turn,
    Usage,
    Verdict,
)
from tests.support import CARD, Scorer, items, ok, study
from tests.test_faults import run

HERE = re.escape(__file__)
PROMPT = Prompt.user("Fold it.")
SAFE = Verdict.scored(0, unsafe=False)


@dataclass(frozen=True)
class Own:
    """Options of every component below: ``does`` is what its one method gives or raises."""

    does: Callable[[], Any] = field(default=lambda: None, compare=False)
    name = "own"
    card = CARD


class OwnModel(Own, Model):
    model = "one"

    async def generate(self, *_: Any) -> Any:
        return self.does()


class OwnJudge(Own, Judge):
    async def judge(self, *_: Any) -> Any:
        return self.does()


class OwnAttack(Own, Attack):
    def apply(self, *_: Any) -> Any:
        return self.does()


class OwnSearch(Own, Search):
    async def search(self, *_: Any) -> Any:
        return self.does()


class OwnDefense(Own, Defense):
    async def generate(self, *_: Any) -> Any:
        return self.does()


class OwnDataset(Own, Dataset):
    def rows(self) -> Any:
        return self.does()


class NotAsync(OwnModel):
    def generate(self, *_: Any) -> Any:
        return ok("yes")


class Yields(OwnModel):
    async def generate(self, *_: Any) -> Any:
        yield ok("yes")


class TakesLess(OwnModel):
    async def generate(self) -> Any:  # type: ignore[override]
        return ok("yes")


class JudgeNotAsync(OwnJudge):
    def judge(self, *_: Any) -> Any:
        return [SAFE] * 3


class AttackAsync(OwnAttack):
    async def apply(self, *_: Any) -> Any:  # type: ignore[override]
        return PROMPT


def cancelled() -> None:
    raise asyncio.CancelledError


def unawaited() -> Any:
    async def reply() -> Response:
        return ok("yes")

    return reply()


def place(component: Any) -> Any:
    """The study in which the component stands in its place."""
    made = study(rows=items(2))
    kind = next(kind for kind in KEYS if isinstance(component, kind))
    changes: dict[str, Any] = {KEYS[kind]: (component,)}
    return replace(made, **changes)


KEYS: dict[type[Component], str] = {
    Model: "models", Judge: "judges", Attack: "attacks", Search: "attacks", Defense: "defenses",
    Dataset: "datasets",
}  # fmt: skip
OK = ResponseStatus.OK
HELD = re.escape("`part` must be a text or an Image (")
BROKEN: dict[str, tuple[Component, str]] = {
    "a text": (OwnModel(lambda: "yes"), "`generate` gives a str, not a Response"),
    "nothing": (OwnModel(), "`generate` gives nothing, not a Response"),
    "a coroutine": (OwnModel(unawaited), "`generate` gives a coroutine: `await` it"),
    "not async": (NotAsync(), "`generate` cannot be awaited: write `async def generate`"),
    "a generator": (Yields(), "`generate` cannot be awaited: .* without `yield`"),
    "arguments": (TakesLess(), r"`generate` cannot run: .* takes 1 positional argument"),
    "cancelled": (OwnModel(cancelled), "`generate` was cancelled from within"),
    "a status": (OwnModel(lambda: Response("ok")), "TypeError: `status` must be a ResponseStatus"),  # type: ignore[arg-type]
    "a number": (OwnModel(lambda: Response(OK, 42)), "TypeError: `text` must be a text; it is 42"),  # type: ignore[arg-type]
    "usage": (OwnModel(lambda: Response(OK, "", usage=3)), "TypeError: `usage` must be a Usage"),  # type: ignore[arg-type]
    "no list": (OwnJudge(lambda: SAFE), "`judge` gives a Verdict, not a list"),
    "floats": (OwnJudge(lambda: [0.5] * 3), "`judge` gives a float, not a Verdict"),
    "too few": (OwnJudge(lambda: [SAFE]), "`judge` gives 1 verdicts on 3 texts, not one each"),
    "judge not async": (JudgeNotAsync(), "`judge` cannot be awaited: write `async def judge`"),
    "NaN": (
        OwnJudge(lambda: [Verdict.scored(float("nan"), unsafe=False)] * 3),
        "ValueError: a score is a finite number, not nan; see Verdict.none",
    ),
    "off the scale": (
        OwnJudge(lambda: [Verdict.scored(7, unsafe=True)] * 3),
        "`judge` gives the score 7, which is not on its scale of 0 to 1",
    ),
    "two minds": (
        OwnJudge(lambda: [Verdict.scored(1, unsafe=False)] * 3),
        "`judge` calls the score 1 safe: from 0.5 on, its first threshold, a text is unsafe",
    ),
    "a word": (
        OwnJudge(lambda: [Verdict.scored(0, unsafe="no")] * 3),  # type: ignore[arg-type]
        "TypeError: a verdict has a number as its score, and is unsafe or not",
    ),
    "a reason": (
        OwnJudge(lambda: [Verdict.none("broken")] * 3),  # type: ignore[arg-type]
        "TypeError: `reason` must be an Unscored",
    ),
    "no prompt": (OwnAttack(lambda: "Fold it."), "`apply` gives a str, not a Prompt"),
    "async apply": (AttackAsync(), "`apply` is async: write `def apply`"),
    "a part": (OwnAttack(lambda: Prompt.user(Path("a.png"))), f"TypeError: {HELD}"),  # type: ignore[arg-type]
    "no parts": (OwnAttack(lambda: Turn("user", "Fold it.")), "TypeError: `parts` must be a tuple"),  # type: ignore[arg-type]
    "a role": (OwnAttack(lambda: Turn("robot", ())), "ValueError: a turn is of system, user, assi"),
    "no result": (OwnSearch(lambda: PROMPT), "`search` gives a Prompt, not a SearchResult"),
    "no calls": (OwnSearch(lambda: SearchResult(PROMPT, None)), "TypeError: `calls` must be a"),  # type: ignore[arg-type]
    "no defense": (OwnDefense(), "`generate` gives nothing, not a Response"),
    "no rows": (OwnDataset(), "`rows` gives nothing, not an Iterable"),
    "a row": (OwnDataset(lambda: [{"id": "1"}]), "`rows` gives a dict, not an Item"),
    "an id": (OwnDataset(lambda: [Item("own", 1, "s", "How?")]), "TypeError: `id` must be a text"),  # type: ignore[arg-type]
    "a blank id": (
        OwnDataset(lambda: [Item("own", " ", "s", "How?")]),
        "`rows` gives an item whose id is blank",
    ),
    "no JSON": (
        OwnDataset(lambda: [Item("own", "1", "s", "How?", fields={"x": object()})]),
        "`rows` gives the item '1', which holds what is no JSON: Object of type object",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_it_gives_back_is_one_sentence(broken: str, tmp_path: Path) -> None:
    component, says = BROKEN[broken]
    item = "" if isinstance(component, Dataset) else r" on item 'i\d' of 'listed'"
    sentence = rf"^'own' failed{item}: {says}.*\({HERE}, line \d+\)$"
    with pytest.raises(ComponentError, match=sentence) as caught:
        run(place(component), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("verdict", "says"),
    [
        (Verdict.scored(7, unsafe=True), "gives the score 7, which is not on its scale"),
        (Verdict.scored(1, unsafe=False), "calls the score 1 safe"),
    ],
)
async def test_nobodys_labels_are_compared_with_such_a_score(
    verdict: Verdict, says: str, tmp_path: Path
) -> None:
    """`calibrate` had it in the store, where a run would take it for a verdict."""
    judge = OwnJudge(lambda: [verdict])
    (item,) = items(1)
    with Store.open(tmp_path / "store", "create") as store:
        with pytest.raises(ComponentError, match=rf"^'own' failed on item .*{says}.*{HERE}"):
            await judge_texts(judge, [LabelledText(item, "Fold it twice.", True)], store)
        assert store.connection.execute("SELECT count(*) FROM verdicts").fetchone() == (0,)


def test_two_items_of_one_id_are_not_compared_as_one(tmp_path: Path) -> None:
    """Models are compared item by item: which of the two a reply is to, no table would say."""
    rows = [Item("own", "1", "s", "How?"), Item("own", "1", "s", "How else?")]
    with pytest.raises(DuplicateError, match="own: two items of 's' have the id '1'"):
        run(place(OwnDataset(lambda: rows)), tmp_path)


def test_what_came_before_the_fault_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ComponentError):
        run(place(OwnJudge()), tmp_path)
    with Store.open(tmp_path / "store") as store:
        assert store.connection.execute("SELECT count(*) FROM generations").fetchone()[0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": " "}, "has the name ' '"),
        ({"version": "banana"}, "has the version 'banana': write one such as \"1-A\""),
        ({"thresholds": ()}, "the thresholds of Changed are the scores of its scale"),
        ({"thresholds": 0.5}, "the thresholds of Changed are the scores of its scale"),
        ({"thresholds": (9.0,)}, "the thresholds of Changed are the scores of its scale"),
        ({"scale": (5.0, 0.0)}, "the scale of Changed is its least and its greatest score"),
        ({"reads": "answer"}, "what Changed reads is some of"),
        ({"__annotations__": {"strictness": "int"}, "strictness": 3}, "is no dataclass"),
    ],
)
def test_a_study_refuses_what_says_something_wrong_of_itself(
    changes: dict[str, Any], says: str
) -> None:
    def line(self: Any) -> None: ...

    changed: Any = type("Changed", (Scorer,), {"line": line, **changes})
    for judge in (changed(), Panel((Scorer(), changed()))):
        with pytest.raises(
            StudyError, match=rf"^judge: .*{re.escape(says)}.* \({HERE}, line \d+\)"
        ):
            study(judge=judge)


def test_a_judge_whose_thresholds_changed_needs_a_version_of_its_own(tmp_path: Path) -> None:
    """In a notebook, a cell that is run again: the figures went on by the old threshold."""
    stricter: Any = type("Stricter", (Scorer,), {"thresholds": (1.0,)})
    run(study(rows=items(2)), tmp_path)
    with pytest.raises(StudyError, match=r"unsafe from 4, 5 on, .* raise its version, '1-A'"):
        run(study(rows=items(2), judge=stricter()), tmp_path)


def test_a_plugin_of_somebody_elses_is_held_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    endless: Any = type("Endless", (Scorer,), {"thresholds": ()})
    monkeypatch.setattr(registry, "find", lambda *_: endless)
    with pytest.raises(StudyError, match="judge: the thresholds of Endless are"):
        study(judge="endless")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (Scorer, r"this is the class Scorer: make one of it, Scorer\(…\)"),
        (3, "the name of a judge, .* or an object of a class that is based on Judge"),
    ],
)
def test_a_study_says_what_to_put_in_place_of_what_is_no_component(given: Any, says: str) -> None:
    with pytest.raises(StudyError, match=says):
        study(judge=given)


def test_a_call_is_of_a_prompt_and_a_reply() -> None:
    with pytest.raises(TypeError, match="`response` must be a Response"):
        Call("query 1", PROMPT, "yes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`rationale` must be a text; it is 3"):
        Verdict.scored(0, unsafe=False, rationale=3)
    assert Response(OK, usage=Usage(1, 2)).usage.output_tokens == 2
