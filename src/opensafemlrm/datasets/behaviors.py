"""Benchmarks of text, behaviours and questions: AdvBench, StrongREJECT, HarmBench and others.

AdvBench and StrongREJECT: tables of harmful behaviours. HarmBench: the same, with or without
pictures, and plain tables like it. JailbreakBench: a hundred harmful behaviours, and a hundred
benign ones. XSTest: safe prompts that sound unsafe, and unsafe ones that resemble them.
BeyondSafeAnswer: questions whose risk the reasoning may miss behind a safe answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, Release, Row, Table, kind_of, optional, text
from opensafemlrm.datasets.source import HubDataset, Source, single_table
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Expected, ItemKind

ADVBENCH: Final = "https://github.com/llm-attacks/llm-attacks"
STRONGREJECT: Final = "https://github.com/alexandrasouly/strongreject"
STRONGREJECT_SIZES: Final = {
    "Non-violent crimes": 59,
    "Violence": 54,
    "Disinformation and deception": 50,
    "Hate, harassment and discrimination": 50,
    "Illegal goods and services": 50,
    "Sexual content": 50,
}
"""Categories as the table spells them, and the prompts in each: 313 in all."""


@dataclass(frozen=True, slots=True)
class AdvBench(Release):
    """Read AdvBench from ``root``: the table, or the folder that holds it.

    Takes its own table (``harmful_behaviors.csv``: goal, target) and HarmBench's form of it
    (``advbench_behaviors.csv``: Behavior, BehaviorID). Without a BehaviorID, an item's id is its
    row, from 0. Answers that upstream begins (``target``) are not read; it gives no categories.
    """

    name = "advbench"
    whole = Expected(520)

    root: Path = field(compare=False)

    def tables(self) -> Iterator[Table]:
        """Yield the table."""
        source, path = single_table(
            self.root,
            ADVBENCH,
            "data/advbench/harmful_behaviors.csv",
            "harmful_behaviors.csv",
            "advbench_behaviors.csv",
        )
        own = "goal" in files.csv_header(path, ADVBENCH)
        columns = ("goal",) if own else ("Behavior", "BehaviorID")
        yield Table(source, path, files.csv_rows(path, columns, ADVBENCH))

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        if "goal" in row:
            yield Draft(str(number), "all", text(row, "goal"))
        else:
            yield Draft(text(row, "BehaviorID"), "all", text(row, "Behavior"))


@dataclass(frozen=True, slots=True)
class StrongREJECT(Release):
    """Read StrongREJECT from ``root``: the table ``strongreject_dataset.csv``, or its folder.

    An item's question is ``forbidden_prompt``, its scenario ``category``; upstream gives no id, so
    an item's is its row, from 0.
    """

    name = "strongreject"
    whole = Expected(sum(STRONGREJECT_SIZES.values()), STRONGREJECT_SIZES)

    root: Path = field(compare=False)

    def tables(self) -> Iterator[Table]:
        """Yield the table."""
        name = "strongreject_dataset.csv"
        source, path = single_table(self.root, STRONGREJECT, f"strongreject_dataset/{name}", name)
        columns = ("category", "forbidden_prompt")
        yield Table(source, path, files.csv_rows(path, columns, STRONGREJECT), "category")

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        question, scenario = text(row, "forbidden_prompt"), text(row, "category")
        yield Draft(str(number), scenario, question, fields=optional(row, "source"))


HARMBENCH_SOURCE: Final = "https://github.com/centerforaisafety/HarmBench"
HARMBENCH_SIZES: Final = {"text": 400, "multimodal": 110}
"""Behaviours in HarmBench's two tables."""

_HARMBENCH_TABLES: Final = {name: f"harmbench_behaviors_{name}_all.csv" for name in HARMBENCH_SIZES}
_HARMBENCH_FOLDERS: Final = ("data/behavior_datasets/", "behavior_datasets/", "")
_HARMBENCH_PICTURES: Final = "multimodal_behavior_images"
_HARMBENCH_FORMS: Final = (
    {"question": "Behavior", "scenario": "SemanticCategory", "id": "BehaviorID"},
    {"question": "behavior", "scenario": "category"},
)
"""Columns of HarmBench, and of plain tables."""
_HARMBENCH_OTHERS: Final = {
    "jailbreakbench": {"Goal", "Behavior", "Index"},
    "strongreject": {"forbidden_prompt"},
    "advbench": {"goal", "target"},
}
"""Columns that tell the tables of other data sets."""
_HARMBENCH_CONTEXT: Final = "ContextString"
_HARMBENCH_IMAGE: Final = "ImageFileName"


