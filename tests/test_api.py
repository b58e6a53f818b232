"""The Python face: a study in, results out, in a script, in a running event loop, in a notebook."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from opensafemlrm import api
from opensafemlrm.cluster import Cluster
from opensafemlrm.errors import BudgetSpentError, OptionError
from opensafemlrm.models.budget import Limits
from opensafemlrm.store import Store
from tests.support import Scripted, items, study


def stored(path: Path | str) -> int:
    with contextlib.closing(Store.open(path)) as store:
        return int(store.connection.execute("SELECT count(*) FROM generations").fetchone()[0])


def test_an_evaluation_fills_a_store_and_a_second_one_asks_nothing(tmp_path: Path) -> None:
    model = Scripted()
    results = api.evaluate(study(model, items(5)), tmp_path / "store")
    assert (results.path, stored(results.path)) == (str(tmp_path / "store"), 5)
    asked = len(model.asked)
    api.evaluate(study(model, items(5)), tmp_path / "store")
    assert len(model.asked) == asked


async def test_it_works_inside_a_running_event_loop(tmp_path: Path) -> None:
    api.evaluate(study(rows=items(3)), tmp_path / "blocking")
    await api.aevaluate(study(rows=items(3)), tmp_path / "awaited")
    assert stored(tmp_path / "blocking") == stored(tmp_path / "awaited") == 3


def test_ctrl_c_in_a_notebook_keeps_what_came(tmp_path: Path) -> None:
    model = Scripted(delay=0.02, concurrency=2)
    heard = threading.Event()
    # A shell that starts the tests in the background has them ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt() -> None:
        while len(model.asked) < 20:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        while not heard.wait(2):  # Python drops one that comes within a destructor
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    async def cell() -> None:
        with pytest.raises(KeyboardInterrupt):
            api.evaluate(study(model, items(500)), tmp_path / "store")
        heard.set()

    threading.Thread(target=interrupt).start()
    try:
        with contextlib.closing(asyncio.new_event_loop()) as kernel:  # unlike asyncio.run, it
            kernel.run_until_complete(cell())  # leaves the signal to Python
    finally:
        signal.signal(signal.SIGINT, before)
    assert 0 < stored(tmp_path / "store") < 500


def test_limits_end_a_run_and_the_next_call_goes_on(tmp_path: Path) -> None:
    asked = study(rows=items(9))
    with pytest.raises(BudgetSpentError):
        api.evaluate(asked, tmp_path / "store", limits=Limits(requests=4))
    assert 0 < stored(tmp_path / "store") < 9
    api.evaluate(asked, tmp_path / "store")
    assert stored(tmp_path / "store") == 9


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "say where results go"),
        ({"cluster": Cluster(), "limits": Limits(requests=1)}, "one process"),
    ],
)
def test_what_cannot_go_together_is_said(options: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        api.evaluate(study(rows=items(1)), **options)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a notebook is asked to show: IPython as a kernel has it."""
    shown: list[str] = []

    def display(html: str, display_id: bool) -> SimpleNamespace:
        assert display_id
        shown.append(html)
        return SimpleNamespace(update=shown.append)

    ipython, module = ModuleType("IPython"), ModuleType("IPython.display")
    monkeypatch.setattr(ipython, "get_ipython", lambda: SimpleNamespace(kernel=1), raising=False)
    monkeypatch.setattr(module, "HTML", str, raising=False)
    monkeypatch.setattr(module, "display", display, raising=False)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return shown


async def test_a_notebook_shows_a_bar_a_cell(tmp_path: Path, notebook: list[str]) -> None:
    await api.aevaluate(study(rows=items(5)), tmp_path / "store")
    assert "0/5" in notebook[0]
    assert "5/5" in notebook[-1]
    assert "scripted/one" in notebook[-1]


def test_a_log_file_gets_no_bars(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asyncio.run(api.aevaluate(study(rows=items(2)), tmp_path / "store"))
    assert capfd.readouterr() == ("", "")
