"""A store goes out as a data set with a card, and its replies come back with all that was said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

import opensafemlrm as osm
from opensafemlrm.interop import hub_dataset
from opensafemlrm.store import Store, labels
from opensafemlrm.store.labels import PersonLabel, put_labels, unit_of
from opensafemlrm.types import Part
from tests.interop.test_every_eval_ever import KEPT
from tests.interop.test_replies_in import MAPPING, ROWS, imported, rows_of, safemlrm


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    study = osm.Study(
        models=["sim/r1-onevision-7b"], datasets=["canary"], attacks=["direct", "typo"],
        judge="canary", limit=6,
    )  # fmt: skip
    osm.evaluate(study, path)
    with Store.open(path, "write") as opened:
        query = "SELECT key FROM generations WHERE status = 'ok' ORDER BY key LIMIT 1"
        (key,) = opened.connection.execute(query).fetchone()
        unit = unit_of(opened, key, Part.ANSWER)
        assert unit is not None
        put_labels(
            opened,
            [
                PersonLabel(key, Part.ANSWER, "ann", True, "=1+1", unit.text, "2.2", False),
                PersonLabel(key, Part.ANSWER, "bob", None, "", unit.text),
            ],
        )
    return path


def card(folder: Path) -> tuple[dict[str, Any], str]:
    _, head, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(head), text


def exported(store: Path, folder: Path) -> str:
    told = safemlrm("export", "dataset", store, folder)
    assert told.exit_code == 0, told.output
    return told.output


def test_the_card_names_every_file_column_count_and_licence(store: Path, tmp_path: Path) -> None:
    assert "no text in it is harmful" in exported(store, tmp_path / "out")
    head, text = card(tmp_path / "out")
    assert "not-for-all-audiences" not in head["tags"]
    for config in head["configs"]:
        assert list((tmp_path / "out").glob(config["data_files"]))
    replies = pl.read_parquet(tmp_path / "out/data/replies-*.parquet")
    assert [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")] == (
        replies.columns
    )
    assert replies.height == 12
    assert "| canary | Apache-2.0 |" in text
    assert "| sim/r1-onevision-7b | canary | typo | none | run | true | 6 |" in text
    frame = pl.read_parquet(tmp_path / "out/data/frame.parquet")
    assert frame.height == len(rows_of(store))


def test_a_card_of_other_data_says_that_its_texts_may_be_harmful(tmp_path: Path) -> None:
    mapping = MAPPING.replace("{value: teas}", "{value: '<b>|canary'}")
    _, path = imported(tmp_path, ROWS, mapping)
    assert "may be harmful" in exported(path, tmp_path / "out")
    head, text = card(tmp_path / "out")
    assert "not-for-all-audiences" in head["tags"]
    assert "CAUTION" in text
    assert "<b>" not in text
    assert "not known here: see where it comes from" in text


def test_replies_come_back_with_verdicts_labels_and_what_ended_them(
    store: Path, tmp_path: Path
) -> None:
    exported(store, tmp_path / "out")
    files = sorted((tmp_path / "out/data").glob("replies-*.parquet"))
    told = safemlrm("import", "replies", *files, "--mapping", "dataset", "--store", tmp_path / "in")
    assert told.exit_code == 0, told.output

    def shown(path: Path) -> list[Any]:
        return sorted((tuple(row[name] for name in KEPT) for row in rows_of(path)), key=repr)

    def people(path: Path) -> list[Any]:
        with Store.open(path) as opened:
            return [
                (x.part, x.labeller, x.unsafe, x.note, x.text, x.response_class, x.understood)
                for x in labels.labels(opened.connection)
            ]

    def raw(path: Path) -> list[Any]:
        with Store.open(path) as opened:
            query = "SELECT text, reasoning, status FROM generations ORDER BY text, reasoning"
            return opened.connection.execute(query).fetchall()

    assert shown(tmp_path / "in") == shown(store)
    assert people(tmp_path / "in") == people(store)
    assert raw(tmp_path / "in") == raw(store)


def test_labels_of_other_parts_stay_behind_as_verdicts_do(store: Path, tmp_path: Path) -> None:
    for part, people in (("reasoning", 0), ("answer", 2)):
        told = safemlrm("export", "dataset", store, tmp_path / part, "--part", part)
        assert told.exit_code == 0, told.output
        replies = pl.read_parquet(tmp_path / part / "data/replies-*.parquet")
        assert replies["labels"].list.len().sum() == people
        verdicts = replies["verdicts"].explode().struct.field("part").unique()
        assert verdicts.drop_nulls().to_list() == [part]


def test_a_second_export_leaves_no_file_of_the_first(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_dataset, "_SHARD", 5)
    exported(store, tmp_path / "out")
    files = sorted((tmp_path / "out/data").glob("replies-*.parquet"))
    assert [pl.read_parquet(file).height for file in files] == [5, 5, 2]
    monkeypatch.undo()
    foreign = [tmp_path / f"out/data/replies-{name}.parquet" for name in ("0", "mine", "000001")]
    for file in foreign:
        file.write_bytes(b"another's")
    exported(store, tmp_path / "out")
    (file,) = set((tmp_path / "out/data").glob("replies-*.parquet")) - set(foreign)
    assert pl.read_parquet(file).height == 12
    assert all(file.read_bytes() == b"another's" for file in foreign)