@dataclass(frozen=True, slots=True)
class HarmBench(Release):
    """Read behaviours from ``root``: a table, or the folder that holds HarmBench's ``subset``.

    Takes HarmBench's columns (Behavior, SemanticCategory, BehaviorID) and plain ones (behavior,
    category; an item's id is then its row, from 0). A behaviour's context is put before it, after
    HarmBench's own template. A behaviour with a picture (``ImageFileName``) comes with it, from
    the folder ``multimodal_behavior_images`` beside the table's, or from that of the table.
    """

    name = "harmbench"

    root: Path = field(compare=False)
    subset: Literal["text", "multimodal"] = "text"

    def expected(self) -> Expected:
        """Return what HarmBench's own table holds; the size of another table is not known."""
        own = self.root.is_dir() or self.root.name == _HARMBENCH_TABLES[self.subset]
        return Expected(
            HARMBENCH_SIZES[self.subset] if own else None, images=int(self.subset == "multimodal")
        )

    def tables(self) -> Iterator[Table]:
        """Yield the table. Raises DatasetError where it is that of another data set."""
        names = (folder + _HARMBENCH_TABLES[self.subset] for folder in _HARMBENCH_FOLDERS)
        _, path = single_table(self.root, HARMBENCH_SOURCE, *names)
        header = files.csv_header(path, HARMBENCH_SOURCE)
        for other, columns in _HARMBENCH_OTHERS.items():
            if columns <= set(header):
                reason = f"this is another data set's table; read it with the dataset {other!r}"
                raise DatasetError(reason, path=path)
        folder, form = _pictures_of(path), _form(header)
        # Pictures may lie beside the table's folder, as they do in HarmBench's repository.
        home = path.parent if folder.is_relative_to(path.parent) else folder.parent
        rows = files.csv_rows(path, tuple(form.values()), HARMBENCH_SOURCE)
        yield Table(Source(home, home, HARMBENCH_SOURCE), path, rows, form["scenario"])

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        form = _form(row)
        behaviour = text(row, form["question"])
        yield Draft(
            text(row, form["id"]) if "id" in form else str(number),
            text(row, form["scenario"]),
            _with_context(behaviour, row),
            images=(_pictures_of(table.path) / text(row, _HARMBENCH_IMAGE),)
            if _HARMBENCH_IMAGE in row
            else (),
            fields=optional(row, "FunctionalCategory", "Tags", "Source"),
        )


def _form(columns: Iterable[str]) -> Mapping[str, str]:
    return next(
        (form for form in _HARMBENCH_FORMS if {*form.values()} <= {*columns}), _HARMBENCH_FORMS[0]
    )


def _pictures_of(table: Path) -> Path:
    """Return the folder of a table's pictures."""
    for home in (table.parent, table.parent.parent):
        if (home / _HARMBENCH_PICTURES).is_dir() or (home / f"{_HARMBENCH_PICTURES}.zip").is_file():
            return home / _HARMBENCH_PICTURES
    return table.parent


def _with_context(behaviour: str, row: Mapping[str, str]) -> str:
    context = optional(row, _HARMBENCH_CONTEXT).get(_HARMBENCH_CONTEXT, "")
    return f"{context}\n\n---\n\n{behaviour}" if context else behaviour


JBB_SIZE: Final = 100
"""Behaviours in each of the two files."""

_JBB_COLUMNS: Final = ("Index", "Goal", "Behavior", "Category")


