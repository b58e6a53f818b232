"""The viewer as people use it: keys, masks, labels and a store that grows, in a browser."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm.store import Store
from tests.browser.chromium import DESKTOP, MARKS, PHONE, Visit, started
from tests.report.page_stores import SIMULATED, run_study
from tests.view.attacks import ATTACKS

pytestmark = MARKS


class Viewer(Visit):
    """``safemlrm view`` on a store, and a browser at its address."""

    def __init__(self, browser: Any, store: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "opensafemlrm", "view", str(store), "--no-open"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        address = self.process.stdout.readline().strip()
        self.base = address.partition("/?")[0]
        super().__init__(browser, address, viewport={"width": DESKTOP, "height": 900})
        self.page.click("text=Go on")

    def go(self, path: str) -> None:
        self.page.goto(self.base + path)

    def close(self) -> None:
        super().close()
        self.process.terminate()
        self.process.communicate(timeout=10)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_study(tmp_path_factory.mktemp("view") / "store", SIMULATED)


@pytest.fixture(scope="module")
def browser(made: Path) -> Iterator[Any]:
    del made
    with started() as chromium:
        yield chromium


@pytest.fixture
def viewer(browser: Any, made: Path, tmp_path: Path) -> Iterator[Viewer]:
    opened = Viewer(browser, shutil.copytree(made, tmp_path / "store"))
    yield opened
    opened.close()


def test_a_reply_is_found_searched_for_and_read_by_keys(viewer: Viewer):
    page = viewer.page
    viewer.go("/browse?verdict=leak")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/sample/**")
    assert page.locator(".masked.shown").count() == 0
    blurred = page.locator(".masked pre").first.evaluate("e => getComputedStyle(e).filter")
    assert blurred.startswith("blur")
    page.keyboard.press("r")
    assert page.locator(".masked:not(.shown)").count() == 0
    first = page.url
    page.keyboard.press("ArrowRight")
    page.wait_for_url(lambda url: url != first)
    assert page.locator(".masked.shown").count() == 0  # one sample's reveal is not the next's
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(first)
    page.keyboard.press("?")
    assert page.locator("dialog[open]").count() == 1
    assert viewer.said == []
    assert all(url.startswith(viewer.base) for url in viewer.asked)


def test_a_reply_is_found_by_filters_and_words_and_compared(viewer: Viewer):
    page = viewer.page
    page.click("nav >> text=Browse")
    page.select_option("select[name=scenario]", "fraud")
    page.select_option("select[name=verdict]", "unsafe")
    page.click("button:has-text('Show')")
    page.wait_for_url("**scenario=fraud**")
    assert set(page.locator("table.list tbody td:nth-child(2)").all_inner_texts()) == {"fraud"}
    page.click(".chips >> text=scenario")
    page.wait_for_url(lambda url: "scenario" not in url)
    page.keyboard.press("/")
    page.keyboard.type("house notes")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=house+notes**")
    while page.locator("text=Look again").count():
        page.click("text=Look again")
    assert page.locator("table.list tbody a").count() > 0
    page.locator("table.list tbody a").first.click()
    page.click("text=Compare models")
    assert page.locator(".side-by-side section").count() == 2
    assert page.locator(".masked.shown").count() == 0
    viewer.go("/nothing")
    assert page.inner_text("h1") == "Not found"
    assert viewer.said == [said for said in viewer.said if "404" in said]


def test_a_pair_s_flips_are_one_click_from_the_tax(viewer: Viewer):
    page = viewer.page
    row = page.locator("table.pairs tbody tr").first
    count = row.locator("td a").first.inner_text()
    row.locator("td a").first.click()
    assert page.inner_text(".counts b") == count


def test_a_class_is_chosen_by_arrows_and_a_note_is_no_label(viewer: Viewer, tmp_path: Path):
    page = viewer.page
    page.click("text=Reveal texts")
    viewer.go("/label?annotator=ann&scale=msts")
    page.fill("input[name=note]", "odd")
    page.keyboard.press("Enter")
    assert "0 of 200 labelled" in page.inner_text(".counts")
    for _ in range(10):  # from the first class to the last of the unsafe ones
        page.keyboard.press("ArrowDown")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.keyboard.press("b")
    page.wait_for_url("**break=yes**")
    assert page.locator("pre").count() == 0
    with Store.open(tmp_path / "store") as store:
        labels = store.connection.execute("SELECT response_class, unsafe, note FROM labels")
        assert labels.fetchall() == [("2.z", 1, "odd")]


def test_a_hundred_labels_take_at_most_105_keys(viewer: Viewer, tmp_path: Path):
    page = viewer.page
    page.click("text=Reveal texts")
    viewer.go("/label?annotator=ann")
    presses = 0

    def press(key: str) -> None:
        nonlocal presses
        presses += 1
        with page.expect_navigation():
            page.keyboard.press(key)

    for number in range(50):
        press("12"[number % 2])
    press("u")  # the last one was wrong
    press("1")
    viewer.go("/label?annotator=ann")  # another day
    assert "50 of 200 labelled" in page.inner_text(".counts")
    for number in range(50):
        press("12"[number % 2])
    assert presses <= 105
    with Store.open(tmp_path / "store") as store:
        labels = store.connection.execute("SELECT count(*), sum(unsafe) FROM labels").fetchone()
    assert labels == (100, 49)


def test_an_unseen_text_takes_no_label(viewer: Viewer):
    page = viewer.page
    viewer.go("/label?annotator=ann")
    page.keyboard.press("1")
    assert "0 of 200 labelled" in page.inner_text(".counts")
    page.keyboard.press("r")
    with page.expect_navigation():
        page.keyboard.press("1")
    assert "1 of 200 labelled" in page.inner_text(".counts")


def test_the_overview_counts_along_with_a_run(viewer: Viewer, tmp_path: Path):
    from playwright.sync_api import expect

    page = viewer.page
    counted = page.locator(".counts [data-count=n]")
    assert counted.inner_text() == "200"
    study = tmp_path / "more.yaml"
    study.write_text(SIMULATED.replace("[direct]", "[direct, figstep]"))
    command = [sys.executable, "-m", "opensafemlrm", "run", str(study), "--store"]
    subprocess.run([*command, str(tmp_path / "store")], check=True, capture_output=True)
    expect(counted).to_have_text("400", timeout=20_000)  # by no script: the page's policy has none
    assert page.locator(".stale").is_visible()
    page.click("text=Work them out again")
    assert counted.inner_text() == "400"


def test_replies_that_attack_do_nothing(browser: Any, made: Path, tmp_path: Path):
    store = shutil.copytree(made, tmp_path / "hostile")
    with Store.open(store, "write") as opened:
        for number, attack in enumerate(ATTACKS):
            opened.connection.execute(
                "UPDATE generations SET text = ?, response_model = ? WHERE rowid = ?",
                (f"<think>{attack}</think>{attack}", attack, number + 1),
            )
    viewer = Viewer(browser, store)
    page = viewer.page
    page.click("text=Reveal texts")
    viewer.go("/browse")
    addresses = [
        link.get_attribute("href")
        for link in page.locator("table.list tbody a").all()[: len(ATTACKS)]
    ]
    for address in [*addresses, "/label?annotator=ann"]:
        viewer.go(address)
        assert page.evaluate("window.taken") is None
        assert page.locator("main iframe, main script, main form[action^='//']").count() == 0
        assert page.is_visible("h1")
    assert all(url.startswith(viewer.base) for url in viewer.asked)
    assert viewer.said == []
    viewer.close()


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_and_is_accessible(viewer: Viewer, width: int, scheme: str):
    page = viewer.page
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    viewer.go("/browse?verdict=unsafe")
    sample = page.locator("table.list tbody a").first.get_attribute("href")
    viewer.go(sample)
    compare = page.locator("text=Compare models").get_attribute("href")
    pages = ["/", "/browse", "/browse?verdict=unsafe", sample, compare, "/matrix", "/label"]
    label = "/label?annotator=ann"
    for path in [*pages, label, f"{label}&scale=msts", f"{label}&break=yes", "/nothing"]:
        viewer.go(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert viewer.violations() == [], path


def test_a_bad_token_opens_nothing(browser: Any, viewer: Viewer):
    stranger = browser.new_context().new_page()
    reply = stranger.goto(f"{viewer.base}/browse?token=guess")
    assert reply.status == 403
    assert "safemlrm view" in stranger.inner_text("body")
