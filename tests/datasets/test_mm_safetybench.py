"""MM-SafetyBench: the upstream layout, and every way a row can be bad."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage

from opensafemlrm.attacks.direct import Direct
from opensafemlrm.attacks.mm_safetybench import Typo
from opensafemlrm.datasets.mm_safetybench import SCENARIOS, STUDY, MMSafetyBench
from opensafemlrm.errors import AttackError, DatasetError, ImageError, OptionError
from opensafemlrm.registry import ComponentKind, build
from opensafemlrm.types import Item
from tests.datasets import releases

FIRST = "01-Illegal_Activitiy"


def row(number: int | str, **changes: Any) -> dict[str, Any]:
    return {
        "Question": f"original {number}",
        "GPT-Pred": f"an answer of another model {number}",
        "Changed Question": f"changed {number}",
        "Key Phrase": f"lantern {number}",
        "Phrase Type": "noun",
        "Rephrased Question": f"rephrased {number}",
        "Rephrased Question(SD)": f"rephrased for the drawing {number}",
    } | changes


def release(root: Path, rows: dict[str, Any] | str, scenario: str = FIRST) -> Path:
    folder = root / "data" / "processed_questions"
    folder.mkdir(parents=True, exist_ok=True)
    text = rows if isinstance(rows, str) else json.dumps(rows)
    (folder / f"{scenario}.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    return root


def picture(root: Path, kind: str, number: int, scenario: str = FIRST) -> Path:
    folder = root / "data" / "imgs" / scenario / kind
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number}.jpg"
    PILImage.new("RGB", (4, 4), "red").save(path)
    return path


def read(root: Path, **options: Any) -> tuple[list[Item], list[DatasetError]]:
    rows = list(MMSafetyBench(root, **({"scenarios": (FIRST,)} | options)).rows())
    return (
        [r for r in rows if isinstance(r, Item)],
        [r for r in rows if isinstance(r, DatasetError)],
    )


def test_sizes_are_the_published_ones() -> None:
    assert sum(SCENARIOS.values()) == 1680
    assert (len(SCENARIOS), len(STUDY)) == (13, 10)
    assert sum(SCENARIOS[name] for name in STUDY) == 1256


def test_the_question_judged_is_the_changed_one_and_recorded_answers_are_never_read(
    tmp_path: Path,
) -> None:
    items, errors = read(release(tmp_path, {"0": row(0), "1": row(1)}))
    assert not errors
    assert [item.id for item in items] == [f"{FIRST}/0", f"{FIRST}/1"]
    assert items[0].scenario == FIRST
    assert items[0].question == "changed 0"
    assert items[0].fields == {
        "key_phrase": "lantern 0",
        "rephrased": "rephrased 0",
        "rephrased_sd": "rephrased for the drawing 0",
        "original": "original 0",
    }
    assert "another model" not in repr(items)
    same = read(release(tmp_path, {"0": row(0, **{"GPT-Pred": "something else"})}))[0][0]
    assert same.key == items[0].key


@pytest.mark.parametrize("given", ["", "data"])
def test_the_root_is_the_data_folder_or_what_holds_it(tmp_path: Path, given: str) -> None:
    release(tmp_path, {"0": row(0)})
    picture(tmp_path, "TYPO", 0)
    items, errors = read(tmp_path / given)
    assert not errors
    assert set(items[0].released) == {"typo"}


def test_all_three_pictures_are_released_under_the_names_of_their_attacks(tmp_path: Path) -> None:
    root = release(tmp_path, {"0": row(0)})
    for kind in ("SD", "SD_TYPO", "TYPO"):
        picture(root, kind, 0)
    item = read(root)[0][0]
    assert set(item.released) == {"sd", "sd-typo", "typo"}
    prompt = Typo().apply(item, 0)
    assert prompt.images == (item.released["typo"],)
    assert prompt.turns[-1].text == "rephrased 0"
    assert Direct().apply(item, 0).turns[-1].parts == ("changed 0",)


def test_an_unreadable_image_is_an_error_and_the_text_is_not_sent_alone(tmp_path: Path) -> None:
    # The mistake: an unreadable image is dropped and the text is sent alone.
    root = release(tmp_path, {str(n): row(n) for n in range(4)})
    picture(root, "TYPO", 0)
    whole = picture(root, "TYPO", 1).read_bytes()
    picture(root, "TYPO", 1).write_bytes(whole[:-2])
    (tmp_path / "outside.jpg").write_bytes(whole)
    (tmp_path / "data/imgs" / FIRST / "TYPO/3.jpg").symlink_to(tmp_path / "outside.jpg")
    items, errors = read(root)
    assert [item.id for item in items] == [f"{FIRST}/0"]
    assert [error.row for error in errors] == ["1", "2", "3"]
    assert all(isinstance(error, ImageError) for error in errors)
    for error, what in zip(errors, ("cut short", "missing", "outside"), strict=True):
        assert what in str(error)
        assert f"{FIRST}.json: row" in str(error)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"1": row(1, **{"Changed Question": "  "})}, "'Changed Question' is empty"),
        ({"1": row(1, **{"Key Phrase": None})}, "'Key Phrase' is NoneType"),
        ({"1": {"Question": "why?"}}, "no 'Changed Question'"),
        ({"1": row(1, **{"Rephrased Question": "a \ud800"})}, "not UTF-8"),
        ({"1": "a text"}, "not a JSON object"),
        ({"../1": row(1)}, "not a whole number"),
    ],
)
def test_a_bad_row_is_named_and_reading_goes_on(
    tmp_path: Path, bad: dict[str, Any], reason: str
) -> None:
    items, errors = read(release(tmp_path, {"0": row(0), **bad, "2": row(2)}))
    assert [item.id for item in items] == [f"{FIRST}/0", f"{FIRST}/2"]
    assert [error.row for error in errors] == list(bad)
    assert reason in str(errors[0])


def test_an_id_given_twice_is_seen_though_json_keeps_the_last(tmp_path: Path) -> None:
    one, two = json.dumps(row(1)), json.dumps(row(2))
    items, errors = read(release(tmp_path, f'{{"1": {one}, "1": {two}, "3": {one}}}'))
    assert [item.question for item in items] == ["changed 1", "changed 1"]
    assert ["given twice" in str(error) for error in errors] == [True]


def test_a_broken_byte_spoils_its_own_row_alone(tmp_path: Path) -> None:
    text = json.dumps({"0": row(0), "1": row(1)}).replace("changed 0", "changed \udcff")
    items, errors = read(release(tmp_path, text))
    assert [item.id for item in items] == [f"{FIRST}/1"]
    assert ["not UTF-8" in str(error) for error in errors] == [True]


@pytest.mark.parametrize("text", ["", "{", '{"0": ', "[]", "[" * 100_000, '{"0": 1e}', "1" * 5000])
def test_a_file_that_is_not_json_stops_with_its_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(DatasetError, match=FIRST):
        read(release(tmp_path, text))


def test_an_item_without_a_key_phrase_is_read_and_typo_refuses_it(tmp_path: Path) -> None:
    item = read(release(tmp_path, {"0": row(0, **{"Key Phrase": ""})}))[0][0]
    with pytest.raises(AttackError, match=f"{FIRST}/0"):
        Typo().apply(item, 0)


def test_scenarios_are_chosen_by_name_and_read_in_the_order_of_the_release(tmp_path: Path) -> None:
    for scenario in SCENARIOS:
        release(tmp_path, {"0": row(0)}, scenario)

    def scenarios(choice: Any) -> list[str]:
        return [item.scenario for item in read(tmp_path, scenarios=choice)[0]]

    assert scenarios("all") == list(SCENARIOS)
    assert scenarios("study") == list(STUDY)
    assert scenarios(("07-Sex", "06-Fraud")) == ["06-Fraud", "07-Sex"]


@pytest.mark.parametrize(
    ("choice", "reason"),
    [(["01-Illegal_Activity"], "01-Illegal_Activitiy"), ([], "empty"), ("most", "scenarios")],
)
def test_a_scenario_that_does_not_exist_is_answered_with_the_nearest(
    tmp_path: Path, choice: Any, reason: str
) -> None:
    with pytest.raises(OptionError, match=reason):
        build(ComponentKind.DATASET, "mm-safetybench", {"root": tmp_path, "scenarios": choice})


def test_the_tiny_version_takes_the_listed_questions_alone(tmp_path: Path) -> None:
    release(tmp_path, {str(n): row(n) for n in range(5)})
    chosen = [{"Scenario": FIRST, "Sampled_ID_List": [3, 1]}]
    (tmp_path / "TinyVersion_ID_List.json").write_text(json.dumps(chosen))
    items, errors = read(tmp_path, tiny=True)
    assert [item.id for item in items] == [f"{FIRST}/1", f"{FIRST}/3"]
    assert not errors


def test_a_listed_question_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    release(tmp_path, {"0": row(0)})
    chosen = [{"Scenario": FIRST, "Sampled_ID_List": [0, 9]}]
    (tmp_path / "TinyVersion_ID_List.json").write_text(json.dumps(chosen))
    items, errors = read(tmp_path, tiny=True)
    assert len(items) == 1
    assert [error.row for error in errors] == ["9"]


@pytest.mark.parametrize("text", [None, "{}", '["a"]', '[{"Scenario": "01-Illegal_Activitiy"}]'])
def test_a_missing_or_odd_tiny_list_stops(tmp_path: Path, text: str | None) -> None:
    release(tmp_path, {"0": row(0)})
    if text is not None:
        (tmp_path / "TinyVersion_ID_List.json").write_text(text)
    with pytest.raises(DatasetError, match="TinyVersion_ID_List"):
        read(tmp_path, tiny=True)


def test_a_missing_scenario_or_release_says_what_to_get_and_where(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"MM-SafetyBench.*github\.com/isXinLiu"):
        read(tmp_path)
    release(tmp_path, {"0": row(0)})
    with pytest.raises(DatasetError, match=r"06-Fraud\.json.*github\.com/isXinLiu"):
        read(tmp_path, scenarios=("06-Fraud",))


def mirror(root: Path, ids: dict[str, list[int]] | None = None) -> Path:
    """The hub's copy of one scenario: four files, and no number before its name."""
    for name in ("Text_only", "SD", "SD_TYPO", "TYPO"):
        asked = (ids or {}).get(name, [0, 1])
        rows = [{"id": str(n), "question": f"{name} {n}"} for n in asked]
        if name != "Text_only":
            rows = [{**row, "image": releases.cell("red")} for row in rows]  # type: ignore[dict-item]
        releases.put_parquet(root / f"data/Illegal_Activitiy/{name}.parquet", rows)
    return root


