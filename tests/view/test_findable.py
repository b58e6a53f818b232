"""Ten things that people look for: the addresses in docs/view.md find them, and only them."""

from __future__ import annotations

import asyncio
import dataclasses
import html
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import polars as pl
import pytest

import opensafemlrm as osm
from opensafemlrm.engine import Plan, evaluate
from opensafemlrm.store import Store
from opensafemlrm.store.labels import PersonLabel, put_labels
from opensafemlrm.types import (
    ItemKind,
    JudgeRequest,
    Part,
    Prompt,
    Response,
    ResponseStatus,
    Unscored,
    Verdict,
    content_key,
)
from tests.support import Scorer, Scripted, Wrapped, items, ok, study
from tests.view.asgi import Visitor, found

DOCS = Path(__file__).parents[2] / "docs/view.md"
REASONER, BASE = "scripted/reasoner", "scripted/base"
NAMES = {"ATTACK": "wrapped", "SCENARIO": "s1", "MODEL": REASONER, "BASE": BASE, "JUDGE": "second"}


def drawn(*what: object, out_of: int) -> int:
    """A number that looks drawn, and is always the same."""
    return content_key(*what)[0] % out_of


def reply(name: str) -> Callable[[Prompt, int | None], Response]:
    def of(prompt: Prompt, _: int | None) -> Response:
        asked = prompt.turns[-1].text
        if drawn(name, asked, "cut", out_of=9) == 0:
            return Response(ResponseStatus.TRUNCATED, "<think>so far", finish_reason="length")
        thought = f"<think>{name} of {asked}</think>" if drawn(name, asked, out_of=4) else ""
        return ok(f"{thought}{name} to {asked} lantern" * (1 + drawn(asked, "w", out_of=2)))

    return of


@dataclasses.dataclass(frozen=True)
class Second(Scorer):
    """A judge that often says otherwise, and at times says nothing."""

    name = "second"


def score(ask: JudgeRequest) -> Verdict:
    level = drawn(ask.text, ask.role.value, out_of=6)
    return Verdict.scored(level, unsafe=level >= 4, refusal=level == 0)


def second(ask: JudgeRequest) -> Verdict:
    if drawn(ask.text, out_of=5) == 0:
        return Verdict.none(Unscored.UNPARSED)
    level = drawn(ask.text, "second", out_of=6)
    return Verdict.scored(level, unsafe=level >= 4)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("findable") / "store"
    rows = [*items(40, 3), *items(12, 3, ItemKind.BENIGN)]
    rows = [dataclasses.replace(row, id=f"{row.kind}-{row.id}") for row in rows]
    base, reasoner = (Scripted(model=name, reply=reply(name)) for name in ("base", "reasoner"))
    one = study(base, rows, judge=Scorer(score=score), attacks=[Wrapped()])
    one = dataclasses.replace(one, models=(base, reasoner), pairs=((reasoner, base),))
    with Store.open(path, "create") as opened:
        asyncio.run(evaluate(Plan.of(one), opened))
        other = dataclasses.replace(one, judges=(Second(score=second),))
        asyncio.run(evaluate(Plan.of(other), opened))
        keys = opened.connection.execute("SELECT key FROM generations LIMIT 3").fetchall()
        put_labels(opened, [PersonLabel(key, Part.ANSWER, "ann", True) for (key,) in keys])
    return path


@pytest.fixture
async def visit(store: Path) -> AsyncIterator[Visitor]:
    visitor = await Visitor(store).enter()
    yield visitor
    visitor.pages.close()


def listed() -> dict[str, str]:
    """What the document says one looks for, and where it is."""
    section = DOCS.read_text().partition("## Ten things")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| \d+ \| (.+?) \| .*?`(/\S+)`.*\|$", section, re.MULTILINE)
    return dict(rows)


def truths() -> list[pl.Expr]:
    """What each of them means, in the tidy table's terms, in the document's order."""
    leak = (pl.col("reasoning") >= 4) & (pl.col("answer") < 4)
    asked = pl.col("scenario") == NAMES["SCENARIO"]
    of_model = pl.col("model") == REASONER
    twin = pl.col("twin")
    return [
        leak & (pl.col("attack") == NAMES["ATTACK"]),
        leak & asked & of_model,
        of_model & (pl.col("answer") >= 4) & (twin < 4),
        of_model & (pl.col("answer") < 4) & (twin >= 4),
        pl.col("disputed"),
        pl.col("status").is_in(["ok"]) & pl.col("second").is_null(),
        (pl.col("expected") == "benign") & pl.col("refused"),
        pl.col("status") == "truncated",
        of_model & (pl.col("reasoning_status") == "absent"),
        pl.col("full") == 5,
    ]


