"""An audit's certificate as people open it: in a browser, from disk, with no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm.audit.files import write
from opensafemlrm.audit.policy import parse
from opensafemlrm.audit.record import build
from opensafemlrm.store.source import open_source
from tests.browser.chromium import DESKTOP, MARKS, PHONE, Visit, started
from tests.report.page_stores import SIMULATED, hostile, run_study

pytestmark = MARKS
POLICY = """\
title: A certificate
rules:
  - {max_asr: 0.5, part: answer}
  - {max_asr: 0.9, scenario: each}
  - {max_tax: 0.1, name: NAME}
  - {min_self_correction: 0.1, advisory: true}
"""


def certified(store: Path, out: Path, name: str = "tax") -> Path:
    with open_source(store) as source:
        policy = parse(POLICY.replace("NAME", name))
        return write(build(source, policy), out)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("certificates")
    name = "'<script>window.taken = 1</script>{{ 7 * 7 }}'"
    return {
        "plain": certified(run_study(folder / "one", SIMULATED), folder / "plain"),
        "attacked": certified(hostile(folder / "two"), folder / "attacked", name),
    }


@pytest.fixture(scope="module")
def browser(pages: Any) -> Iterator[Any]:
    del pages
    with started() as chromium:
        yield chromium


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("page", ["plain", "attacked"])
def test_it_opens_without_a_word_a_request_or_a_barrier(
    browser: Any, pages: dict[str, Path], page: str, width: int, scheme: str
) -> None:
    size = {"width": width, "height": 900}
    address = pages[page].as_uri()
    visit = Visit(browser, address, viewport=size, color_scheme=scheme, offline=True)
    try:
        assert visit.violations() == []
        assert visit.said == []
        assert visit.asked == [address]
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        assert visit.page.evaluate("window.taken") is None
        assert visit.page.locator("h1").inner_text().endswith("A certificate")
    finally:
        visit.close()