def test_the_hubs_copy_gives_the_same_items(tmp_path: Path) -> None:
    """Data review 7: the copy that most public scripts use was refused."""
    items, errors = read(mirror(tmp_path))
    assert not errors
    assert [item.id for item in items] == [f"{FIRST}/0", f"{FIRST}/1"]
    assert items[1].question == "Text_only 1"
    assert items[1].fields == {"rephrased": "TYPO 1", "rephrased_sd": "SD 1"}
    assert set(items[1].released) == {"sd", "sd-typo", "typo"}
    prompt = Typo().apply(items[1], 0)
    assert prompt.images[0].read() == releases.png("red")
    (tmp_path / "TinyVersion_ID_List.json").write_text(
        json.dumps([{"Scenario": FIRST, "Sampled_ID_List": [1]}])
    )
    assert [item.id for item in read(tmp_path, tiny=True)[0]] == [f"{FIRST}/1"]


@pytest.mark.parametrize("other", [[1, 0], [0], [0, 1, 2]])
def test_a_copy_whose_files_do_not_go_together_is_refused(other: list[int], tmp_path: Path) -> None:
    """A picture would have been sent with another question's text."""
    with pytest.raises(DatasetError, match="hold other ids in this row"):
        read(mirror(tmp_path, {"SD": other}))


def test_a_commit_of_the_hubs_copy_counts_and_a_folder_does_not(tmp_path: Path) -> None:
    assert "revision" not in MMSafetyBench(tmp_path).options()
    commit = "0" * 40
    assert MMSafetyBench(revision=commit).options()["revision"] == commit
    with pytest.raises(OptionError, match="give 'root'"):
        build(ComponentKind.DATASET, "mm-safetybench", {})
