"""Attacks that come ready-made with a data set: HADES, JailBreakV-28K and MIR-SafetyBench.

HADES: harmful instructions with pictures made more harmful in steps. JailBreakV-28K: jailbreaks of
text and picture, and RedTeam-2K, their questions. MIR-SafetyBench: attacks that hide a question in
how several pictures relate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from opensafemlrm.datasets import files, parquet
from opensafemlrm.datasets.items import (
    Draft,
    Release,
    Row,
    Table,
    name_of,
    numbered,
    optional,
    text,
)
from opensafemlrm.datasets.source import HubDataset, Source
from opensafemlrm.errors import MissingImageError
from opensafemlrm.types import Expected

HADES_STEPS: Final = 6
"""Pictures of each instruction, from 0, before any optimisation, to 5, after five rounds of it."""

_HADES_COLUMNS: Final = ("image", "id", "scenario", "keywords", "step", "category", "instruction")


@dataclass(frozen=True, slots=True)
class Hades(HubDataset, Release):
    """Read HADES (``*.parquet``, in ``data/`` or beside the card).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched. ``step``
    chooses which of the six pictures of each instruction is taken; the last is the one that the
    field evaluates with. The picture is the attack's, ``released["hades-5"]``: the attack
    ``hades`` sends it, ``direct`` sends the instruction alone. The scenario is upstream's
    ``scenario``; an item's id is its scenario and upstream's id, which starts anew in each.
    """

    name = "hades"
    hub = "Monosail/HADES"
    hub_files = ("data/*.parquet", "*.parquet")
    whole = Expected(750, images=1)

    step: int = HADES_STEPS - 1

    def __post_init__(self) -> None:
        HubDataset.__post_init__(self)
        if not 0 <= self.step < HADES_STEPS:
            raise ValueError(f"'step' is 0 to {HADES_STEPS - 1}, not {self.step}")

    def tables(self) -> Iterator[Table]:
        """Yield the files."""
        return Table.parquet(self.locate(), self.hub_files, _HADES_COLUMNS, scenario="scenario")

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row, where that is of the step."""
        if row["step"] != self.step:
            return
        picture = parquet.picture(row["image"], table.source.folder)
        yield Draft(
            f"{text(row, 'scenario')}/{name_of(row, 'id')}",
            text(row, "scenario"),
            text(row, "instruction"),
            released={f"hades-{self.step}": picture},
            fields={"step": self.step, **optional(row, "keywords", "category")},
        )


JAILBREAKV_SIZES: Final = {"full": 28_000, "mini": 280, "redteam-2k": 2_000}
"""Rows of each table, by the paper."""

_JAILBREAKV_FOLDER: Final = "JailBreakV_28K"
_JAILBREAKV_TABLES: Final = {
    "full": "JailBreakV_28K.csv",
    "mini": "mini_JailBreakV_28K.csv",
    "redteam-2k": "RedTeam_2K.csv",
}
_JAILBREAKV_COLUMNS: Final = ("id", "jailbreak_query", "redteam_query", "policy", "image_path")
_JAILBREAKV_PLAIN_COLUMNS: Final = ("id", "question", "policy")


@dataclass(frozen=True, slots=True)
class JailBreakV(HubDataset, Release):
    """Read JailBreakV-28K, its mini version, or RedTeam-2K (``JailBreakV_28K/*.csv`` and folders).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched. An item's
    question is the plain ``redteam_query``, which is judged against. The jailbreak itself is
    ``fields["prompt"]`` with the picture ``released["shipped"]``: the attack ``shipped`` sends
    them, ``direct`` sends the plain question. RedTeam-2K has plain questions alone.
    """

    name = "jailbreakv-28k"
    hub = "JailbreakV-28K/JailBreakV-28k"

    subset: Literal["full", "mini", "redteam-2k"] = "full"

    def patterns(self) -> Sequence[str]:
        """Return the subset's table, and the pictures where it has any."""
        pictures = (f"{_JAILBREAKV_FOLDER}/**/*.png", f"{_JAILBREAKV_FOLDER}/**/*.jpg")
        table = f"{_JAILBREAKV_FOLDER}/{_JAILBREAKV_TABLES[self.subset]}"
        return (table,) if self.subset == "redteam-2k" else (table, *pictures)

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        return Expected(
            JAILBREAKV_SIZES[self.subset], images=0 if self.subset == "redteam-2k" else 1
        )

    def tables(self) -> Iterator[Table]:
        """Yield the subset's table."""
        source, name = self.locate(), _JAILBREAKV_TABLES[self.subset]
        path = source.find(f"{_JAILBREAKV_FOLDER}/{name}", name)
        columns = _JAILBREAKV_PLAIN_COLUMNS if self.subset == "redteam-2k" else _JAILBREAKV_COLUMNS
        yield Table(source, path, files.csv_rows(path, columns, source.where), "policy")

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        name, policy = text(row, "id"), text(row, "policy")
        if self.subset == "redteam-2k":
            yield Draft(name, policy, text(row, "question"), fields=optional(row, "from"))
            return
        yield Draft(
            name,
            policy,
            text(row, "redteam_query"),
            released={"shipped": table.path.parent / text(row, "image_path")},
            fields={
                "prompt": text(row, "jailbreak_query"),
                **optional(row, "format", "from", "transfer_from_llm"),
            },
        )


_MIR_FOLDERS: Final = "*/*_final.json"
_MIR_COLUMNS: Final = (
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
        lists = sorted(source.folder.glob(_MIR_FOLDERS))
        for path in lists:
            place = Source(path.parent, source.fence, source.where)
            rows = files.json_list(path, source.where)
            yield Table(place, path, rows, part=path.parent.name)
        if not lists:
            patterns = (*self.hub_files, _MIR_FOLDERS)
            yield from Table.parquet(source, patterns, _MIR_COLUMNS, scenario="category")

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
