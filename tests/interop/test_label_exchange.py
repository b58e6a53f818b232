"""Labels go out as CSV and as a validation set of Inspect Scout, and come back as they were."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import opensafemlrm as osm
from opensafemlrm.cli import app
from opensafemlrm.errors import ImportDataError
from opensafemlrm.interop.label_exchange import import_labels, label_table, validation_table
from opensafemlrm.store import Store, labels
from opensafemlrm.store.labels import PersonLabel, put_labels, unit_of
from opensafemlrm.types import Part


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    osm.evaluate(
        osm.Study(models=["sim/qwen2.5-vl-7b"], datasets=["canary"], judge="canary", limit=4), path
    )
    return path


def say(store: Store, *said: tuple[str, bool | None], note: str = "") -> list[bytes]:
    """Give the replies one label each, by a labeller's name."""
    keys = [row[0] for row in store.connection.execute("SELECT key FROM generations ORDER BY key")]
    given = []
    for number, (name, unsafe) in enumerate(said):
        unit = unit_of(store, keys[number % len(keys)], Part.ANSWER)
        assert unit is not None
        place = (unit.generation, Part.ANSWER, name)
        given.append(
            PersonLabel(*place, unsafe, note, unit.text, "1.6", understood=False, created=100.0)
        )
    put_labels(store, given)
    return keys


def test_every_label_comes_back_as_it_was(store: Path, tmp_path: Path) -> None:
    with Store.open(store, "write") as opened:
        say(opened, ("ann", True), ("ann", False), ("=cmd()", None), note="-1+1, why; \n two lines")
        before = labels.labels(opened.connection)
    result = CliRunner().invoke(app, ["export", "labels", str(store), str(tmp_path / "l.csv")])
    assert result.exit_code == 0, result.output
    assert "'=cmd()" in (tmp_path / "l.csv").read_text()  # no formula of a spreadsheet
    with Store.open(store, "write") as opened:
        opened.connection.execute("DELETE FROM labels")
    arguments = ["import", "labels", str(tmp_path / "l.csv"), "--store", str(store)]
    told = CliRunner().invoke(app, arguments)
    assert "3 labels came into the store" in told.stderr, told.output
    with Store.open(store) as opened:
        after = labels.labels(opened.connection)
    assert after == before


def test_no_text_of_a_reply_leaves_with_the_labels(store: Path) -> None:
    with Store.open(store, "write") as opened:
        say(opened, ("ann", True))
        table = label_table(opened)
        (text,) = opened.connection.execute("SELECT text FROM labels").fetchone()
    assert text[:40] not in table.write_csv()
    assert set(table["text_sha256"].str.len_chars()) == {64}


def test_a_label_comes_to_its_own_text_alone(store: Path, tmp_path: Path) -> None:
    with Store.open(store, "write") as opened:
        keys = say(opened, ("ann", True), ("ann", False))
        label_table(opened).write_csv(tmp_path / "l.csv")
        opened.connection.execute("DELETE FROM labels")
        opened.connection.execute("UPDATE generations SET text = 'anew' WHERE key = ?", keys[:1])
        imported = import_labels(tmp_path / "l.csv", opened)
        assert (imported.labels, imported.left_out) == (1, 1)
        assert "1 of replies that this store has not" in str(imported)
        assert [one.generation for one in labels.labels(opened.connection)] == [keys[1]]


def test_a_validation_set_is_what_inspect_scout_reads(store: Path) -> None:
    """``id`` and ``target``, booleans as words; ties and what nobody could tell are left out."""
    with Store.open(store, "write") as opened:
        said = [("ann", True), ("ann", False), ("ann", True), ("ann", None)]
        keys = say(opened, *said, ("bob", True), ("bob", False), ("bob", False))
        table = validation_table(opened, "answer")
    rows = list(csv.DictReader(io.StringIO(table.write_csv())))
    assert rows == [
        {"id": keys[0].hex().upper(), "target": "true"},
        {"id": keys[1].hex().upper(), "target": "false"},
    ]


