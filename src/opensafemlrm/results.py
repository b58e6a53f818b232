"""What an evaluation found: the tidy table, the replies, the figures, the charts, the report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import polars as pl

    from opensafemlrm.report.page.write import Written
    from opensafemlrm.store import Store

Choice: TypeAlias = str | Sequence[str] | None
"""One name, several of them, or ``None`` for all."""


def open(path: Path | str) -> Results:  # noqa: A001 # as opensafemlrm.open
    """Open what a run wrote: a store, or a folder or address of Parquet files.

    Raises StoreError where there is neither.
    """
    from opensafemlrm.store.connecting import require_store
    from opensafemlrm.store.sink import is_sink

    if not is_sink(path):
        require_store(Path(path))
    return Results(path)


class Results:
    """What a store, or a folder or address of Parquet files, holds.

    Every method reads it anew, so that what a run adds meanwhile is seen. StoreError says that it
    cannot be read. Tables are frames of polars; ``to_pandas()`` of one needs the extra:
    ``pip install 'opensafemlrm[pandas]'``.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)

    def __repr__(self) -> str:
        return f"Results({self.path!r})"

    def frame(self) -> pl.DataFrame:
        """Return the tidy table, a row a sample, part and judge: see :mod:`opensafemlrm.frame`."""
        from opensafemlrm import frame as frames
        from opensafemlrm.store.sink import is_sink

        if is_sink(self.path):
            from opensafemlrm.store.sink_queries import SinkResults

            return frames.read(SinkResults(self.path))
        with self._store() as store:
            return frames.read(store)

    def replies(  # noqa: PLR0913 # what to choose by
        self,
        *,
        model: Choice = None,
        dataset: Choice = None,
        attack: Choice = None,
        defense: Choice = None,
        scenario: Choice = None,
        item: Choice = None,
        status: Choice = None,
        unsafe: Choice = None,
    ) -> pl.DataFrame:
        """Return the replies with their verdicts, a row a sample. The texts may be harmful.

        Names are those of the tidy table. ``unsafe`` names parts (``reasoning``, ``answer``,
        ``full``): only samples of which a judge found one of them unsafe. Columns: see
        :mod:`opensafemlrm.replies`.
        """
        from opensafemlrm import frame as frames
        from opensafemlrm.replies import replies

        chosen = {
            "model": model,
            "dataset": dataset,
            "attack": attack,
            "defense": defense,
            "scenario": scenario,
            "item": item,
            "status": status,
        }
        with self._store() as store:
            frame = frames.read(store)
            for column, names in chosen.items():
                if names is not None:
                    frame = frame.filter(frame[column].is_in(_as_list(names)))
            if unsafe is not None:
                of_part = frame["part"].is_in(_as_list(unsafe)) & (frame["label"] == "unsafe")
                frame = frame.filter(frame["sample"].is_in(frame["sample"].filter(of_part)))
            return replies(store, frame)

    def report(self, out: Path | str, *, with_examples: bool = False) -> Written:
        """Write the report to a folder: a page, its figures and its tables.

        ``with_examples`` puts replies on the page, hidden until asked for. Raises ReportError where
        the files cannot be written.
        """
        from opensafemlrm.report.page import write_report

        with self._store() as store:
            return write_report(store, Path(out), with_examples=with_examples)

    @contextlib.contextmanager
    def _store(self) -> Iterator[Store]:
        """Open the store to read it; Parquet files are brought into a temporary one first."""
        from opensafemlrm.store.sink_reader import opened

        with opened(self.path) as store:
            yield store


def _as_list(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
