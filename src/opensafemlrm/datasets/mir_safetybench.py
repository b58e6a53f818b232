"""MIR-SafetyBench: attacks that hide a question in how several pictures relate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from opensafemlrm.datasets import files, parquet
from opensafemlrm.datasets.items import Draft, Maker, RowNumber, name_of, numbered, text
from opensafemlrm.datasets.source import HubDataset, Picture, Source
from opensafemlrm.errors import DatasetError, MissingImageError
from opensafemlrm.types import Expected, Item

_FOLDERS: Final = "*/*_final.json"
_COLUMNS: Final = (
    "id", "category", "relationship_type", "original_question", "revised_prompt", "images"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MIRSafetyBench(HubDataset):
    """Read MIR-SafetyBench: the hub's Parquet files, or the folders that upstream's script makes.

    ``root`` is a local folder: a copy of the hub's data set, or what ``extract_data.py`` wrote
    (``CATEGORY/RELATION_final.json`` and ``CATEGORY/images/``). Without it, ``revision`` of the
    hub's data set is fetched. An item's question is upstream's ``original_question``, which is
    judged against; the attack ``shipped`` sends the ``revised_prompt`` after its pictures, and
    ``direct`` the plain question. Ids start anew in each relation, so category and relation are
    part of them.
    """

    name = "mir-safetybench"
    hub = "thu-coai/MIR-SafetyBench"
    hub_files = ("data/*.parquet", "**/*.parquet")
    whole = Expected(2_676, images=1)

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of the files, and for each bad row its error."""
        source = self.locate()
        tables = sorted(source.folder.glob(_FOLDERS))
        if not tables:
            for maker, rows in Maker.over(
                self.name, source, parquet.files(source, *self.hub_files, _FOLDERS), _COLUMNS
            ):
                yield from maker.items(rows, _packed(source), scenario="category")
            return
        seen: dict[str, RowNumber] = {}
        for table in tables:
            place = Source(table.parent, source.fence, source.where)
            maker = Maker(self.name, place, table, seen)
            yield from maker.items(files.json_list(table, source.where), _unpacked(place))


def _packed(source: Source) -> Callable[[Mapping[str, Any]], Iterator[Draft]]:
    def drafts(row: Mapping[str, Any]) -> Iterator[Draft]:
        cells = row["images"]
        yield _draft(row, text(row, "category"), parquet.pictures(cells, source.folder))

    return drafts


def _unpacked(place: Source) -> Callable[[Mapping[str, Any]], Iterator[Draft]]:
    def drafts(row: Mapping[str, Any]) -> Iterator[Draft]:
        yield _draft(row, place.folder.name, parquet.pictures(row.get("images"), place.folder))

    return drafts


def _draft(row: Mapping[str, Any], category: str, pictures: list[Picture]) -> Draft:
    if not pictures:
        raise MissingImageError("its list of pictures is empty")
    relation = text(row, "relationship_type")
    return Draft(
        f"{category}/{relation}/{name_of(row, 'id')}",
        category,
        text(row, "original_question"),
        released=numbered("shipped", pictures),
        fields={"prompt": text(row, "revised_prompt"), "relation": relation},
    )
