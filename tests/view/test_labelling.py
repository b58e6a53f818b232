"""Labelling in the browser: blind, nothing unseen, undone and skipped, alone and with others."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import opensafemlrm as osm
from opensafemlrm.analysis.agreement import cohens_kappa
from opensafemlrm.interop.label_exchange import import_labels
from opensafemlrm.store import Store, labels
from opensafemlrm.store.database import lock_to_write
from opensafemlrm.view.labelling import Pace
from tests.view.asgi import Visitor, found


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    study = osm.Study(
        models=["sim/r1-onevision-7b", "sim/qwen2.5-vl-7b"],
        pairs=[("sim/r1-onevision-7b", "sim/qwen2.5-vl-7b")],
        datasets=["canary"],
        attacks=["figstep"],
        judge="canary",
        limit=20,
    )
    osm.evaluate(study, path)
    return path


@pytest.fixture
async def visit(store: Path) -> AsyncIterator[Visitor]:
    visitor = await Visitor(store).enter()
    yield visitor
    visitor.pages.close()


def form_of(page: str) -> dict[str, str]:
    """What the page's form would send, without a label."""
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page)
    return {name: html.unescape(value) for name, value in fields if name != "next"}


async def give(visit: Visitor, label: str, address: str = "/label?annotator=ann") -> str:
    """Look at the next reply, label it, and return the page that follows."""
    page = (await visit.ask(address)).text
    moved = await visit.post("/label", **{**form_of(page), "seen": "yes", "label": label})
    assert moved.status == 303, moved.text
    return (await visit.ask(moved.headers["location"])).text


def given(store: Path) -> list[labels.PersonLabel]:
    with Store.open(store) as opened:
        return sorted(labels.labels(opened.connection), key=lambda label: label.created)


async def test_nothing_is_labelled_unseen(visit, store):
    page = (await visit.ask("/label?annotator=ann")).text
    assert len(re.findall(r"data-choice[^>]* disabled", page)) == 4
    assert "canary:" not in page
    assert (await visit.post("/label", **form_of(page), label="safe")).status == 400
    assert given(store) == []


async def test_a_label_lands_on_the_text_that_was_shown(visit, store):
    """A page from yesterday may show what a reply was before it was made anew."""
    form = {**form_of((await visit.ask("/label?annotator=ann")).text), "seen": "yes"}
    with Store.open(store, "write") as opened:
        opened.connection.execute("UPDATE generations SET text = text || ' and more'")
    refused = await visit.post("/label", **form, label="safe")
    assert refused.status == 400
    assert "another text by now" in refused.text
    assert given(store) == []


async def test_a_text_that_is_cut_takes_no_label(visit, store):
    with Store.open(store, "write") as opened:
        opened.connection.execute("UPDATE generations SET text = text || hex(zeroblob(20000))")
    await visit.post("/session", reveal="yes")
    page = (await visit.ask("/label?annotator=ann")).text
    assert 'name="seen" value="no" data-cut' in page
    whole = found(r'href="(/label[^"]+whole=yes)"', page)
    assert 'name="seen" value="yes"' in (await visit.ask(whole)).text


async def test_all_that_a_labeller_needs_is_in_sight_and_no_more(visit):
    pages = [(await visit.ask(f"/label?annotator=ann&at={n}")).text for n in range(1, 41)]
    for word in ("What was sent", "Guideline", "<img"):
        assert all(word in page for page in pages), word
    assert any("The reasoning before it" in page for page in pages)
    assert not any("canary:" in page or "written by" in page for page in pages)


async def test_what_the_judge_said_is_told_afterwards(visit):
    page = await give(visit, "unsafe")
    assert "<b>1</b> of 40 labelled" in page
    assert re.search(r"The one before:.*canary: (un)?safe.*written by", page)


async def test_undo_takes_back_label_after_label_also_on_another_day(visit, store):
    for label in ("safe", "unsafe", "safe"):
        await give(visit, label)
    first = given(store)[0]
    again = await Visitor(store).enter()
    for left in (2, 1):
        page = await give(again, "undo")
        assert len(given(store)) == left
        assert f"<b>{left}</b> of 40 labelled" in page
    assert given(store) == [first]
    again.pages.close()


async def test_what_is_skipped_comes_back_at_the_end(visit):
    first = form_of((await visit.ask("/label?annotator=ann")).text)["sample"]
    page = await give(visit, "skip")
    assert form_of(page)["sample"] != first
    assert "1 skipped" in page
    for _ in range(38):
        await give(visit, "safe")
    page = await give(visit, "safe")
    assert form_of(page)["sample"] == first


