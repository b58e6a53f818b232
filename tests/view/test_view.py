"""Reading a store in a browser: who may, what is masked, and that every number leads to samples."""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import opensafemlrm as osm
from opensafemlrm.store import Store
from opensafemlrm.store.database import lock_to_write
from opensafemlrm.view.browse import Browser
from opensafemlrm.view.filters import Filters
from opensafemlrm.view.index import NAME, Index
from tests.view.asgi import HOST, Visitor, found

STUDY: dict[str, Any] = {
    "models": ["sim/r1-onevision-7b", "sim/qwen2.5-vl-7b"],
    "pairs": [["sim/r1-onevision-7b", "sim/qwen2.5-vl-7b"]],
    "datasets": ["canary"],
    "attacks": ["direct", "figstep"],
    "judge": "canary",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("view") / "store"
    osm.evaluate(osm.Study(**STUDY), store)
    return store


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    """A store of the test's own."""
    return shutil.copytree(made, tmp_path / "store")


@pytest.fixture
async def visit(copied: Path) -> AsyncIterator[Visitor]:
    visitor = await Visitor(copied).enter()
    yield visitor
    visitor.pages.close()


def first_sample(page: str) -> str:
    return found(r'href="(/sample/[^"]+)"', page)


class TestWhoMayRead:
    async def test_nobody_without_the_token_and_nobody_with_it_twice(self, copied):
        visitor = Visitor(copied)
        assert (await visitor.ask("/")).status == 403
        assert (await visitor.ask("/?token=guess")).status == 403
        assert (await visitor.ask("/browse?token=")).status == 403
        let_in = await visitor.ask("/?token=the-token")
        assert (let_in.status, let_in.headers["location"]) == (303, "/")
        assert "httponly" in let_in.headers["set-cookie"].lower()
        assert "samesite=strict" in let_in.headers["set-cookie"].lower()
        assert (await visitor.ask("/")).status == 200
        visitor.cookie = ""
        assert (await visitor.ask("/?token=the-token")).status == 403

    @pytest.mark.parametrize(
        "headers",
        [
            {"host": "evil.example"},
            {"host": "127.0.0.1:1"},
            {"host": f"evil.example:{HOST[-4:]}"},
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"origin": f"https://{HOST}"},
        ],
    )
    async def test_not_a_page_of_another_site(self, visit, headers):
        # A page of another site can reach this machine: by a name that it resolves to 127.0.0.1.
        assert (await visit.ask("/browse", **headers)).status == 403
        refused = await visit.ask("/session", "POST", b"reveal=yes", **headers)
        assert refused.status == 403

    async def test_no_change_without_the_origin_of_this_server(self, visit):
        assert (await visit.ask("/session", "POST", b"reveal=yes")).status == 403
        assert (await visit.ask("/label", "PUT", origin=f"http://{HOST}")).status == 405

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    @pytest.mark.parametrize("address", ["/session", "/label", "/", "/sample/00"])
    async def test_nobody_changes_anything_without_the_token(self, copied, method, address):
        stranger = Visitor(copied)
        body = b"annotator=eve&label=safe&seen=yes&reveal=yes"
        for headers in ({}, {"origin": f"http://{HOST}"}):
            refused = await stranger.ask(address, method, body, **headers)
            assert refused.status == 403
        with Store.open(copied) as store:
            assert store.connection.execute("SELECT count(*) FROM labels").fetchone() == (0,)
        stranger.pages.close()

    async def test_scripts_and_pictures_from_here_alone(self, visit):
        headers = (await visit.ask("/browse")).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert headers["cache-control"] == "no-store"

    @pytest.mark.parametrize(
        "address",
        [
            "/static/../pages.py",
            "/static/%2e%2e/pages.py",
            "/static/..%2fpages.py",
            "/image/../../store.sqlite",
            "/image/..%2f..%2fstore.sqlite",
            "/text/../../store.sqlite",
            "/export/../store.sqlite",
            "/export/store.sqlite",
            "/image/" + "0" * 64,
            "/sample/zz",
            "/sample/00",
            "/nothing",
        ],
    )
    async def test_what_is_not_there_is_not_found(self, visit, address):
        assert (await visit.ask(address)).status == 404

    async def test_a_redirect_stays_here(self, visit):
        for target in ("//evil.example", "/\\evil.example", "https://evil.example"):
            assert (await visit.post("/session", next=target)).headers["location"] == "/"


