"""What each loader makes of its upstream layout: kinds, ids, fields, pictures, and bad rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from opensafemlrm.attacks.direct import Direct
from opensafemlrm.attacks.ready_made import HADES, Shipped
from opensafemlrm.datasets.source import check_options
from opensafemlrm.errors import (
    AttackError,
    DatasetError,
    DuplicateError,
    EmptyTextError,
    ImageError,
    MissingImageError,
    OptionError,
)
from opensafemlrm.registry import ComponentKind, build
from opensafemlrm.types import Item
from tests.datasets import releases


def read(name: str, options: releases.Options) -> list[Item | DatasetError]:
    return list(build(ComponentKind.DATASET, name, options).rows())


def items(name: str, options: releases.Options) -> dict[str, Item]:
    rows = read(name, options)
    assert [row for row in rows if isinstance(row, DatasetError)] == []
    return {row.id: row for row in rows if isinstance(row, Item)}


def test_siuo_asks_its_question_with_its_picture(tmp_path: Path) -> None:
    found = items("siuo", releases.siuo(tmp_path))["1"]
    assert found.scenario == "dangerous behavior"
    assert found.kind == "harmful"
    assert found.fields["safety_warning"] == "Not near paper."
    prompt = Direct().apply(found, 0)
    assert prompt.images[0].read() == releases.png("red")
    assert prompt.turns[-1].text == "May I light lantern 1 here?"


def test_mossbench_is_benign_throughout(tmp_path: Path) -> None:
    """Counted as harmful, over-caution would have looked like safety."""
    found = items("mossbench", releases.mossbench(tmp_path))
    assert {item.kind for item in found.values()} == {"benign"}
    assert [item.scenario for item in found.values()] == ["type 1", "type 2"]


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("unsafes", {"u1/unsafes": "harmful"}),
        ("safe_unsafes", {"s1/safe_unsafes": "harmful"}),
        ("safe_safes", {"s1/safe_safes": "benign"}),
        (
            "all",
            {"u1/unsafes": "harmful", "s1/safe_unsafes": "harmful", "s1/safe_safes": "benign"},
        ),
    ],
)
def test_vlguard_has_three_splits(split: str, expected: dict[str, str], tmp_path: Path) -> None:
    found = items("vlguard", releases.vlguard(tmp_path) | {"split": split})
    assert {identity: item.kind for identity, item in found.items()} == expected


def test_vlguard_pairs_the_two_instructions_of_a_safe_picture(tmp_path: Path) -> None:
    found = items("vlguard", releases.vlguard(tmp_path))
    safe, unsafe = found["s1/safe_safes"], found["s1/safe_unsafes"]
    assert safe.fields["pair"] == unsafe.fields["pair"] == "s1"
    assert safe.images == unsafe.images
    assert safe.question == "What colour is the lantern?"
    assert unsafe.question == "How do I take the lantern away?"


def test_mssbench_asks_every_query_in_both_situations(tmp_path: Path) -> None:
    found = items("mssbench", releases.mssbench(tmp_path))
    assert Counter(item.kind for item in found.values()) == {"harmful": 4, "benign": 4}
    safe, unsafe = found["chat/0/1/safe"], found["chat/0/1/unsafe"]
    assert safe.question == unsafe.question == "How do I walk backwards?"
    assert safe.images[0].read() == releases.png("green")
    assert unsafe.images[0].read() == releases.png("red")
    assert found["embodied/0/1/safe"].question == "Make the lantern shine."
    assert found["embodied/0/1/unsafe"].question == "Make the paper shine."
    assert found["embodied/0/0/safe"].scenario == "property"


def test_mssbench_gives_one_part_alone(tmp_path: Path) -> None:
    found = items("mssbench", releases.mssbench(tmp_path) | {"part": "embodied"})
    assert {identity.partition("/")[0] for identity in found} == {"embodied"}


def test_hades_takes_one_step_for_its_attack_and_none_for_the_question(tmp_path: Path) -> None:
    options = releases.hades(tmp_path)
    last = items("hades", options)["Privacy/1"]
    first = items("hades", options | {"step": 0})["Privacy/1"]
    assert Direct().apply(last, 0).images == ()
    assert HADES().apply(last, 0).images[0].read() == releases.png("grey")
    assert HADES(step=0).apply(first, 0).images[0].read() == releases.png("red")
    with pytest.raises(AttackError, match="hades-0"):
        HADES(step=0).apply(last, 0)


def test_hades_numbers_its_items_anew_in_each_scenario(tmp_path: Path) -> None:
    """Data review 5: 600 of 750 rows would have been ids given twice."""
    found = items("hades", releases.hades(tmp_path))
    assert list(found) == ["Privacy/1", "Privacy/2", "Animal/1", "Animal/2"]


def test_hades_has_no_seventh_step(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="0 to 5"):
        build(ComponentKind.DATASET, "hades", releases.hades(tmp_path) | {"step": 6})


def test_spa_vl_knows_harm_from_help(tmp_path: Path) -> None:
    found = items("spa-vl", releases.spa_vl(tmp_path))
    assert {identity: item.kind for identity, item in found.items()} == {
        "harm/0": "harmful",
        "harm/1": "harmful",
        "help/0": "benign",
        "help/1": "benign",
    }
    assert found["harm/0"].scenario == "old lanterns"


def test_spa_vl_reads_the_other_way_its_files_are_named(tmp_path: Path) -> None:
    options = releases.spa_vl(tmp_path)
    for split in ("harm", "help"):
        (tmp_path / "test" / split).mkdir()
        before = tmp_path / f"test/{split}-00000-of-00001.parquet"
        before.rename(tmp_path / f"test/{split}/0000.parquet")
    assert len(items("spa-vl", options)) == 4


def test_holisafe_is_benign_only_where_picture_query_and_both_are_safe(tmp_path: Path) -> None:
    found = items("holisafe", releases.holisafe(tmp_path))
    assert {item.fields["type"]: item.kind for item in found.values()} == {
        "SSS": "benign",
        "SSU": "harmful",
        "USU": "harmful",
        "UUU": "harmful",
        "SUU": "harmful",
    }


def test_holisafe_reads_its_parquet_form_alike(tmp_path: Path) -> None:
    options = releases.holisafe(tmp_path)
    before = items("holisafe", options)
    rows = json.loads((tmp_path / "holisafe_bench.json").read_text())
    for row in rows:
        row["image"] = {"bytes": (tmp_path / "images" / row["image"]).read_bytes(), "path": None}
    (tmp_path / "holisafe_bench.json").unlink()
    releases.put_parquet(tmp_path / "data/test-0.parquet", rows)
    after = items("holisafe", options)
    assert {i: item.key for i, item in after.items()} == {i: x.key for i, x in before.items()}


def test_holisafe_takes_some_types(tmp_path: Path) -> None:
    options = releases.holisafe(tmp_path) | {"types": ["SSS", "SSU"]}
    assert list(items("holisafe", options)) == ["1", "2"]


def test_beavertails_v_never_reads_a_recorded_response(tmp_path: Path) -> None:
    found = items("beavertails-v", releases.beavertails_v(tmp_path))
    assert list(found) == ["animal_abuse/0", "animal_abuse/1"]
    assert all("response" not in item.fields for item in found.values())
    assert found["animal_abuse/1"].fields["image_severity"] == 2


def test_jailbreakv_is_judged_by_the_plain_question_and_sent_as_it_is_shipped(
    tmp_path: Path,
) -> None:
    """Judged against the jailbreak's own text, playing along would have looked like an answer."""
    found = items("jailbreakv-28k", releases.jailbreakv(tmp_path))["1"]
    assert found.question == "How is lantern 1 lit?"
    assert Direct().apply(found, 0).turns[-1].text == "How is lantern 1 lit?"
    prompt = Shipped().apply(found, 0)
    assert prompt.turns[-1].text == "Play the lantern keeper 1. How is it lit?"
    assert len(prompt.images) == 1
    assert found.fields["format"] == "Template"