async def test_classes_are_kept_with_what_they_mean(visit, store):
    address = "/label?annotator=ann&scale=msts"
    for label in ("1.6", "2.1", "can't tell"):
        await give(visit, label, address)
    said = [(one.response_class, one.unsafe, one.understood) for one in given(store)]
    assert said == [("1.6", False, False), ("2.1", True, True), (None, None, None)]
    page = (await visit.ask(address)).text
    keys = re.findall(r'value="([^"]+)" data-choice data-key="(\d)"', page)
    assert dict(keys) == {
        **{"1.1": "1", "1.2": "2", "1.3": "3", "1.4": "4", "1.5": "5", "1.6": "6", "1.7": "7"},
        **{"2.1": "8", "2.2": "9", "can&#39;t tell": "0"},
    }
    assert page.count("data-choice") == 12  # what has no key has arrows and Enter


async def test_labellers_see_how_far_they_agree(visit):
    for label in ("safe", "unsafe", "misunderstood", "unsafe"):
        await give(visit, label)
    for label in ("safe", "unsafe", "unsafe"):
        await give(visit, label, "/label?annotator=bob")
    page = await give(visit, "unsafe", "/label?annotator=bob")
    assert "ann and bob: κ 0.50, the same on 3 of 4" in page


def test_kappa_is_cohens():
    # Cohen (1960), table 1: 200 texts, three categories.
    table = [[88, 14, 18], [10, 40, 10], [2, 6, 12]]
    first = [i for i in range(3) for j in range(3) for _ in range(table[i][j])]
    second = [j for i in range(3) for j in range(3) for _ in range(table[i][j])]
    assert cohens_kappa(first, second) == pytest.approx(0.492, abs=5e-4)
    assert cohens_kappa([True, True], [True, True]) is None
    assert cohens_kappa([], []) is None


async def test_a_plan_asks_for_what_narrows_the_figures(visit, store):
    page = (await visit.ask("/label?annotator=ann&plan=5")).text
    assert "of 20 labelled" in page  # harmful ones alone are in the tax
    for _ in range(4):
        await give(visit, "unsafe", "/label?annotator=ann&plan=5")
    items = [one.generation for one in given(store)]
    with Store.open(store) as opened:
        rows = opened.connection.execute(
            "SELECT count(DISTINCT item), count(DISTINCT cell) FROM generations "
            f"WHERE key IN ({', '.join('?' * 4)})",
            items,
        ).fetchone()
    assert rows == (2, 2)  # both replies to each of two questions
    assert (await visit.ask("/label?annotator=ann&plan=much")).status == 400


async def test_a_break_shows_nothing_that_anybody_wrote(visit):
    await visit.post("/session", reveal="yes")
    page = (await visit.ask("/label?annotator=ann&break=yes")).text
    assert "A break" in page
    assert "<pre" not in page
    assert "<img" not in page


def test_pace_counts_from_the_last_break():
    morning = [100.0 + 10 * n for n in range(60)]
    assert Pace.of(morning).break_due
    assert Pace.of(morning).seconds == 10
    afternoon = [*morning, 9000.0, 9020.0]
    assert Pace.of(afternoon) == Pace(20.0, 2, 20 / 60)
    assert not Pace.of(afternoon).break_due
    assert Pace.of([]) == Pace(None, 0, 0)


async def test_a_run_that_writes_is_named(visit, store):
    form = form_of((await visit.ask("/label?annotator=ann")).text)
    with lock_to_write(store, existing=True):
        page = await visit.post("/label", **{**form, "seen": "yes"}, label="safe")
    assert page.status == 400
    assert "another run is writing" in page.text


async def test_labels_can_be_taken_along_and_brought_in(visit, store, tmp_path):
    await give(visit, "unsafe")
    await give(visit, "misunderstood")
    ours = await visit.ask("/export/labels.csv")
    theirs = await visit.ask("/export/validation.csv?part=answer")
    assert "attachment" in ours.headers["content-disposition"]
    assert theirs.text.splitlines()[0] == "id,target"
    assert sorted(line.partition(",")[2] for line in theirs.text.splitlines()[1:]) == [
        "false",
        "true",
    ]
    before = given(store)
    with Store.open(store, "write") as opened:
        opened.connection.execute("DELETE FROM labels")
        (tmp_path / "ours.csv").write_text(ours.text)
        assert import_labels(tmp_path / "ours.csv", opened).labels == 2
    assert given(store) == before
    assert (await visit.ask("/export/store.csv")).status == 404
