"""How far a run is: one line that fits the terminal, the active cells, a plain line elsewhere."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from opensafemlrm import progress
from opensafemlrm.engine import Tally
from opensafemlrm.progress import Overview

LONG = "openai/organisation-of-a-long-name/vision-reasoner-72b-instruct-preview"


def cell(samples: int, model: str = LONG, **counts: Any) -> Any:
    return SimpleNamespace(
        samples=samples, tally=Tally(**counts), label=(model, "canary", "direct", "none")
    )


def overview(*cells: Any, seconds: float = 10.0) -> Overview:
    times = iter([0.0, seconds, *[seconds] * 20])
    return Overview(cells, lambda: next(times))


def test_the_line_has_samples_rate_time_left_and_cost() -> None:
    line = overview(cell(100, judged=40, dollars=0.421, failed=10)).line()
    assert line == "50 of 100 samples · 5/s · 10 s left · 0.42 US dollars · 10 failed"


def test_what_the_store_had_says_nothing_of_the_rate() -> None:
    line = overview(cell(100, stored=50, judged=10)).line()
    assert line == "60 of 100 samples · 1/s · 40 s left"
    assert overview(cell(100, stored=50)).line() == "50 of 100 samples"
    slow = overview(cell(8000, judged=10), seconds=60).line()
    assert "10.0/min · 13 h 19 min left" in slow


def test_no_cost_is_shown_where_no_price_is_known() -> None:
    """0.00 US dollars for a run of which nobody knew the price."""
    assert "dollars" not in overview(cell(100, judged=40, unpriced=40)).line()
    some = overview(cell(100, judged=40, unpriced=1, dollars=2.5)).line()
    assert "at least 2.50 US dollars" in some


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
def test_every_line_fits_the_terminal(width: int) -> None:
    """At 80 columns four rows had the same name, and no count."""
    cells = [cell(250, f"{LONG}-{n}", judged=n + 1, failed=3, dollars=1.0) for n in range(12)]
    console = Console(file=io.StringIO(), width=width, height=24, force_terminal=True)
    console.print(overview(*cells))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    lines = text.rstrip("\n").split("\n")
    assert all(len(line) <= width for line in lines)
    assert "114 of 3,000 samples" in lines[0] or width == 20
    assert len(lines) == 9
    assert "5 more cells" in lines[-1] or width == 20
    if width >= 60:
        assert len({line.split("  ")[1] for line in lines[1:-1]}) == 7, "names tell cells apart"
        assert "4/250 failed 3" in lines[1]


def test_cells_that_are_done_or_not_begun_have_no_line() -> None:
    cells = [cell(10, "done", judged=10), cell(10, "had", stored=4), cell(10, "on", judged=1)]
    (line,) = overview(*cells).cell_lines(80, 8)
    assert line.startswith("  on · canary · direct")


def test_elsewhere_than_in_a_terminal_a_line_is_written_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a cluster nothing was said until the end."""
    monkeypatch.setattr(progress, "PLAIN_INTERVAL", 0.01)
    one = cell(100, judged=40)
    deadline = time.monotonic() + 20
    said = ""
    with progress.progress([one]):
        while "41 of 100 samples" not in said and time.monotonic() < deadline:
            one.tally.judged = 41
            said += capsys.readouterr().err
            threading.Event().wait(0.01)
    assert "41 of 100 samples" in said
    assert "━" not in said
    assert "\x1b" not in said


def test_a_short_run_says_nothing_on_its_way(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress([cell(100, judged=40)]):
        pass
    assert capsys.readouterr().err == ""


def test_hostile_names_are_no_control_sequences(tmp_path: Path) -> None:
    line = overview(cell(10, "a\x1b[2Jb", judged=1)).cell_lines(80, 8)[0]
    assert "\x1b" not in line
