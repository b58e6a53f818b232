"""How far a run is: a line for all of it, in a terminal the active cells, in a file now and then.

What is shown is read from the tallies whenever it is drawn, so that the engine need not speak.
"""

from __future__ import annotations

import contextlib
import io
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from opensafemlrm.text import counted, for_terminal

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderableType

    from opensafemlrm.engine import CellPlan

_NOTEBOOK_WIDTH: Final = 110
_NOTEBOOK_INTERVAL: Final = 0.5
"""Seconds between two drawings in a notebook."""
PLAIN_INTERVAL: Final = 30.0
"""Seconds between two lines where nobody watches, such as in the log of a cluster's job."""
_MAX_CELLS: Final = 8
_WINDOW: Final = 30.0
"""Seconds over which the rate is taken."""
_BAR: Final = 24
_MIN_NAME: Final = 12


@contextlib.contextmanager
def progress(cells: Sequence[CellPlan]) -> Iterator[None]:
    """Say how far a run of ``cells`` is while the block runs."""
    console = Console(stderr=True)
    overview = Overview(cells)
    if _in_notebook():
        with _drawn_in_notebook(Overview(cells, idle=True)):
            yield
    elif console.is_terminal:
        with Live(overview, console=console, refresh_per_second=4):
            yield
    else:
        with _repeated(lambda: _write(overview.line()), PLAIN_INTERVAL):
            yield


class Overview:
    """A line for the whole run, and under it the cells that are under way; with ``idle`` the others
    too.
    """

    def __init__(
        self,
        cells: Sequence[CellPlan],
        clock: Callable[[], float] = time.monotonic,
        *,
        idle: bool = False,
    ) -> None:
        self._cells, self._clock, self._idle = cells, clock, idle
        self._samples = sum(cell.samples for cell in cells)
        self._seen: deque[tuple[float, int]] = deque([(clock(), 0)])

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Draw it in as many columns as there are."""
        width = options.max_width
        room = min(_MAX_CELLS, max(console.size.height - 2, 0))
        lines = [self.line(width), *self.cell_lines(width, room)]
        yield Group(*(Text(line, no_wrap=True, overflow="crop") for line in lines))

    def line(self, width: int | None = None) -> str:
        """Return how far it all is; what does not fit into ``width`` columns is left out, from the
        end.
        """
        ended = sum(cell.tally.ended for cell in self._cells)
        parts = [f"{ended:,} of {counted(self._samples, 'sample')}", *self._pace(ended)]
        dollars = sum(cell.tally.dollars for cell in self._cells)
        if dollars:
            least = "at least " if any(cell.tally.unpriced for cell in self._cells) else ""
            parts.append(f"{least}{dollars:,.2f} US dollars")
        if failed := sum(cell.tally.failed for cell in self._cells):
            parts.append(f"{failed:,} failed")
        line = " · ".join(parts)
        if width is None:
            return line
        while len(line) > width and len(parts) > 1:
            parts.pop()
            line = " · ".join(parts)
        bar = min(_BAR, width - len(line) - 1)
        if bar < 4:
            return line[:width]
        full = round(bar * ended / self._samples) if self._samples else bar
        return f"{'━' * full}{'─' * (bar - full)} {line}"

    def cell_lines(self, width: int, room: int) -> list[str]:
        """Return a line for each cell that is under way, ``room`` of them at most."""
        active = [
            cell
            for cell in self._cells
            if self._idle or cell.tally.stored < cell.tally.ended < cell.samples
        ]
        lines = []
        for cell in active[:room]:
            tally = cell.tally
            others = {name: getattr(tally, name) for name in ("truncated", "blocked", "failed")}
            counts = [f"{tally.ended:,}/{cell.samples:,}"]
            counts += [f"{name} {count:,}" for name, count in others.items() if count]
            numbers = " ".join(counts)
            name = for_terminal(" · ".join(part for part in cell.label if part != "none"))
            fitted = _fit(name, max(width - len(numbers) - 4, _MIN_NAME))
            lines.append(f"  {fitted}  {numbers}"[:width])
        if len(active) > len(lines) > 0:
            lines[-1] = f"  {counted(len(active) - len(lines) + 1, 'more cell')}"[:width]
        return lines

    def _pace(self, ended: int) -> list[str]:
        """Return samples a second, and how long the rest takes at that rate."""
        now = self._clock()
        self._seen.append((now, ended))
        while len(self._seen) > 2 and self._seen[1][0] <= now - _WINDOW:
            self._seen.popleft()
        since, before = self._seen[0]
        # What the store had is counted at once: it says nothing of how fast the rest will go.
        stored = sum(cell.tally.stored for cell in self._cells)
        made = ended - max(before, stored)
        if made <= 0 or now <= since:
            return []
        rate = made / (now - since)
        speed = f"{rate:,.0f}/s" if rate >= 1 else f"{60 * rate:,.1f}/min"
        left = self._samples - ended
        return [speed, f"{_duration(left / rate)} left"] if left else [speed]


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _fit(text: str, width: int) -> str:
    """Return ``text`` with its middle left out where it is longer than ``width``: the end of a
    name tells as much as its beginning.
    """
    if len(text) <= width:
        return text
    head = width // 2
    return f"{text[:head]}…{text[len(text) - (width - head - 1) :]}"


def _write(line: str) -> None:
    sys.stderr.write(f"{for_terminal(line)}\n")
    sys.stderr.flush()


@contextlib.contextmanager
def _repeated(action: Callable[[], object], interval: float) -> Iterator[None]:
    """Do it every ``interval`` seconds, in a thread of its own, while the block runs."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(interval):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _in_notebook() -> bool:
    """Return whether output goes to a notebook: only its shell has a kernel."""
    ipython = sys.modules.get("IPython")
    shell: Any = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


@contextlib.contextmanager
def _drawn_in_notebook(overview: Overview) -> Iterator[None]:
    """Draw it as HTML: rich's way needs the package ipywidgets."""
    from IPython.display import HTML, display  # noqa: PLC0415 # there only in a notebook

    handle = display(HTML(_as_html(overview)), display_id=True)

    def draw() -> None:
        handle.update(HTML(_as_html(overview)))

    with contextlib.ExitStack() as stack:
        stack.callback(draw)
        stack.enter_context(_repeated(draw, _NOTEBOOK_INTERVAL))
        yield


def _as_html(overview: Overview) -> str:
    console = Console(file=io.StringIO(), record=True, width=_NOTEBOOK_WIDTH, force_jupyter=False)
    console.print(overview)
    return console.export_html(
        inline_styles=True, code_format='<pre style="white-space:pre">{code}</pre>'
    )
