"""What an evaluation found: the tidy table, the replies, the figures, the charts, the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


class Results:
    """What a store, or a folder or address of Parquet files, holds. Nothing is held in memory."""

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)

    def __repr__(self) -> str:
        return f"Results({self.path!r})"
