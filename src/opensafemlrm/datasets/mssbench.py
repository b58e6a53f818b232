"""MSSBench: one request in a safe and in an unsafe situation, which only the picture tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, Maker, text, texts
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Item, ItemKind


@dataclass(frozen=True, slots=True)
class MSSBench(HubDataset):
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

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of the file, and for each bad row its error."""
        source = self.locate()
        table = source.find("combined.json", "data/combined.json")
        entries = files.read_json(table, source.where)
        maker = Maker(self.name, source, table)
        for part, drafts in _READERS.items():
            if self.part in ("all", part):
                folder = table.parent / part
                yield from maker.items(_entries(entries, part, table), _reading(drafts, folder))


def _entries(
    entries: Any, part: str, table: Path
) -> Iterator[tuple[str, tuple[str, Mapping[str, Any]]] | DatasetError]:
    """Yield place and entry; places count from 0, as upstream's own results do."""
    listed = entries.get(part) if isinstance(entries, dict) else None
    if not isinstance(listed, list):
        raise DatasetError(f"there is no list {part!r}", path=table)
    for number, entry in enumerate(listed):
        place = f"{part}/{number}"
        if isinstance(entry, dict):
            yield place, (place, entry)
        else:
            yield DatasetError("the entry is not a JSON object", path=table, row=place)


_Reader = Callable[[str, Mapping[str, Any], Path], Iterator[Draft]]


def _reading(
    drafts: _Reader, folder: Path
) -> Callable[[tuple[str, Mapping[str, Any]]], Iterator[Draft]]:
    return lambda placed: drafts(placed[0], placed[1], folder)


def _chat(place: str, entry: Mapping[str, Any], folder: Path) -> Iterator[Draft]:
    pictures = {kind: folder / text(entry, f"{kind}_image_path") for kind in ("safe", "unsafe")}
    scenario = text(entry, "Type")
    for number, query in enumerate(texts(entry, "queries")):
        yield from _pair(f"{place}/{number}", scenario, (query, query), pictures)


def _embodied(place: str, entry: Mapping[str, Any], folder: Path) -> Iterator[Draft]:
    pictures = {kind: folder / text(entry, kind) for kind in ("safe", "unsafe")}
    scenario = text(entry, "category")
    asked = [_instructions(entry, kind) for kind in ("safe", "unsafe")]
    if len(asked[0]) != len(asked[1]):
        raise DatasetError("there are not as many safe as unsafe instructions")
    for number, both in enumerate(zip(*asked, strict=True)):
        yield from _pair(f"{place}/{number}", scenario, both, pictures)


def _instructions(entry: Mapping[str, Any], kind: str) -> list[str]:
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


_READERS: Final[Mapping[str, _Reader]] = {"chat": _chat, "embodied": _embodied}