def test_a_validation_set_comes_in_under_a_name(store: Path, tmp_path: Path) -> None:
    with Store.open(store, "write") as opened:
        key = say(opened)[0].hex().upper()
        (tmp_path / "v.csv").write_text(f"id,target,split\n{key},True,dev\n{'0' * 32},False,\n")
        imported = import_labels(tmp_path / "v.csv", opened, "scout", "full")
        assert (imported.labels, imported.left_out) == (1, 1)
        (label,) = labels.labels(opened.connection)
        assert (label.labeller, label.part, label.unsafe) == ("scout", Part.FULL, True)
        with pytest.raises(ImportDataError, match="--annotator"):
            import_labels(tmp_path / "v.csv", opened)


def test_what_a_person_said_later_is_not_replaced(store: Path, tmp_path: Path) -> None:
    """An older row, and a set without dates or notes, took careful notes away."""
    with Store.open(store, "write") as opened:
        say(opened, ("ann", True))
        (before,) = labels.labels(opened.connection)
        key = before.generation.hex().upper()
        for rows in (
            f"sample,label,created,labeller,part\n{key},safe,50,ann,{before.part}\n",
            f"id,target\n{key},false\n",
        ):
            (tmp_path / "l.csv").write_text(rows)
            imported = import_labels(tmp_path / "l.csv", opened, "ann", before.part.value)
            assert (imported.labels, imported.older) == (0, 1)
            assert "as new or newer" in str(imported)
        assert labels.labels(opened.connection) == [before]


@pytest.mark.parametrize("turn", [1, -1], ids=["later first", "later last"])
@pytest.mark.parametrize("other", ["5", ""], ids=["dated", "undated"])
def test_of_two_rows_of_a_label_the_later_one_counts(
    store: Path, tmp_path: Path, turn: int, other: str
) -> None:
    """Whichever stands first in the file, and also before a row that does not say when."""
    with Store.open(store, "write") as opened:
        key = say(opened)[0].hex().upper()
        rows = [f"{key},safe,9,ann,full,why\n", f"{key},unsafe,{other},ann,full,\n"][::turn]
        header = "sample,label,created,labeller,part,note\n"
        (tmp_path / "l.csv").write_text(header + "".join(rows))
        imported = import_labels(tmp_path / "l.csv", opened)
        assert (imported.labels, imported.older) == (1, 1)
        (label,) = labels.labels(opened.connection)
        assert (label.unsafe, label.note, label.created) == (False, "why", 9.0)


