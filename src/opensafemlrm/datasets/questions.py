"""Questions about pictures, harmful and harmless: BeaverTails-V, VLGuard, HoliSafe and others.

BeaverTails-V: twenty categories of harm. SPA-VL: the test questions of a safety preference data
set, harmful and helpful. VLGuard: pictures that are unsafe, and safe pictures with a safe and an
unsafe instruction. HoliSafe-Bench: all five safe and unsafe combinations of picture and query.
MOSSBench: harmless requests whose picture makes an over-cautious model refuse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from opensafemlrm.datasets import files, parquet, taxonomy
from opensafemlrm.datasets.items import Draft, Release, Row, Table, name_of, optional, text
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.errors import DatasetError, UnknownNameError
from opensafemlrm.types import Expected, ItemKind

BEAVERTAILS_CATEGORIES: Final = tuple(taxonomy.scenarios("beavertails-v"))
"""Upstream's categories, each a configuration of its own."""
BEAVERTAILS_EVALUATION: Final = 1180
"""Questions of the split ``evaluation``, over all categories."""


@dataclass(frozen=True, slots=True)
class BeaverTailsV(HubDataset, Release):
    """Read BeaverTails-V (``CATEGORY/SPLIT*.parquet``, in ``data/`` or beside the card).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched.
    ``categories`` chooses some of the twenty. Upstream gives no id: an item's is its category and
    its row, from 0. ``image_severity`` is kept as a field; recorded responses are never read.
    """

    name = "beavertails-v"
    hub = "PKU-Alignment/BeaverTails-V"

    split: Literal["evaluation", "train"] = "evaluation"
    categories: tuple[str, ...] = BEAVERTAILS_CATEGORIES

    def __post_init__(self) -> None:
        HubDataset.__post_init__(self)
        for name in self.categories:
            if name not in BEAVERTAILS_CATEGORIES:
                raise UnknownNameError("BeaverTails-V category", name, BEAVERTAILS_CATEGORIES)

    def patterns(self) -> Sequence[str]:
        """Return the files of the split in the categories."""
        return [f"**/{category}/{self.split}*.parquet" for category in self.categories]

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        whole = self.split == "evaluation" and set(self.categories) == set(BEAVERTAILS_CATEGORIES)
        return Expected(BEAVERTAILS_EVALUATION if whole else None, images=1)

    def tables(self) -> Iterator[Table]:
        """Yield the files of each category, in upstream's order."""
        source = self.locate()
        columns = ("image", "question", "category")
        for category in filter(self.categories.__contains__, BEAVERTAILS_CATEGORIES):
            name = f"{category}/{self.split}"
            patterns = (f"data/{name}*.parquet", f"{name}*.parquet", f"{name}/*.parquet")
            yield from Table.parquet(
                source, patterns, columns, ("image_severity",), scenario="category", part=category
            )

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        severity = row.get("image_severity")
        yield Draft(
            f"{table.part}/{number}",
            text(row, "category"),
            text(row, "question"),
            images=(parquet.picture(row["image"], table.source.folder),),
            fields={"image_severity": severity} if isinstance(severity, int) else {},
        )


SPA_VL_SIZES: Final = {"harm": 265, "help": 265}
"""Questions in each split of the configuration ``test``."""

_SPA_VL_KINDS: Final = {"harm": ItemKind.HARMFUL, "help": ItemKind.BENIGN}