def samples(store: Path) -> pl.DataFrame:
    """A row a sample: the first judge's scores of its parts, and what else is asked for."""
    frame = osm.open(store).frame()
    names = ("model", "attack", "scenario", "item", "expected", "status", "reasoning_status")
    first = frame.filter(pl.col("judge") == "scorer")
    wide = first.pivot("part", index=["sample", *names], values="score")
    by_part = frame.filter(pl.col("score").is_not_null()).with_columns(unsafe=pl.col("score") >= 4)
    disputed = (
        by_part.group_by("sample", "part")
        .agg(split=pl.col("unsafe").n_unique() > 1)
        .group_by("sample")
        .agg(disputed=pl.col("split").any())
    )
    answers = frame.filter(pl.col("part") == "answer")
    refused = answers.filter(pl.col("judge") == "scorer").select(
        "sample", refused=pl.col("refusal").fill_null(value=False)
    )
    other = answers.filter(pl.col("judge") == "second").select("sample", second="score")
    twins = wide.filter(pl.col("model") == BASE).select("item", "attack", twin="answer")
    wide = wide.join(disputed, on="sample", how="left").join(refused, on="sample", how="left")
    return wide.join(other, on="sample", how="left").join(twins, on=["item", "attack"], how="left")


@pytest.mark.parametrize("number", range(10))
async def test_it_is_found_at_the_address(visit: Visitor, store: Path, number: int):
    what, address = list(listed().items())[number]
    for name, value in NAMES.items():
        address = re.sub(rf"\b{name}\b", value, address)
    wanted = set(samples(store).filter(truths()[number])["sample"])
    first = page = (await visit.ask(address)).text
    listing = set(re.findall(r'href="/sample/([0-9A-F]+)', page))
    while more := re.search(r'rel="next" href="([^"]+)"', page):
        page = (await visit.ask(html.unescape(more[1]))).text
        listing |= set(re.findall(r'href="/sample/([0-9A-F]+)', page))
    assert len(wanted) > 0, what
    assert listing == wanted, what
    assert f"<b>{len(wanted)}</b> sample" in first


async def test_all_ten_have_an_address():
    assert len(listed()) == 10


async def test_every_answer_of_the_overview_opens_samples(visit: Visitor):
    page = (await visit.ask("/")).text
    answers = page.partition('<dl class="answers">')[2].partition("</dl>")[0]
    assert answers.count("<dt>") >= 5
    for answer in answers.split("<dt>")[1:]:
        links = re.findall(r'<a href="([^"]+)"', answer)
        assert links
        assert 'id="pairs"' in page
        for link in set(links) - {"#pairs"}:
            assert (await visit.ask(html.unescape(link))).status == 200


async def test_the_tax_is_what_its_flips_make(visit: Visitor):
    """One click from the figure: as many turned unsafe, less as many turned safe, of all pairs."""
    page = (await visit.ask("/")).text
    rows: list[tuple[str, ...]] = re.findall(
        r"<b>([+-][\d.]+)</b>.*?href=\"([^\"]+)\">(\d+)</a>.*?href=\"([^\"]+)\">(\d+)</a>",
        page.partition('id="pairs"')[2],
        re.DOTALL,
    )
    assert rows
    for _, worse, n_worse, better, n_better in rows:
        for address, n in ((worse, n_worse), (better, n_better)):
            opened = (await visit.ask(html.unescape(address))).text
            assert f"<b>{n}</b> sample" in opened


async def test_labelled_and_unlabelled_are_all(visit: Visitor, store: Path):
    def count(page: str) -> int:
        return int(found(r'class="counts"><b>([\d,]+)', page))

    labelled = count((await visit.ask("/browse?labelled=yes")).text)
    rest = count((await visit.ask("/browse?unlabelled=yes")).text)
    assert (labelled, labelled + rest) == (3, len(samples(store)))


async def test_words_are_all_in_it_and_a_star_ends_one(visit: Visitor):
    visit.pages.read()
    while visit.pages._index.words.begin() < 1:
        pass
    reasoner = (await visit.ask("/browse?q=reasoner+lantern")).text
    assert set(re.findall(r"<td>(scripted/\w+)</td>", reasoner)) == {REASONER}
    assert (await visit.ask("/browse?q=lant*")).text.count("/sample/") == 50
    assert "<b>0</b> samples" in (await visit.ask("/browse?q=lant")).text
    assert "<b>0</b> samples" in (await visit.ask("/browse?q=*%22%2B")).text
