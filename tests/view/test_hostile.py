"""Replies that attack the page that shows them: every one shows as text, and does nothing."""

from __future__ import annotations

import asyncio
import html
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest

from opensafemlrm.engine import Plan, evaluate
from opensafemlrm.store import Store
from opensafemlrm.text import for_terminal
from opensafemlrm.types import Prompt, Response
from tests.report.page_stores import hostile
from tests.support import Scorer, Scripted, items, ok, study
from tests.view.asgi import Visitor, found
from tests.view.attacks import ATTACKS


class Elements(HTMLParser):
    """The elements of a page, as a browser would make them, and their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def harmless(page: str) -> None:
    """Hold a page to what this project wrote of it: texts have made no element and no address."""
    elements = Elements(page).found
    scripts = [attributes for tag, attributes in elements if tag == "script"]
    assert scripts == [{"src": "/static/view.js", "defer": None}]
    for tag, attributes in elements:
        assert tag not in ("iframe", "object", "embed", "base", "style", "math", "template"), tag
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("href", "src", "action", "formaction", "xlink:href"):
            address = attributes.get(name) or "/"
            assert address.startswith(("/", "#")), address
            assert not address.startswith("//")
    assert len([tag for tag, _ in elements if tag == "link"]) <= 3
    assert not set(page) & set("\u202e\u2066\u2069\u200b\u200f\x1b\x00\x08\ufeff")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which a model answers each question with another attack, and reasons with it."""
    path = tmp_path_factory.mktemp("hostile") / "store"

    def reply(prompt: Prompt, _: int | None) -> Response:
        number = int(found(r"question (\d+)", prompt.turns[-1].text))
        attack = ATTACKS[number % len(ATTACKS)]
        return ok(f"<think>thought {attack}</think>answer {attack}", detail=attack, model=attack)

    rows = items(len(ATTACKS), 1)
    one = study(Scripted(reply=reply), rows, judge=Scorer())
    with Store.open(path, "create") as opened:
        asyncio.run(evaluate(Plan.of(one), opened))
    return path


async def test_replies_show_as_text(store: Path):
    visitor = await Visitor(store).enter()
    await visitor.post("/session", reveal="yes")
    listed = (await visitor.ask("/browse")).text
    harmless(listed)
    samples = re.findall(r'href="(/sample/[^"]+)"', listed)
    assert len(samples) == len(ATTACKS)
    shown = ""
    for address in samples:
        page = (await visitor.ask(html.unescape(address))).text
        harmless(page)
        shown += html.unescape(page)
    for attack in ATTACKS:
        assert for_terminal(attack) in shown
    for address in ("/", "/matrix", "/label?annotator=a", "/label?annotator=a&scale=msts"):
        harmless((await visitor.ask(address)).text)
    sample = (await visitor.ask(html.unescape(samples[0]))).text
    harmless((await visitor.ask(found(r'href="(/compare/[^"]+)"', sample))).text)
    visitor.pages.close()


@pytest.fixture
def named(tmp_path: Path) -> Path:
    return hostile(tmp_path / "store")


async def test_names_of_models_items_and_attacks_show_as_text(named: Path):
    visitor = await Visitor(named).enter()
    await visitor.post("/session", reveal="yes")
    listed = (await visitor.ask("/browse")).text
    pages = [listed] + [(await visitor.ask(a)).text for a in ("/", "/matrix", "/label?annotator=a")]
    samples = re.findall(r'href="(/sample/[^"]+)"', listed)[:10]
    pages += [(await visitor.ask(html.unescape(address))).text for address in samples]
    for page in pages:
        harmless(page)
    visitor.pages.close()


@pytest.mark.parametrize("attack", ATTACKS)
async def test_what_a_visitor_types_shows_as_text(store: Path, attack: str):
    typed = quote(attack[:2000])
    visitor = await Visitor(store).enter()
    for address in (
        *(
            f"/browse?{name}={typed}"
            for name in ("q", "model", "item", "verdict", "judge", "score")
        ),
        *(f"/label?annotator={typed}", f"/label?annotator=a&scale={typed}", f"/sample/{typed}"),
        f"/browse?after={typed}",
    ):
        page = await visitor.ask(address)
        assert page.status in (200, 400, 404), address
        harmless(page.text)
    visitor.pages.close()


LONG = "<script>window.taken = 1</script>" + "é" * 5_000_000


@pytest.fixture
def long(tmp_path: Path) -> Path:
    one = study(Scripted(reply=lambda *_: ok(LONG)), items(1), judge=Scorer())
    with Store.open(tmp_path / "store", "create") as opened:
        asyncio.run(evaluate(Plan.of(one), opened))
    return tmp_path / "store"


async def test_five_megabytes_are_cut_on_the_page_and_whole_beside_it(long: Path):
    visitor = await Visitor(long).enter()
    listed = (await visitor.ask("/browse")).text
    page = (await visitor.ask(found(r'href="(/sample/[^"]+)"', listed))).text
    harmless(page)
    assert len(page) < 200_000
    assert f"{len(LONG):,} characters" in page
    whole = await visitor.ask(found(r'href="(/text/[^"]+)"', page))
    assert whole.headers["content-type"].startswith("text/plain")
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.text == LONG
    label = (await visitor.ask("/label?annotator=ann")).text
    assert "a label needs" in label
    assert len(label) < 200_000
    visitor.pages.close()