@dataclass(frozen=True, slots=True)
class SPAVL(HubDataset, Release):
    """Read SPA-VL's configuration ``test`` (``test/harm*.parquet``, ``test/help*.parquet``).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched. ``split``
    is ``harm``, ``help`` or both. Upstream gives no id: an item's is its split and its row, from 0.
    The scenario is ``class2``, of thirteen; ``class1`` and ``class3`` are kept as fields.
    """

    name = "spa-vl"
    hub = "sqrti/SPA-VL"
    hub_files = ("test/*.parquet", "test/**/*.parquet")

    split: Literal["all", "harm", "help"] = "all"

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        total = sum(SPA_VL_SIZES.values()) if self.split == "all" else SPA_VL_SIZES[self.split]
        return Expected(total, images=1)

    def tables(self) -> Iterator[Table]:
        """Yield the files of each split."""
        source = self.locate()
        columns, more = ("image", "question", "class2"), ("class1", "class3")
        for split in SPA_VL_SIZES:
            if self.split in ("all", split):
                names = (f"test/{split}*.parquet", f"test/{split}/*.parquet", f"{split}*.parquet")
                yield from Table.parquet(
                    source, names, columns, more, scenario="class2", part=split
                )

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        yield Draft(
            f"{table.part}/{number}",
            text(row, "class2"),
            text(row, "question"),
            _SPA_VL_KINDS[table.part],
            images=(parquet.picture(row["image"], table.source.folder),),
            fields=optional(row, "class1", "class3"),
        )


VLGUARD_SIZES: Final = {"unsafes": 442, "safe_unsafes": 558, "safe_safes": 558}
"""Items of each split of the test set: 442 unsafe pictures, and 558 safe ones asked about twice."""


@dataclass(frozen=True, slots=True)
class VLGuard(HubDataset, Release):
    """Read VLGuard's test set (``test.json`` and ``test/``).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched (it is
    gated there). ``split`` is one of upstream's three, or ``all``. An item's id is upstream's and
    its split. The two instructions of a safe picture share the field ``pair``. The scenario of an
    unsafe picture is upstream's subcategory; what is asked about a safe picture, upstream gives no
    category, so its scenario is its split.
    """

    name = "vlguard"
    hub = "ys-zong/VLGuard"
    hub_files = ("test.json", "test.zip", "test/**")

    split: Literal["all", "unsafes", "safe_unsafes", "safe_safes"] = "all"

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        total = sum(VLGUARD_SIZES.values()) if self.split == "all" else VLGUARD_SIZES[self.split]
        return Expected(total, images=1)

    def tables(self) -> Iterator[Table]:
        """Yield the list."""
        source = self.locate()
        path = source.find("test.json", "data/test.json")
        yield Table(source, path, files.json_list(path, source.where), "harmful_subcategory")

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the items of a picture that are of the split."""
        for draft in _drafts(row, table.path.parent / "test"):
            if self.split in ("all", draft.fields["split"]):
                yield draft


def _drafts(row: Row, folder: Path) -> Iterator[Draft]:
    number, picture = name_of(row, "id"), folder / text(row, "image")
    safe, entries = row.get("safe"), row.get("instr-resp")
    if not isinstance(safe, bool):
        raise DatasetError("'safe' is neither true nor false")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DatasetError("there is no list 'instr-resp' of instructions")
    if not safe:
        if not entries:
            raise DatasetError("the list 'instr-resp' is empty")
        yield Draft(
            f"{number}/unsafes",
            text(row, "harmful_subcategory"),
            text(entries[0], "instruction"),
            images=(picture,),
            fields={"split": "unsafes", **optional(row, "harmful_category")},
        )
        return
    instructions = {key: entry for entry in entries for key in entry}
    for key, split, kind in (
        ("unsafe_instruction", "safe_unsafes", ItemKind.HARMFUL),
        ("safe_instruction", "safe_safes", ItemKind.BENIGN),
    ):
        yield Draft(
            f"{number}/{split}",
            split,
            text(instructions.get(key, {}), key),
            kind,
            images=(picture,),
            fields={"split": split, "pair": number},
        )


HOLISAFE_ITEMS: Final = 4031
HOLISAFE_TYPES: Final = ("SSS", "SSU", "USU", "UUU", "SUU")
"""Picture, query and the two together: S for safe, U for unsafe."""

_HOLISAFE_PARQUET: Final = ("data/test*.parquet", "test*.parquet")
_HOLISAFE_TABLE: Final = "holisafe_bench.json"
_HOLISAFE_COLUMNS: Final = ("id", "image", "query", "type", "category", "subcategory")


@dataclass(frozen=True, slots=True)
class HoliSafe(HubDataset, Release):
    """Read HoliSafe-Bench (``holisafe_bench.json`` and ``images/``, or ``test*.parquet``).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched (it is
    gated there). ``types`` chooses some of upstream's five. The scenario is upstream's
    subcategory, of nineteen; ``type`` and ``category`` are kept as fields.
    """

    name = "holisafe"
    hub = "etri-vilab/holisafe-bench"
    hub_files = (_HOLISAFE_TABLE, "images/**", "images.zip", *_HOLISAFE_PARQUET)

    types: tuple[str, ...] = HOLISAFE_TYPES

    def __post_init__(self) -> None:
        HubDataset.__post_init__(self)
        for name in self.types:
            if name not in HOLISAFE_TYPES:
                raise UnknownNameError("HoliSafe type", name, HOLISAFE_TYPES)

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        return Expected(
            HOLISAFE_ITEMS if set(self.types) == set(HOLISAFE_TYPES) else None, images=1
        )

    def tables(self) -> Iterator[Table]:
        """Yield the list, or else the Parquet files."""
        source = self.locate()
        scenario = "subcategory"
        if path := source.present(_HOLISAFE_TABLE):
            yield Table(source, path, files.json_list(path, source.where), scenario)
        else:
            yield from Table.parquet(
                source, (*_HOLISAFE_PARQUET, _HOLISAFE_TABLE), _HOLISAFE_COLUMNS, scenario=scenario
            )

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row, where its type is chosen."""
        kind = text(row, "type").strip().upper()
        if kind not in HOLISAFE_TYPES:
            raise DatasetError("'type' is none of upstream's five")
        if kind not in self.types:
            return
        yield Draft(
            name_of(row, "id"),
            text(row, "subcategory"),
            text(row, "query"),
            ItemKind.BENIGN if kind == "SSS" else ItemKind.HARMFUL,
            images=(parquet.picture(row.get("image"), table.source.folder / "images"),),
            fields={"type": kind, **optional(row, "category")},
        )