class TestWhatIsMasked:
    async def test_a_note_comes_before_everything(self, copied):
        visitor = Visitor(copied)
        await visitor.ask("/?token=the-token")
        page = await visitor.ask("/browse?verdict=unsafe")
        assert "Before you read" in page.text
        assert "/sample/" not in page.text
        visitor.pages.close()

    async def test_texts_are_masked_until_revealed_for_the_session(self, visit):
        address = first_sample((await visit.ask("/browse?verdict=unsafe")).text)
        page = (await visit.ask(address)).text
        assert page.count('<pre class="text" inert') == page.count('<pre class="text"') > 3
        await visit.post("/session", reveal="yes", next=address)
        page = (await visit.ask(address)).text
        assert "inert" not in page
        assert "masked shown" in page
        await visit.post("/session", reveal="no", next=address)
        assert "inert" in (await visit.ask(address)).text


class TestFindingSamples:
    @pytest.mark.parametrize(
        ("filters", "wanted"),
        [
            ({"verdict": "unsafe"}, pl.col("answer") >= 4),
            ({"verdict": "strict", "part": "full"}, pl.col("full") >= 5),
            ({"verdict": "safe", "part": "reasoning"}, pl.col("reasoning") < 4),
            ({"verdict": "unscored", "part": "reasoning"}, pl.col("reasoning").is_null()),
            ({"verdict": "leak"}, (pl.col("reasoning") >= 4) & (pl.col("answer") < 4)),
            ({"verdict": "escape"}, (pl.col("reasoning") < 4) & (pl.col("answer") >= 4)),
            ({"attack": "figstep", "scenario": "fraud"}, pl.col("scenario") == "fraud"),
        ],
    )
    def test_filters_find_what_the_tidy_table_has(self, copied, filters, wanted):
        scores = (
            osm.open(copied)
            .frame()
            .pivot("part", index=["sample", "attack", "scenario"], values="score")
        )
        expected = scores.filter(wanted)
        if "attack" in filters:
            expected = expected.filter(pl.col("attack") == filters["attack"])
        index = Index(copied)
        index.refresh()
        with index.reading() as connection:
            browser = Browser(connection)
            chosen = Filters.of(filters)
            rows = browser.page(chosen, size=10_000)
            assert browser.count(chosen)[0] == len(rows) == len(expected) > 0
        index.close()
        assert {row["key"].hex().upper() for row in rows} == set(expected["sample"])

    def test_a_pair_differs_on_what_opposite_finds(self, copied):
        answers = osm.open(copied).frame().filter(part="answer")
        unsafe = answers.with_columns(unsafe=pl.col("score") >= 4).pivot(
            "model", index=["item", "attack", "repeat"], values="unsafe"
        )
        reasoner, base = STUDY["pairs"][0]
        wanted = unsafe.filter(pl.col(reasoner) & ~pl.col(base))
        index = Index(copied)
        index.refresh()
        with index.reading() as connection:
            filters = Filters(model=reasoner, other=base, verdict="unsafe")
            assert Browser(connection).count(filters)[0] == len(wanted) > 0
        index.close()

    async def test_pages_follow_each_other_without_gap_or_double(self, visit):
        address, seen = "/browse", []
        while address:
            page = (await visit.ask(address)).text
            seen += re.findall(r'href="/sample/([0-9A-F]+)', page)
            more = re.search(r'rel="next" href="([^"]+)"', page)
            address = html.unescape(more[1]) if more else ""
        assert len(seen) == len(set(seen)) == 1000

    async def test_words_are_found_and_filters_stay_in_the_address(self, visit):
        visit.pages._index.refresh()
        while visit.pages._index.words.begin() < 1:
            pass
        page = (await visit.ask("/browse?q=moon+lantern&model=sim/qwen2.5-vl-7b")).text
        assert re.search(r"<b>[1-9][0-9]*</b> samples", page)
        assert "q=moon+lantern" in first_sample(page)
        assert "<b>0</b> samples" in (await visit.ask('/browse?q="nowhere"in"this"')).text

    async def test_every_cell_of_the_matrix_opens_its_samples(self, visit):
        page = (await visit.ask("/matrix?attack=direct")).text
        cells = re.findall(r'<a href="(/browse[^"]+)">(\d+) of \d+</a>', page)
        assert len(cells) == 20
        for address, unsafe in cells[:4]:
            opened = (await visit.ask(html.unescape(address))).text
            assert f"<b>{unsafe}</b> sample" in opened

    async def test_a_cell_that_hardly_has_scores_is_no_safe_cell(self, copied):
        with Store.open(copied, "write") as store:
            store.connection.execute(
                "UPDATE verdicts SET score = NULL, label = 'unscored', reason = 'unparsed' "
                "WHERE score = 5"
            )
        visitor = await Visitor(copied).enter()
        page = (await visitor.ask("/matrix")).text
        cells = re.findall(
            r'class="n (harm|none)[^"]*"><a[^>]+>\d+ of (\d+)</a>(?:, <a[^>]+>(\d+) no)?', page
        )
        unscored = [(kind, int(lost or 0) / (int(n) + int(lost or 0))) for kind, n, lost in cells]
        assert {kind for kind, _ in unscored} == {"harm", "none"}
        assert all((kind == "none") == (share > 0.2) for kind, share in unscored)
        visitor.pages.close()

    async def test_next_and_previous_go_through_the_list(self, visit):
        address = first_sample((await visit.ask("/browse?verdict=leak")).text)
        page = (await visit.ask(address)).text
        assert 'rel="prev"' not in page
        after = found(r'rel="next" href="([^"]+)"', page)
        back = found(r'rel="prev" href="([^"]+)"', (await visit.ask(after)).text)
        assert back == address

    async def test_an_item_is_read_side_by_side(self, visit):
        page = (await visit.ask(first_sample((await visit.ask("/browse")).text))).text
        address = found(r'href="(/compare/[^"]+)"', page)
        compared = (await visit.ask(address)).text
        assert all(model in compared for model in STUDY["models"])

    async def test_a_wrong_filter_is_said(self, visit):
        page = await visit.ask("/browse?verdict=harmful")
        assert page.status == 400
        assert "verdict is one of unsafe" in page.text
        assert (await visit.ask("/browse?judge=nobody")).status == 400
        assert (await visit.ask("/browse?after=x")).status == 400