@pytest.mark.parametrize("length", [10_001, 131_073, 17 * 1024 * 1024])
@pytest.mark.parametrize("column", ["sample", "labeller", "label", "part", "note", "split"])
def test_a_cell_that_is_too_long_is_named(
    store: Path, tmp_path: Path, column: str, length: int
) -> None:
    """csv's own limit named no row: "field larger than field limit"."""
    cells = {"sample": "00", "labeller": "ann", "label": "safe", "part": "full", "note": "why"}
    rows = [cells, {**cells, column: "x" * length}]
    names = [*cells, "split"]
    with (tmp_path / "l.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    with Store.open(store, "write") as opened:
        with pytest.raises(ImportDataError, match=f"l.csv, row 2, column {column}: it has") as told:
            import_labels(tmp_path / "l.csv", opened)
        assert len(str(told.value)) < 400
        assert labels.labels(opened.connection) == []


def test_a_note_of_ten_thousand_characters_comes_in(store: Path, tmp_path: Path) -> None:
    with Store.open(store, "write") as opened:
        key = say(opened)[0].hex().upper()
        (tmp_path / "l.csv").write_text(f"sample,label,note\n{key},safe,{'ä' * 10_000}\n")
        assert import_labels(tmp_path / "l.csv", opened, "ann").labels == 1


def test_a_file_of_labels_has_a_bound(store: Path, tmp_path: Path) -> None:
    with (tmp_path / "l.csv").open("w") as file:
        file.truncate(64 * 1024 * 1024 + 1)
    with (
        Store.open(store, "write") as opened,
        pytest.raises(ImportDataError, match=r"l.csv: it has 67,108,865 bytes; .* split"),
    ):
        import_labels(tmp_path / "l.csv", opened)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("key,label\n", "sample and label, or id and target"),
        ("", "there are: none"),
        ("sample,label,label\n00,safe,unsafe\n", "two columns have the same name: 'label'"),
        ("sample,label\nzz,safe\n", "row 1: 'zz' is no key"),
        ("sample,label\n00,harmless\n", "row 1, column label: 'harmless' is none of safe"),
        ("sample,label,understood\n00,safe,maybe\n", "column understood: 'maybe'"),
        ("sample,label,part\n00,safe,tail\n", "column part: 'tail'"),
        ("sample,label,created\n00,safe,today\n", "column created: 'today'"),
        ("sample,label,created\n00,safe,inf\n", "column created: 'inf'"),
        ("sample,label,created\n00,safe,nan\n", "column created: 'nan'"),
        ("sample,label,created\n00,safe,-1e300\n", "column created: '-1e300'"),
        ("sample,label,labeller\n00,safe,a\0b\n", "labeller: a name cannot hold"),
        ("sample,label,response_class\n00,safe,\x1b[2J9\n", "column response_class"),
        ("sample,label,labeller\n00,safe,sk-planted-7f3a9b2c\n", "labeller: this looks like a key"),
        ("id,target\n00,\n", "column target: it is empty"),
        ("id,target\n00,0.5\n", "column target: '0.5'"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_taken(
    store: Path, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "l.csv").write_text(text)
    with Store.open(store, "write") as opened:
        with pytest.raises(ImportDataError, match=said.replace("(", r"\(")):
            import_labels(tmp_path / "l.csv", opened, "ann")
        assert labels.labels(opened.connection) == []


def test_export_takes_the_format_of_the_ending(store: Path, tmp_path: Path) -> None:
    with Store.open(store, "write") as opened:
        say(opened, ("ann", True))
    target = tmp_path / "l.parquet"
    assert CliRunner().invoke(app, ["export", "validation", str(store), str(target)]).exit_code == 0
    assert pl.read_parquet(target).columns == ["id", "target"]


@pytest.mark.parametrize(
    ("what", "options", "said"),
    [
        ("labels", ["--part", "reasoning"], "leave out --part;"),
        ("labels", ["--scenario", "sex"], "leave out --scenario;"),
        ("validation", ["--scenario", "sex"], "leave out --scenario;"),
        ("validation", ["--part", "answer", "--scenario", "sex"], "one of --scenario, --part;"),
    ],
)
def test_a_choice_that_leaves_no_label_is_refused(
    store: Path, tmp_path: Path, what: str, options: list[str], said: str
) -> None:
    """A header alone was written over the earlier file, or texts were said not to be known."""
    with Store.open(store, "write") as opened:
        (key,) = say(opened, ("ann", True))[:1]
        (scenario,) = opened.connection.execute(
            "SELECT i.scenario FROM items i JOIN generations g ON g.item = i.key WHERE g.key = ?",
            (key,),
        ).fetchone()
        others = {row[0] for row in opened.connection.execute("SELECT scenario FROM items")}
    other = min(others - {scenario})
    (tmp_path / "l.csv").write_text("kept")
    chosen = [other if option == "sex" else option for option in options]
    arguments = ["export", what, str(store), str(tmp_path / "l.csv"), *chosen]
    error = str(CliRunner().invoke(app, arguments).exception)
    assert "no label here is of all that you chose: " in error
    assert said in error
    assert "nothing was written" in error
    assert (tmp_path / "l.csv").read_text() == "kept"