MOSSBENCH_TYPES: Final = {"type 1": 100, "type 2": 100, "type 3": 100}
"""Upstream's three kinds of stimulus: exaggerated risk, negated harm, counterintuitive
interpretation; and the items of each."""

_MOSSBENCH_TABLE: Final = "images_information/information.json"


@dataclass(frozen=True, slots=True)
class MOSSBench(HubDataset, Release):
    """Read MOSSBench (``images_information/information.json`` and ``images/``).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched. The
    scenario is the stimulus type, ``metadata.over``. Every item is benign.
    """

    name = "mossbench"
    hub = "AIcell/MOSSBench"
    hub_files = (_MOSSBENCH_TABLE, "information.json", "images/*", "images.zip", "data/images/*")
    whole = Expected(sum(MOSSBENCH_TYPES.values()), MOSSBENCH_TYPES, images=1)

    def tables(self) -> Iterator[Table]:
        """Yield the file: an object of rows by their ids."""
        source = self.locate()
        path = source.find(_MOSSBENCH_TABLE, f"data/{_MOSSBENCH_TABLE}", "information.json")
        pairs = files.json_pairs(path, source.where)
        yield Table(source, path, ((name, {"id": name, "row": row}) for name, row in pairs))

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        cells, folder = row["row"], table.path.parent
        folder = folder.parent if folder.name == "images_information" else folder
        if not isinstance(cells, dict) or not isinstance(cells.get("metadata"), dict):
            raise DatasetError("the row is not a JSON object with 'metadata'")
        yield Draft(
            row["id"],
            text(cells["metadata"], "over"),
            text(cells, "question"),
            ItemKind.BENIGN,
            images=(_picture(folder, text(cells, "image")),),
            fields=_marks(cells["metadata"]),
        )


def _picture(folder: Path, name: str) -> Path:
    """Upstream names a picture with or without the folder ``images``."""
    return folder / name if name.startswith("images/") else folder / "images" / name


def _marks(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return upstream's yes-or-no marks: people, children, synthetic, with text."""
    return {
        name: value
        for name in ("human", "child", "syn", "ocr")
        if isinstance(value := metadata.get(name), bool | int | str)
    }
