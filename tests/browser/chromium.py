"""Debian's Chromium, and a page in it that writes down all that it says and asks for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
PHONE, DESKTOP = 390, 1440
MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium on this machine's PATH"),
]


@contextmanager
def started() -> Iterator[Any]:
    """Start a browser, after the stores of the tests are made: its event loop is in their way."""
    from playwright.sync_api import sync_playwright

    # A browser's sandbox needs rights that containers often do not give to root.
    flags = ["--disable-gpu", "--disable-background-networking"]
    flags += ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


class Visit:
    """A page, and everything that it did on the way."""

    def __init__(self, browser: Any, address: str, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)

    def close(self) -> None:
        self.context.close()

    def violations(self) -> list[tuple[str, str]]:
        """What axe-core finds wrong, by its name and how bad it is."""
        self.page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
        found = self.page.evaluate("axe.run({resultTypes: ['violations']})")
        assert len(found["passes"]) > 10  # it has looked
        return [(one["id"], one["impact"]) for one in found["violations"]]
