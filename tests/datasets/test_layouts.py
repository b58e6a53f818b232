"""The fixtures of releases.py beside what real releases look like: no column or name is made up."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from opensafemlrm.registry import ComponentKind, build
from tests.datasets import newer_releases, releases

LAYOUTS: Final = Path(__file__).with_name("layouts.json")
"""What real files look like: rows, columns, and the values of columns that have few.

Facts that were read from the files; no text of any row.
"""
FILES: Final[dict[str, tuple[Callable[[Path], releases.Options], str, tuple[str, ...]]]] = {
    "figstep": (releases.figstep, "question/safebench.csv", ()),
    "harmbench text": (
        releases.harmbench,
        "data/behavior_datasets/harmbench_behaviors_text_all.csv",
        (),
    ),
    "harmbench multimodal": (
        releases.harmbench_multimodal,
        "data/behavior_datasets/harmbench_behaviors_multimodal_all.csv",
        (),
    ),
    "mm-safetybench (one of thirteen)": (
        releases.mm_safetybench,
        "data/processed_questions/07-Sex.json",
        (),
    ),
    "mossbench": (releases.mossbench, "images_information/information.json", ()),
    "siuo": (releases.siuo, "siuo_gen.json", ()),
    "vlguard test": (releases.vlguard, "test.json", ()),
    "vlsbench": (releases.vlsbench, "data/data.json", ()),
    "xstest": (releases.xstest, "xstest_prompts.csv", ()),
    "msts english": (newer_releases.msts, "data/prompts/english_multimodal.csv", ()),
    "msts german": (
        lambda root: newer_releases.msts(root, "german"),
        "data/prompts/german_multimodal.csv",
        (),
    ),
    "msts images": (newer_releases.msts, "data/images/unsafe_images.csv", ()),
    "bsa": (newer_releases.bsa, "data/dataset.csv", ()),
    "advbench": (newer_releases.advbench_copy, "advbench_behaviors.csv", ()),
    "strongreject": (newer_releases.strongreject, "strongreject_dataset.csv", ()),
    "hades instructions (one of five)": (
        releases.hades,
        "data/test-00000-of-00001.parquet",
        ("scenario", "step"),
    ),
}
"""Layout, its fixture, the file, and columns that the hub's copy has beside those of the layout."""


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    if path.suffix == ".parquet":
        return pl.read_parquet(path).to_dicts()
    value = json.loads(path.read_text("utf-8"))
    return list(value.values()) if isinstance(value, dict) else value


@pytest.mark.parametrize("name", FILES)
def test_a_fixture_has_the_columns_and_names_of_the_real_file(name: str, tmp_path: Path) -> None:
    """Data review 4 and 10: fixtures with other headers hid that real files were refused."""
    layouts = {one["dataset"]: one for one in json.loads(LAYOUTS.read_text("utf-8"))}
    columns = {key: value for key, value in layouts[name]["columns"].items() if key != "(key)"}
    write, file, more = FILES[name]
    write(tmp_path)
    rows = rows_of(tmp_path / file)
    assert {column for row in rows for column in row} - set(more) == set(columns)
    for column, layout in columns.items():
        if "values" in layout:
            held = {str(row[column]) for row in rows if column in row}
            assert held <= set(layout["values"]), column


EXPECTED: Final[dict[str, tuple[str, dict[str, str], int, str]]] = {
    "advbench": ("advbench", {}, 520, ""),
    "bsa": ("bsa", {}, 2_000, "dataset_name"),
    "figstep": ("figstep", {}, 500, "category_name"),
    "harmbench multimodal": ("harmbench", {"subset": "multimodal"}, 110, ""),
    "harmbench text": ("harmbench", {}, 400, ""),
    "mossbench": ("mossbench", {}, 300, ""),
    "msts english": ("msts", {}, 400, "hazard_category"),
    "msts german": ("msts", {"language": "german"}, 200, "hazard_category"),
    "siuo": ("siuo", {}, 167, ""),
    "strongreject": ("strongreject", {}, 313, "category"),
    "vlsbench": ("vlsbench", {}, 2_241, "category"),
    "xstest": ("xstest", {}, 450, ""),
}
"""Layout: data set, options, rows of the real file, and the column that names scenarios."""


@pytest.mark.parametrize("name", EXPECTED)
def test_what_a_whole_release_holds_is_what_the_real_file_holds(name: str, tmp_path: Path) -> None:
    """Data review 3: a tenth of HarmBench was called complete, for want of its size."""
    dataset, options, size, column = EXPECTED[name]
    expected = build(ComponentKind.DATASET, dataset, {"root": tmp_path, **options}).expected()
    assert expected.items == size
    layouts = {one["dataset"]: one for one in json.loads(LAYOUTS.read_text("utf-8"))}
    assert layouts[name]["rows"] == size
    if column:
        assert expected.scenarios == layouts[name]["columns"][column]["values"]
