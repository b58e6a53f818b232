"""Reading what a store holds, of what is chosen: when it is first needed, and once."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.errors import OptionError, UnknownNameError
from opensafemlrm.selection import EVERYTHING, Selection

if TYPE_CHECKING:
    import polars as pl

    from opensafemlrm.store.source import Source

T = TypeVar("T")
Cluster: TypeAlias = Literal["item", "scenario"]
"""What the replies are a sample of: items in these scenarios, or scenarios."""


class Reading:
    """A store, or a folder or address of Parquet files, and what of it is chosen."""

    def __init__(
        self,
        path: Path | str,
        *,
        max_unscored: float = MAX_UNSCORED,
        cluster: Cluster = "item",
        everything: bool = False,
        selection: Selection = EVERYTHING,
    ) -> None:
        share: object = max_unscored
        if not (isinstance(share, int | float) and 0 <= share <= 1):
            raise OptionError(f"max_unscored is a share from 0 to 1, not {max_unscored!r}")
        if cluster not in get_args(Cluster):
            raise UnknownNameError("cluster", cluster, get_args(Cluster))
        self.path, self.everything = str(path), everything
        self.max_unscored = max_unscored
        self._options: dict[str, Any] = {"max_unscored": max_unscored, "cluster": cluster}
        self._chosen_by = selection
        self._frames: dict[tuple[bool, frozenset[str]], pl.DataFrame] = {}

    def _read(self, columns: Collection[str], *, undefended: bool = False) -> pl.DataFrame:
        """Return columns of the tidy table, which are kept for the next who needs the same.

        With ``undefended``, chosen defenses come with the replies without one.
        """
        from opensafemlrm import frame as frames

        names = frozenset(columns)
        undefended = undefended and bool(self._chosen_by.defense)
        whole = self._frames.get((undefended, frozenset(frames.SCHEMA)))
        if whole is None and (undefended, names) not in self._frames:
            needed = names | set(self._chosen_by.columns)
            wanted = [name for name in frames.SCHEMA if name in needed]
            read = self._ask(lambda source: frames.read(source, wanted))
            ordered = [name for name in frames.SCHEMA if name in names]
            chosen = self.selection.also("defense", "none") if undefended else self.selection
            self._frames[undefended, names] = chosen.rows(read).select(ordered)
        return self._frames[undefended, names] if whole is None else whole

    @cached_property
    def selection(self) -> Selection:
        """What is chosen, by the labels of tables. Raises UnknownNameError, StoreError."""
        return self._ask(self._chosen_by.found_in) if self._chosen_by else EVERYTHING

    def _ask(self, read: Callable[[Source], T]) -> T:
        from opensafemlrm.store.source import open_source

        with open_source(self.path, everything=self.everything) as source:
            return read(source)