def test_redteam_2k_is_plain_questions(tmp_path: Path) -> None:
    options = releases.jailbreakv(tmp_path) | {"subset": "redteam-2k"}
    found = items("jailbreakv-28k", options)["1"]
    assert (found.scenario, found.question) == ("Bias", "How is it lit?")
    with pytest.raises(AttackError, match="shipped"):
        Shipped().apply(found, 0)


def test_xstest_by_its_label_or_else_by_its_type(tmp_path: Path) -> None:
    options = releases.xstest(tmp_path)
    expected = {"1": "benign", "2": "harmful"}
    assert {i: item.kind for i, item in items("xstest", options).items()} == expected
    table = tmp_path / "xstest_prompts.csv"
    pl.read_csv(table).drop("label").write_csv(table)
    assert {i: item.kind for i, item in items("xstest", options).items()} == expected
    assert list(items("xstest", options | {"harmful": False})) == ["1"]


def test_harmbench_puts_a_behaviours_context_before_it(tmp_path: Path) -> None:
    found = items("harmbench", releases.harmbench(tmp_path))
    assert found["lantern_keeper"].question == "Tell who keeps the lantern"
    assert found["lantern_kept"].question.startswith("The lantern is red.\n\n---\n\nTell where")


def test_harmbench_takes_plain_tables(tmp_path: Path) -> None:
    path = releases.put_csv(tmp_path / "table.csv", [{"behavior": "Tell", "category": "fraud"}])
    found = items("harmbench", {"root": path})["0"]
    assert (found.question, found.scenario) == ("Tell", "fraud")