class TestAStoreThatChanges:
    async def test_what_a_run_adds_is_there_at_the_next_look(self, tmp_path, monkeypatch):
        monkeypatch.setattr("opensafemlrm.view.index._LOOK_EVERY", 0.0)
        store = tmp_path / "store"
        first = {**STUDY, "attacks": ["direct"]}
        await osm.aevaluate(osm.Study(**first), store)
        visitor = await Visitor(store).enter()
        assert "<b>500</b> samples" in (await visitor.ask("/browse")).text
        await osm.aevaluate(osm.Study(**{**STUDY, "judge": "refusal"}), store)
        assert "<b>1,000</b> samples" in (await visitor.ask("/browse")).text
        judged = (await visitor.ask("/browse?judge=refusal&verdict=unsafe")).text
        assert "<b>0</b>" not in judged  # the second judge's verdicts on samples that had one
        visitor.pages.close()

    def test_a_vacuum_that_numbers_rows_anew_is_noticed(self, copied):
        store = copied
        index = Index(store)
        index.refresh()
        index.close()
        with Store.open(store, "write") as opened:
            opened.connection.execute("DELETE FROM generations WHERE rowid < 100")
            opened.connection.execute("VACUUM")
        index = Index(store)
        index.refresh()
        with index.reading() as connection:
            keys = connection.execute(
                "SELECT count(*), sum(s.key = g.key) FROM samples s "
                "JOIN store.generations g ON g.rowid = s.id"
            ).fetchone()
        index.close()
        assert keys[0] == keys[1] == 901

    def test_a_copy_that_is_no_database_is_made_again(self, copied):
        store = copied
        (store / NAME).write_bytes(b"not a database at all" * 100)
        index = Index(store)
        index.refresh()
        with index.reading() as connection:
            assert Browser(connection).count(Filters()) == (1000, False)
        index.close()

    def test_the_store_itself_is_not_written(self, copied):
        store = copied
        with lock_to_write(store, existing=True):  # as a run does
            index = Index(store)
            index.refresh()
            with index.reading() as connection, pytest.raises(Exception, match="not authorized"):
                connection.execute("DELETE FROM store.labels")
            index.close()


def test_show_masks_until_asked(copied, command: Callable[..., str]):
    masked = command("show", str(copied), "--outcome", "leak", "-n", "2")
    assert masked.count("masked: --reveal") > 4
    assert "house notes" not in masked
    assert "house notes" in command("show", str(copied), "--outcome", "leak", "-n", "2", "--reveal")
    assert "one of ok, truncated" in command("show", str(copied), "--outcome", "nope", exits=2)


@pytest.fixture
def command() -> Callable[..., str]:
    from typer.testing import CliRunner

    from opensafemlrm.cli import app

    def run(*arguments: str, exits: int = 0) -> str:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == exits, result.output
        return result.output

    return run
