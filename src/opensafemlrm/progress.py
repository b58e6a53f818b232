"""Progress bars of a run: in a terminal, in a notebook, and nowhere else."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from opensafemlrm.text import for_terminal

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import TaskID

    from opensafemlrm.engine import CellPlan, Tally

_NOTEBOOK_WIDTH: Final = 110
_NOTEBOOK_INTERVAL: Final = 0.5
"""Seconds between two drawings in a notebook."""


@contextlib.contextmanager
def progress_bars(cells: Sequence[CellPlan]) -> Iterator[None]:
    """Show a bar for each cell while the block runs, where a person is watching."""
    console = Console(stderr=True)
    if _in_notebook():
        with _drawn_in_notebook(_bars(cells, Console(file=io.StringIO()))):
            yield
    elif console.is_terminal:
        with _bars(cells, console):
            yield
    else:
        yield


class _Bars(Progress):
    """Bars that look at the tallies whenever they are drawn, so that the engine need not."""

    def get_renderables(self) -> Iterable[RenderableType]:
        for task in self.tasks:
            self._update(task.id, task.fields["cell"].tally)
        yield from super().get_renderables()

    def _update(self, task: TaskID, tally: Tally) -> None:
        speed = self.tasks[task].speed
        outcomes = (
            f"{f'{speed:,.0f}/s' if speed else '':>8} ok {tally.ok:,} "
            f"truncated {tally.truncated:,} blocked {tally.blocked:,} failed {tally.failed:,}"
        )
        self.update(task, completed=tally.ended, outcomes=outcomes)


def _bars(cells: Sequence[CellPlan], console: Console) -> _Bars:
    bars = _Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[outcomes]}"),
        console=console,
        refresh_per_second=4,
    )
    for cell in cells:
        name = for_terminal(" · ".join(part for part in cell.label if part != "none"))
        bars.add_task(name, total=cell.samples, cell=cell, outcomes="")
    return bars


def _in_notebook() -> bool:
    """Return whether output goes to a notebook: only its shell has a kernel."""
    ipython = sys.modules.get("IPython")
    shell: Any = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


@contextlib.contextmanager
def _drawn_in_notebook(bars: _Bars) -> Iterator[None]:
    """Draw bars as HTML, in a thread of its own: rich's way needs the package ipywidgets."""
    from IPython.display import HTML, display  # noqa: PLC0415 # there only in a notebook

    handle = display(HTML(_as_html(bars)), display_id=True)
    ended = threading.Event()

    def draw() -> None:
        while not ended.wait(_NOTEBOOK_INTERVAL):
            handle.update(HTML(_as_html(bars)))

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        handle.update(HTML(_as_html(bars)))


def _as_html(bars: _Bars) -> str:
    console = Console(file=io.StringIO(), record=True, width=_NOTEBOOK_WIDTH, force_jupyter=False)
    console.print(bars.get_renderable())
    return console.export_html(
        inline_styles=True, code_format='<pre style="white-space:pre">{code}</pre>'
    )