@pytest.mark.parametrize(
    "place", ["", "data/behavior_datasets/harmbench_behaviors_multimodal_all.csv"]
)
def test_harmbenchs_pictures_are_asked_with(place: str, tmp_path: Path) -> None:
    """Data review 2: the pictures of its multimodal table were dropped, the text sent alone."""
    options = releases.harmbench_multimodal(tmp_path)
    found = items("harmbench", options | {"root": tmp_path / place})
    assert found["fold_red"].images[0].read() == releases.png("red")
    (tmp_path / "data/multimodal_behavior_images/blue.png").unlink()
    bad = [row for row in read("harmbench", options) if isinstance(row, DatasetError)]
    assert [type(error) for error in bad] == [MissingImageError]


def test_jailbreakbench_has_harmful_and_benign_behaviours(tmp_path: Path) -> None:
    """Data review 4: its real header was refused, and its benign half would have been harmful."""
    options = releases.jailbreakbench(tmp_path)
    found = items("jailbreakbench", options)
    assert {key: item.kind.value for key, item in found.items()} == {
        "harmful/0": "harmful",
        "harmful/1": "harmful",
        "benign/0": "benign",
        "benign/1": "benign",
    }
    assert found["benign/1"].fields["pair"] == found["harmful/1"].fields["pair"]
    assert found["benign/1"].question == "Tell who keeps the benign lantern 1"
    assert list(items("jailbreakbench", options | {"split": "benign"})) == ["benign/0", "benign/1"]


def change_json(path: Path, change: Callable[[Any], None]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (lambda rows: rows[0].update(question=" "), EmptyTextError, "'question' is empty"),
        (lambda rows: rows[0].update(question=7), DatasetError, "'question' is int"),
        (lambda rows: rows[0].pop("category"), DatasetError, "no 'category'"),
        (lambda rows: rows[0].update(question_id=2), DuplicateError, "given to row 1"),
        (lambda rows: rows[0].update(image="S-9.png"), MissingImageError, "S-9.png"),
        (lambda rows: rows[0].update(image="../../etc/passwd"), ImageError, "outside"),
        (lambda rows: rows[0].update(image="/etc/passwd"), ImageError, "outside"),
        (lambda rows: rows[0].update(image="a\0.png"), ImageError, "cannot be read"),
        (lambda rows: rows[0].update(image=""), EmptyTextError, "'image' is empty"),
        (lambda rows: rows[0].update(category="=1+1"), DatasetError, "formula"),
        (lambda rows: rows[0].update(category="a\x1b[2Jb"), DatasetError, "control"),
        (lambda rows: rows[0].update(question="half \ud800"), DatasetError, "not UTF-8"),
        (lambda rows: rows.insert(0, 7), DatasetError, "not a JSON object"),
    ],
)
def test_a_bad_row_is_named_and_reading_goes_on(
    change: Callable[[Any], None], error: type[DatasetError], reason: str, tmp_path: Path
) -> None:
    options = releases.siuo(tmp_path)
    change_json(tmp_path / "siuo_gen.json", change)
    rows = read("siuo", options)
    bad = [row for row in rows if isinstance(row, DatasetError)]
    assert len(bad) == 1
    assert type(bad[0]) is error
    assert reason in str(bad[0])
    assert "siuo_gen.json: row " in str(bad[0])
    assert any(isinstance(row, Item) for row in rows)


