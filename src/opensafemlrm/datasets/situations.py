"""Benchmarks whose harm is in picture and question together.

SIUO: a safe picture and a safe question that are unsafe together. MSTS: the same, in several
languages. MSSBench: one request in a safe and in an unsafe situation, which only the picture tells.
MIS: questions whose harm is in two pictures together. VLSBench: harmless-looking questions whose
harm only the picture shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from opensafemlrm.datasets import files, parquet
from opensafemlrm.datasets.items import Draft, Release, Row, Table, name_of, optional, text, texts
from opensafemlrm.datasets.source import HubDataset, Source, single_table
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Expected, ItemKind


@dataclass(frozen=True, slots=True)
class SIUO(HubDataset, Release):
    """Read SIUO's generation questions (``siuo_gen.json`` and ``images/``).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched. The
    scenario is upstream's category. ``safety_warning`` and ``reference_answer`` are kept as
    fields, for judges that compare.
    """

    name = "siuo"
    hub = "sinwang/SIUO"
    hub_files = ("siuo_gen.json", "images/*", "images.zip")
    whole = Expected(167, images=1)

    def tables(self) -> Iterator[Table]:
        """Yield the list."""
        source = self.locate()
        path = source.find("siuo_gen.json")
        yield Table(source, path, files.json_list(path, source.where), "category")

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        yield Draft(
            name_of(row, "question_id"),
            text(row, "category"),
            text(row, "question"),
            images=(table.source.folder / "images" / text(row, "image"),),
            fields=optional(row, "safety_warning", "reference_answer"),
        )


VLSBENCH_SIZES: Final = {
    "Violent": 590,
    "Illegal Activity": 539,
    "Self-Harm": 370,
    "Erotic": 343,
    "Hate": 269,
    "Privacy": 130,
}
"""Categories as the release spells them, and the questions in each: 2,241 in all."""


@dataclass(frozen=True, slots=True)
class VLSBench(HubDataset, Release):
    """Read VLSBench (``data.json`` and its pictures, which may be left packed in ``imgs.tar``).

    ``root`` is the list, or the folder that holds it or ``data/data.json``; without it,
    ``revision`` of the hub's data set is fetched. Pictures are looked for as ``image_path`` names
    them, from the list's folder and from ``root``. The scenario is upstream's ``category``, the id
    its ``instruction_id``.
    """

    name = "vlsbench"
    hub = "Foreshhh/vlsbench"
    hub_files = ("data.json", "imgs.tar", "imgs/**")
    whole = Expected(sum(VLSBENCH_SIZES.values()), VLSBENCH_SIZES, images=1)

    def tables(self) -> Iterator[Table]:
        """Yield the list."""
        source, path = self.table("data/data.json", "data.json")
        yield Table(source, path, files.json_list(path, source.where), "category")

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        source, picture = table.source, text(row, "image_path")
        yield Draft(
            name_of(row, "instruction_id"),
            text(row, "category"),
            text(row, "instruction"),
            images=(source.either(table.path.parent / picture, source.folder / picture),),
            fields=optional(row, "sub_category", "source"),
        )


MIS_SIZES: Final = {"easy": 1_675, "hard": 510, "real": 100}
"""Questions of each subset of the test set."""

_MIS_PICTURES: Final = ("image_path1", "image_path2")
_MIS_PACKED: Final = "zip_files"
"""Where archives of the pictures may lie."""


@dataclass(frozen=True, slots=True)
class MIS(HubDataset, Release):
    """Read MIS's test set (``mis_easy.json``, ``mis_hard.json``, ``mis_real.json``, and pictures).

    ``root`` is a local folder in the layout that upstream asks for; without it, ``revision`` of
    the hub's data set is fetched. ``subset`` is one of the three or ``all``. The two pictures are
    sent in order; upstream gives no id, so an item's is its subset and place, from 0. The scenario
    is upstream's ``category``.
    """

    name = "mis"
    hub = "Tuwhy/MIS_Test"
    hub_files = ("mis_*.json", "*_image/**", "*.zip", f"{_MIS_PACKED}/**")

    subset: Literal["all", "easy", "hard", "real"] = "all"

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        total = sum(MIS_SIZES.values()) if self.subset == "all" else MIS_SIZES[self.subset]
        return Expected(total, images=2)

    def tables(self) -> Iterator[Table]:
        """Yield the lists."""
        source = self.locate()
        for subset in MIS_SIZES:
            if self.subset in ("all", subset):
                path = source.find(f"mis_{subset}.json", f"mis_test/mis_{subset}.json")
                rows = files.json_list(path, source.where)
                yield Table(source, path, rows, "category", subset)

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        pictures, home = [], table.path.parent
        for column in _MIS_PICTURES:
            name = text(row, column)
            pictures.append(table.source.either(home / name, home / _MIS_PACKED / name))
        yield Draft(
            f"{table.part}/{number}",
            text(row, "category"),
            text(row, "question"),
            images=tuple(pictures),
            fields={"subset": table.part, **optional(row, "sub_category")},
        )


MSTS_CASES: Final = {
    "Non-Violent Crimes": 70,
    "Suicide & Self-Harm": 40,
    "Violent Crimes": 35,
    "Sex-Related Crimes": 30,
    "Other": 25,
}
"""Hazard categories as the release spells them, and the cases in each: 200 in all."""
Language = Literal[
    "english",
    "arabic",
    "chinese",
    "farsi",
    "french",
    "german",
    "hindi",
    "italian",
    "korean",
    "russian",
    "spanish",
]

_MSTS_COLUMNS: Final = (
    "hazard_category",
    "case_id",
    "unsafe_image_id",
    "prompt_text",
    "prompt_type",
)
_MSTS_FIELDS: Final = ("hazard_subcategory", "hazard_subsubcategory", "prompt_type", "case_id")
_MSTS_PICTURES: Final = "unsafe_images"
_MSTS_ENDINGS: Final = (".jpg", ".png")
"""How upstream's script saves the pictures that it downloads."""


