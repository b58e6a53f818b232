"""The report as people open it: in a browser, from disk, with no network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm.results import Results
from tests.browser.chromium import DESKTOP, MARKS, PHONE, Visit, started
from tests.report.page_stores import SIMULATED, hostile, run_study

pytestmark = MARKS


@contextmanager
def visit_to(browser: Any, path: Path, width: int, scheme: str) -> Iterator[Visit]:
    """Open a page from disk, with no network."""
    size = {"width": width, "height": 900}
    visit = Visit(browser, path.as_uri(), viewport=size, color_scheme=scheme, offline=True)
    yield visit
    visit.close()


def written(store: Path, out: Path) -> Path:
    return Results(store).report(out, with_examples=True).page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    return written(run_study(folder / "store", SIMULATED), folder / "out")


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attacked")
    return written(hostile(folder / "store"), folder / "out")


@pytest.fixture(scope="module")
def browser(report: Path, attacked: Path) -> Iterator[Any]:
    del report, attacked
    with started() as chromium:
        yield chromium


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_it_opens_without_a_word_a_request_or_a_barrier(
    browser: Any, report: Path, width: int, scheme: str
) -> None:
    with visit_to(browser, report, width, scheme) as visit:
        assert visit.violations() == []
        assert visit.said == []
        assert [url for url in visit.asked if not url.startswith("data:")] == [report.as_uri()]
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_open_tables_scroll_by_themselves(browser: Any, report: Path, width: int) -> None:
    """The mistake: the first table that was opened on a phone pushed the answers off the page."""
    with visit_to(browser, report, width, "light") as visit:
        opened = "document.querySelectorAll('details').forEach(one => one.open = true)"
        visit.page.evaluate(opened)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        assert visit.violations() == []


def test_nothing_that_others_wrote_runs(browser: Any, attacked: Path) -> None:
    with visit_to(browser, attacked, DESKTOP, "light") as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert visit.page.evaluate("window.taken") is None
        assert visit.page.locator("script").count() == 0
        assert visit.page.locator("main img").count() == 0
        assert visit.said == []
        assert [url for url in visit.asked if not url.startswith("data:")] == [attacked.as_uri()]
        assert '<img src="x" onerror=' in visit.page.locator("#examples pre").nth(1).inner_text()
        assert visit.violations() == []


def test_the_charts_follow_the_reader_s_theme(browser: Any, report: Path) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        with visit_to(browser, report, DESKTOP, scheme) as visit:
            seen[scheme] = visit.page.evaluate(
                "[getComputedStyle(document.querySelector('.wide svg text')).fill,"
                " getComputedStyle(document.documentElement).backgroundColor]"
            )
    assert all(a != b for a, b in zip(seen["light"], seen["dark"], strict=True))


@pytest.mark.parametrize(("width", "shown"), [(PHONE, "narrow"), (DESKTOP, "wide")])
def test_each_width_has_its_own_charts_and_no_cut_text(
    browser: Any, report: Path, width: int, shown: str
) -> None:
    with visit_to(browser, report, width, "light") as visit:
        for kind in ("narrow", "wide"):
            assert visit.page.locator(f"figure .{kind}").first.is_visible() == (kind == shown)
        beyond = visit.page.evaluate(
            "[...document.querySelectorAll('svg text')].map(one => one.getBoundingClientRect())"
            ".filter(box => box.width && (box.left < 0 || box.right > innerWidth)).length"
        )
        assert beyond == 0
        size = visit.page.evaluate(
            f"Math.min(...[...document.querySelectorAll('.{shown} svg')]"
            ".map(one => one.getBoundingClientRect().width / one.viewBox.baseVal.width))"
        )
        assert size > 0.9  # no chart is shrunk until its text cannot be read


def test_a_reply_is_blurred_until_the_keyboard_asks_for_it(browser: Any, report: Path) -> None:
    with visit_to(browser, report, DESKTOP, "light") as visit:
        example = visit.page.locator(".example").first
        masked = example.locator(".masked")
        assert not masked.is_visible()
        example.locator("summary").focus()
        visit.page.keyboard.press("Enter")
        assert masked.is_visible()
        assert "blur" in masked.evaluate("one => getComputedStyle(one).filter")
        visit.page.keyboard.press("Tab")
        visit.page.keyboard.press("Space")
        assert masked.evaluate("one => getComputedStyle(one).filter") == "none"


def test_on_paper_it_is_light_and_whole(browser: Any, report: Path) -> None:
    with visit_to(browser, report, DESKTOP, "dark") as visit:
        visit.page.emulate_media(media="print")
        background = visit.page.evaluate(
            "getComputedStyle(document.documentElement).backgroundColor"
        )
        assert background == "rgb(255, 255, 255)"
        assert not visit.page.locator(".example").first.is_visible()
        assert not visit.page.locator("nav").is_visible()
        assert visit.page.locator("figure .wide").first.is_visible()
        assert not visit.page.locator("figure .narrow").first.is_visible()
