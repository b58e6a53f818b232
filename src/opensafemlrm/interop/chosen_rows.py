"""Rows of a store's tables as an export needs them: of the samples and the judges chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from opensafemlrm import frame as frames
from opensafemlrm.interop.inspect_samples import as_record
from opensafemlrm.selection import EVERYTHING, Selection
from opensafemlrm.store.source import Source
from opensafemlrm.store.tables import TABLES
from opensafemlrm.types import Image


class Reader:
    """Rows of a source's tables, as Python's own values: of the samples and judges chosen."""

    def __init__(self, source: Source, selection: Selection = EVERYTHING) -> None:
        self.source = source
        keys = selection.samples(source)
        self.samples = None if keys is None else {bytes.fromhex(key) for key in keys}
        """The keys of the samples chosen; ``None`` for all."""
        judges = selection.found_in(source).rows(frames.judges(source)) if selection else None
        self.components = {row[0]: row for row in self.rows("components")}
        self.judges: dict[bytes, str] = {}
        """The names of scorers: of two judges with one label, the second has its key."""
        for key, kind, label, *_ in self.components.values():
            if kind == "judge" and (judges is None or key in judges["judge_id"]):
                taken = label in self.judges.values()
                self.judges[key] = f"{label}#{key.hex()[:6]}" if taken else label

    def rows(self, table: str, where: str = "") -> list[tuple[Any, ...]]:
        """Return the rows of a table in the order of its columns."""
        schema = TABLES[table].schema()
        condition = f" WHERE {where}" if where else ""
        return self.source.query(f"{TABLES[table].select()}{condition}", schema).rows()

    def among(self, table: str, column: str, keys: Sequence[bytes]) -> list[tuple[Any, ...]]:
        """Return the rows that have one of ``keys`` in ``column``."""
        listed = ", ".join(f"X'{key.hex().upper()}'" for key in dict.fromkeys(keys))
        return self.rows(table, f"{column} IN ({listed})") if listed else []

    def component(self, key: bytes) -> dict[str, Any]:
        """Return a component as JSON has it."""
        record = as_record("components", self.components[key], without=("kind",))
        return {**record, **{name: json.loads(record[name]) for name in ("identity", "facts")}}

    def image(self, record: Mapping[str, Any]) -> Image:
        """Return an image with its bytes. Raises StoreError."""
        data = self.source.image_data(record["sha256"], record["media_type"])
        return Image(**record, source=data)