@dataclass(frozen=True, slots=True)
class MSTS(HubDataset, Release):
    """Read MSTS in one ``language``: the repository's tables, or the hub's Parquet files.

    ``root`` is a local folder: the repository with the pictures that its script
    ``0_download_images.py`` puts into ``data/unsafe_images/``, or a copy of the hub's data set.
    Without it, ``revision`` of the hub's data set is fetched. An item's id is its case and the
    type of its prompt, so that a case meets itself across languages.
    """

    name = "msts"
    hub = "felfri/MSTS"

    language: Language = "english"

    def patterns(self) -> Sequence[str]:
        """Return the hub's files of the language."""
        return (f"data/{self.language}-*.parquet", f"**/{self.language}*.parquet")

    def expected(self) -> Expected:
        """Return what a whole release holds; how many other languages have on the hub is open."""
        if self.language == "english":
            return Expected(400, {name: 2 * size for name, size in MSTS_CASES.items()}, images=1)
        known = self.root is not None and not list(self.root.glob("**/*.parquet"))
        return Expected(200, MSTS_CASES, images=1) if known else Expected(images=1)

    def tables(self) -> Iterator[Table]:
        """Yield the language's table, or else the Parquet files."""
        scenario, name = "hazard_category", f"{self.language}_multimodal.csv"
        if self.root is None or any(next(self.root.glob(name), None) for name in self.patterns()):
            columns = (*_MSTS_COLUMNS, "unsafe_image")
            yield from Table.parquet(
                self.locate(), self.patterns(), columns, _MSTS_FIELDS[:2], scenario=scenario
            )
            return
        where = self.card.source
        _, path = single_table(self.root, where, f"data/prompts/{name}", f"prompts/{name}")
        home = path.parent.parent
        rows = files.csv_rows(path, _MSTS_COLUMNS, where)
        yield Table(Source(home, home, where), path, rows, scenario)

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row: its picture is in its row, or a file."""
        source = table.source
        if "unsafe_image" in row:
            picture = parquet.picture(row["unsafe_image"], source.folder)
        else:
            name = source.folder / _MSTS_PICTURES / text(row, "unsafe_image_id")
            picture = source.either(*(f"{name}{ending}" for ending in _MSTS_ENDINGS))
        yield Draft(
            f"{text(row, 'case_id')}/{text(row, 'prompt_type')}",
            text(row, "hazard_category"),
            text(row, "prompt_text"),
            images=(picture,),
            fields=optional(row, *_MSTS_FIELDS),
        )


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
        for part in _MSSBENCH_READERS:
            if self.part in ("all", part):
                yield Table(source, path, _entries(entries, part, path), part=part)

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield both items of each query of a row."""
        yield from _MSSBENCH_READERS[table.part](row, table.path.parent / table.part)


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


_MSSBENCH_READERS: Final = {"chat": _chat, "embodied": _embodied}
