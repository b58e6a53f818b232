"""MSSBench: one request in a safe and in an unsafe situation, which only the picture tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, text, texts
from opensafemlrm.datasets.release import Release, Row, Table
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import ItemKind


@dataclass(frozen=True, slots=True)
class MSSBench(HubDataset, Release):
    """Read MSSBench (``combined.json``, ``chat/`` and ``embodied/``).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched. ``part``
    is ``chat``, ``embodied`` or both. Each query is asked twice: with the picture of the unsafe
    situation (harmful) and with the one of the safe situation (benign). The two share the field
    ``pair``. The scenario is upstream's ``Type`` or ``category``.

    These are the bare queries: upstream's evaluation writes a prompt of its own before them.
    """

    name = "mssbench"
    hub = "kzhou35/mssbench"
    hub_files = ("combined.json", "chat/**", "embodied/**", "chat.zip", "embodied.zip")

    part: Literal["all", "chat", "embodied"] = "all"

    def tables(self) -> Iterator[Table]:
        """Yield the parts of the file."""
        source = self.locate()
        path = source.find("combined.json", "data/combined.json")
        entries = files.read_json(path, source.where)
        for part in _READERS:
            if self.part in ("all", part):
                yield Table(source, path, _entries(entries, part, path), part=part)

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield both items of each query of a row."""
        yield from _READERS[table.part](row, table.path.parent / table.part)


def _entries(entries: Any, part: str, path: Path) -> Iterator[tuple[str, Row] | DatasetError]:
    """Yield place and entry; places count from 0, as upstream's own results do."""
    listed = entries.get(part) if isinstance(entries, dict) else None
    if not isinstance(listed, list):
        raise DatasetError(f"there is no list {part!r}", path=path)
    for number, entry in enumerate(listed):
        place = f"{part}/{number}"
        if isinstance(entry, dict):
            yield place, {**entry, "place": place}
        else:
            yield DatasetError("the entry is not a JSON object", path=path, row=place)


def _chat(entry: Row, folder: Path) -> Iterator[Draft]:
    pictures = {kind: folder / text(entry, f"{kind}_image_path") for kind in ("safe", "unsafe")}
    scenario = text(entry, "Type")
    for number, query in enumerate(texts(entry, "queries")):
        yield from _pair(f"{entry['place']}/{number}", scenario, (query, query), pictures)


def _embodied(entry: Row, folder: Path) -> Iterator[Draft]:
    pictures = {kind: folder / text(entry, kind) for kind in ("safe", "unsafe")}
    scenario = text(entry, "category")
    asked = [_instructions(entry, kind) for kind in ("safe", "unsafe")]
    if len(asked[0]) != len(asked[1]):
        raise DatasetError("there are not as many safe as unsafe instructions")
    for number, both in enumerate(zip(*asked, strict=True)):
        yield from _pair(f"{entry['place']}/{number}", scenario, both, pictures)


def _instructions(entry: Row, kind: str) -> list[str]:
    several = f"{kind}_instructions"
    return texts(entry, several) if several in entry else [text(entry, f"{kind}_instruction")]


def _pair(
    pair: str, scenario: str, asked: tuple[Any, ...], pictures: Mapping[str, Path]
) -> Iterator[Draft]:
    for kind, question, situation in (
        (ItemKind.BENIGN, asked[0], "safe"),
        (ItemKind.HARMFUL, asked[1], "unsafe"),
    ):
        yield Draft(
            f"{pair}/{situation}",
            scenario,
            question,
            kind,
            images=(pictures[situation],),
            fields={"pair": pair},
        )


_READERS: Final = {"chat": _chat, "embodied": _embodied}