@dataclass(frozen=True, slots=True)
class JailbreakBench(HubDataset, Release):
    """Read JBB-Behaviors (``harmful-behaviors.csv`` and ``benign-behaviors.csv``).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched. ``split``
    is ``harmful``, ``benign`` or both. An item's question is upstream's ``Goal``, its id the split
    and ``Index``; the two behaviours of one index share the field ``pair``. Answers that
    upstream begins (``Target``) are not read.
    """

    name = "jailbreakbench"
    hub = "JailbreakBench/JBB-Behaviors"
    hub_files = ("data/*-behaviors.csv", "*-behaviors.csv")

    split: Literal["all", "harmful", "benign"] = "all"

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        return Expected(2 * JBB_SIZE if self.split == "all" else JBB_SIZE)

    def tables(self) -> Iterator[Table]:
        """Yield the harmful behaviours, then the benign ones."""
        source = self.locate()
        for kind in (ItemKind.HARMFUL, ItemKind.BENIGN):
            if self.split in ("all", kind.value):
                name = f"{kind.value}-behaviors.csv"
                path = source.find(f"data/{name}", name)
                rows = files.csv_rows(path, _JBB_COLUMNS, source.where)
                yield Table(source, path, rows, "Category", kind.value)

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        pair = text(row, "Index")
        yield Draft(
            f"{table.part}/{pair}",
            text(row, "Category"),
            text(row, "Goal"),
            ItemKind(table.part),
            fields={"pair": pair, **optional(row, "Behavior", "Source")},
        )


XSTEST_SOURCE: Final = "https://github.com/paul-rottger/xstest"
XSTEST_SIZES: Final = {ItemKind.BENIGN: 250, ItemKind.HARMFUL: 200}

_XSTEST_TABLES: Final = ("xstest_prompts.csv", "xstest_prompts_v2.csv", "xstest_v2_prompts.csv")
"""The table's name, which has changed between versions upstream."""
_XSTEST_CONTRAST: Final = "contrast_"
"""How upstream begins the type of an unsafe prompt; older tables have no label beside it."""


@dataclass(frozen=True, slots=True)
class XSTest(Release):
    """Read XSTest from ``root``: the table ``xstest_prompts.csv``, or the folder that holds it.

    The scenario is upstream's ``type``. The kind is ``label``, or, in tables without it, what the
    type says. ``benign=False`` or ``harmful=False`` leave one half out.
    """

    name = "xstest"

    root: Path = field(compare=False)
    benign: bool = True
    harmful: bool = True

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        return Expected(
            self.benign * XSTEST_SIZES[ItemKind.BENIGN]
            + self.harmful * XSTEST_SIZES[ItemKind.HARMFUL]
        )

    def tables(self) -> Iterator[Table]:
        """Yield the table."""
        source, path = single_table(self.root, XSTEST_SOURCE, *_XSTEST_TABLES)
        yield Table(
            source, path, files.csv_rows(path, ("id", "prompt", "type"), XSTEST_SOURCE), "type"
        )

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row, where its kind is wanted."""
        scenario = text(row, "type")
        by_type = ItemKind.HARMFUL if scenario.startswith(_XSTEST_CONTRAST) else ItemKind.BENIGN
        kind = kind_of(text(row, "label")) if "label" in row else by_type
        if self.harmful if kind is ItemKind.HARMFUL else self.benign:
            fields = optional(row, "focus", "note")
            yield Draft(text(row, "id"), scenario, text(row, "prompt"), kind, fields=fields)


BSA_SOURCE: Final = "https://github.com/OpenStellarTeam/BSA"
BSA_SIZES: Final = {"Cognitive Shortcut": 1_200, "Risk Omission": 600, "Over Sensitivity": 200}
"""Scenarios as the release spells them, and the questions in each."""

_BSA_COLUMNS: Final = ("id", "query", "risk_summary", "dataset_name")


@dataclass(frozen=True, slots=True)
class BeyondSafeAnswer(Release):
    """Read BSA from ``root``: the table ``dataset.csv``, or the folder that holds it.

    The scenario is upstream's ``dataset_name``: which way a safe answer may hide what the
    reasoning missed. ``risk_summary``, which the judge ``bsa-think`` reads, and ``label``, the
    kinds of risk, are kept as fields.
    """

    name = "bsa"
    whole = Expected(sum(BSA_SIZES.values()), BSA_SIZES)

    root: Path = field(compare=False)

    def tables(self) -> Iterator[Table]:
        """Yield the table."""
        source, path = single_table(self.root, BSA_SOURCE, "data/dataset.csv", "dataset.csv")
        yield Table(source, path, files.csv_rows(path, _BSA_COLUMNS, BSA_SOURCE), "dataset_name")

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row."""
        yield Draft(
            text(row, "id"),
            text(row, "dataset_name"),
            text(row, "query"),
            fields={"risk_summary": text(row, "risk_summary"), **optional(row, "label")},
        )