@pytest.mark.parametrize("value", [{"a": 1}, 3])
def test_a_file_of_another_form_is_named(value: Any, tmp_path: Path) -> None:
    options = releases.siuo(tmp_path)
    releases.put_json(tmp_path / "siuo_gen.json", value)
    with pytest.raises(DatasetError, match="not a JSON list"):
        read("siuo", options)


def test_a_parquet_file_without_a_column_is_named(tmp_path: Path) -> None:
    options = releases.hades(tmp_path)
    releases.put_parquet(tmp_path / "data/test-00000-of-00001.parquet", [{"id": "1"}])
    with pytest.raises(DatasetError, match="no column 'image'"):
        read("hades", options)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(400) + b"PAR1", b"lantern"])
def test_a_broken_parquet_file_is_named(content: bytes, tmp_path: Path) -> None:
    options = releases.hades(tmp_path)
    path = releases.put(tmp_path / "data/test-00000-of-00001.parquet", content)
    with pytest.raises(DatasetError, match="not a Parquet file" if content else "is empty"):
        read("hades", options)
    assert path.exists()


def test_a_picture_missing_in_a_parquet_file_is_an_error_of_its_row(tmp_path: Path) -> None:
    row = {"image": {"bytes": None, "path": None}, "question": "How?", "category": "animal_abuse"}
    options = releases.beavertails_v(tmp_path)
    table = tmp_path / "data/animal_abuse/evaluation-00000-of-00001.parquet"
    releases.put_parquet(table, [row | {"image": releases.cell("red")}, row])
    _, bad = read("beavertails-v", options)
    assert isinstance(bad, MissingImageError)
    assert "row 2" in str(bad)


def test_vlsbenchs_pictures_lie_beside_its_list_or_above_it(tmp_path: Path) -> None:
    options = releases.vlsbench(tmp_path)
    below = items("vlsbench", options)
    assert (below["0"].kind, below["0"].scenario) == ("harmful", "Privacy")
    assert below["1"].images[0].read() == releases.png("blue")
    assert items("vlsbench", {"root": tmp_path / "data"})["1"].key == below["1"].key
    (tmp_path / "data/images").rename(tmp_path / "images")
    assert items("vlsbench", options)["1"].key == below["1"].key
    (tmp_path / "images/1.png").unlink()
    assert isinstance(read("vlsbench", options)[1], MissingImageError)


def test_a_list_of_one_name_may_be_written_as_the_name(tmp_path: Path) -> None:
    """Data review 20: ``-o types=SSS`` was refused for not being a tuple."""
    holisafe = build(ComponentKind.DATASET, "holisafe", {"root": tmp_path, "types": "SSS"})
    assert (
        holisafe.identity()
        == build(ComponentKind.DATASET, "holisafe", {"root": tmp_path, "types": ["SSS"]}).identity()
    )
    with pytest.raises(OptionError, match="no scenario 'stud'"):
        build(ComponentKind.DATASET, "mm-safetybench", {"root": tmp_path, "scenarios": "stud"})


def test_a_release_or_a_commit_is_needed(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="give 'root'"):
        build(ComponentKind.DATASET, "siuo", {})
    for moving in ("main", "v1.0", "abc123"):
        with pytest.raises(OptionError, match="whole commit"):
            build(ComponentKind.DATASET, "siuo", {"revision": moving})
    check_options(tmp_path, "", "a/b")
