"""MIR-SafetyBench: attacks that hide a question in how several pictures relate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from opensafemlrm.datasets import files, parquet
from opensafemlrm.datasets.items import Draft, name_of, numbered, text
from opensafemlrm.datasets.release import Release, Row, Table
from opensafemlrm.datasets.source import HubDataset, Source
from opensafemlrm.errors import MissingImageError
from opensafemlrm.types import Expected

_FOLDERS: Final = "*/*_final.json"
_COLUMNS: Final = (
    "id", "category", "relationship_type", "original_question", "revised_prompt", "images"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MIRSafetyBench(HubDataset, Release):
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

    def tables(self) -> Iterator[Table]:
        """Yield the lists that upstream's script makes, or else the Parquet files."""
        source = self.locate()
        lists = sorted(source.folder.glob(_FOLDERS))
        for path in lists:
            place = Source(path.parent, source.fence, source.where)
            rows = files.json_list(path, source.where)
            yield Table(place, path, rows, part=path.parent.name)
        if not lists:
            patterns = (*self.hub_files, _FOLDERS)
            yield from Table.parquet(source, patterns, _COLUMNS, scenario="category")

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row: its category is its own, or that of its folder."""
        category = table.part or text(row, "category")
        pictures = parquet.pictures(row.get("images"), table.source.folder)
        if not pictures:
            raise MissingImageError("its list of pictures is empty")
        relation = text(row, "relationship_type")
        yield Draft(
            f"{category}/{relation}/{name_of(row, 'id')}",
            category,
            text(row, "original_question"),
            released=numbered("shipped", pictures),
            fields={"prompt": text(row, "revised_prompt"), "relation": relation},
        )
