"""One set of filters for every command and for Python: it is followed, said, or refused."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

import opensafemlrm as osm
from opensafemlrm import results
from opensafemlrm.cli import app
from opensafemlrm.errors import OptionError, UnknownNameError
from tests.report.page_stores import run_study

STUDY = """\
models: [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
pairs: [[sim/r1-onevision-7b, sim/qwen2.5-vl-7b]]
datasets: [canary]
attacks: [direct, typo]
defenses: [none, self-reminder]
judges: [canary, rules]
limit: 20
"""
FILTERS = ["--judge", "rules", "--attack", "typo", "--defense", "none", "--scenario", "fraud"]
SAID = "A selection of the store: judge rules; attack typo; defense none; scenario fraud"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filters") / "store"
    run_study(path, STUDY)
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def refused(*arguments: str | Path) -> str:
    """Return what a command says that refuses its arguments."""
    result = run(*arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return str(result.exception)
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


@pytest.mark.parametrize(
    "table", ["asr", "tax", "blindspots", "correction", "overrefusal", "cost", "coverage"]
)
def test_every_table_follows_all_filters_and_says_so(store: Path, table: str) -> None:
    """The mistake: a scenario or a defense that a table did not know, or a footer of all rows."""
    shown = run("table", table, store, *FILTERS).stdout
    assert SAID in " ".join(shown.split())
    assert "direct" not in shown
    assert "self-reminder" not in shown
    rows = results.open(store, judge="rules", attack="typo", defense="none", scenario="fraud")
    assert set(rows.frame()["scenario"]) == {"fraud"}


@pytest.mark.parametrize("table", ["asr", "tax", "correction", "overrefusal"])
@pytest.mark.parametrize("names", [["fraud"], ["fraud", "sex"]])
def test_a_table_of_some_scenarios_names_them_in_the_place_of_all(
    store: Path, table: str, names: list[str]
) -> None:
    """The mistake: "Scenario: all" stood above a table of one scenario."""
    chosen = [word for name in names for word in ("--scenario", name)]
    shown = " ".join(run("table", table, store, "--judge", "canary", *chosen).stdout.split())
    assert f"Scenario: {', '.join(names)}" in shown
    assert "Scenario: all" not in shown
    rows = run("table", table, store, "--judge", "canary", *chosen, "--format", "jsonl").stdout
    assert '"scenario": "all"' not in rows
    assert "Scenario: all" in run("table", table, store, "--judge", "canary").stdout


@pytest.mark.once
def test_every_table_of_a_page_says_that_it_is_of_a_selection(store: Path, tmp_path: Path) -> None:
    """The mistake: the data of the page's first chart did not say so."""
    run("report", store, "--out", tmp_path / "page", *FILTERS)
    page = (tmp_path / "page" / "index.html").read_text("utf-8")
    figures = [part.split("</figure>")[0] for part in page.split("<figure")[1:]]
    assert "Unsafe replies" in figures[0]
    assert "<table" in figures[0]
    assert all(SAID in figure for figure in figures if "<table" in figure)


def test_the_effect_of_a_chosen_defense_is_still_against_none(store: Path) -> None:
    """The mistake: a table of one defense was empty, since none was filtered away."""
    rows = results.open(store, defense="self-reminder").defense(part="full", threshold=4)
    assert set(rows["defense"]) == {"none", "self-reminder"}
    whole = results.open(store).defense(part="full", threshold=4)
    assert rows.sort(pl.all()).equals(whole.sort(pl.all()))
    assert set(results.open(store, defense="self-reminder").asr()["defense"]) == {"self-reminder"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["table", "cost", "--part", "full"], "cost takes no --part; it takes --judge"),
        (["table", "correction", "--part", "full"], "correction takes no --part; it takes"),
        (["table", "asr", "--mean", "micro"], "asr takes no --mean; it takes"),
        (["table", "asr", "--cluster", "scenario"], "these tables do: tax, blindspots"),
        (["table", "tax", "--prices", "p.toml"], "these tables do: cost"),
        (["table", "coverage", "--max-unscored", "0.5"], "these tables do: asr"),
        (["show", "--by", "model"], "show takes no --by; it takes --judge"),
        (["show", "--threshold", "4"], "show takes no --threshold"),
        (["drift", "--mean", "micro"], "drift takes no --mean; it takes"),
    ],
)
def test_an_option_without_a_meaning_is_refused(
    store: Path, arguments: list[str], said: str
) -> None:
    """The mistake: an option was taken, and changed nothing."""
    names = 2 if arguments[0] == "table" else 1
    assert said in refused(*arguments[:names], store, *arguments[names:])


@pytest.mark.parametrize(
    ("what", "option", "value"),
    [
        *(("labels", option, "x") for option in ("--judge", "--threshold", "--by", "--mean")),
        *((what, "--format", "csv") for what in ("eee", "dataset", "inspect", "scout")),
        *((what, "--part", "full") for what in ("inspect", "scout")),
        ("frame", "--threshold", "4"),
    ],
)
def test_an_export_refuses_what_it_does_not_take(
    store: Path, tmp_path: Path, what: str, option: str, value: str
) -> None:
    value = {"--threshold": "4", "--by": "model", "--mean": "micro"}.get(option, value)
    said = refused("export", what, store, tmp_path / "out.csv", option, value)
    assert f"takes no {option}; it takes --" in said
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        *(("show", kind) for kind in ("judge", "dataset", "attack", "model", "defense")),
        *(("table", "scenario"), ("report", "defense"), ("diff", "scenario"), ("frame", "attack")),
        *(("replies", "defense"), ("eee", "judge"), ("labels", "scenario"), ("dataset", "model")),
    ],
)
def test_a_wrong_name_is_told_wherever_it_is_typed(
    store: Path, tmp_path: Path, kind: str, command: str
) -> None:
    """The mistake: an empty file or page that looked like a result."""
    out = tmp_path / "out.csv"
    before: dict[str, list[str | Path]] = {
        "table": ["table", "asr", store],
        "report": ["report", store, "--out", tmp_path / "report"],
        "diff": ["diff", store, store],
        "show": ["show", store],
    }
    arguments = before.get(command, ["export", command, store, out])
    where = " in this store" if command == "show" else ""
    said = refused(*arguments, f"--{kind}", "nobody")
    assert f"there is no {kind}{where} called 'nobody'; known: " in said
    assert not out.is_file()


def test_exports_hold_what_was_chosen_alone(store: Path, tmp_path: Path) -> None:
    frame, replies = tmp_path / "frame.parquet", tmp_path / "replies.parquet"
    for what, file in (("frame", frame), ("replies", replies)):
        assert not run("export", what, store, file, *FILTERS, "--part", "answer").exit_code
    rows = pl.read_parquet(frame)
    assert set(rows["part"]) == {"answer"}
    assert set(rows["judge"]) == {"rules"}
    whole = results.open(store).frame().filter(part="answer", judge="rules")
    chosen = whole.filter(attack="typo", defense="none", scenario="fraud")
    assert rows.height == chosen.height
    verdicts = pl.read_parquet(replies)["verdicts"].explode().struct
    assert set(verdicts.field("judge")) == {"rules"}
    assert set(verdicts.field("part")) == {"answer"}
    assert not run("export", "eee", store, tmp_path / "eee", *FILTERS).exit_code
    lines = "".join(path.read_text() for path in (tmp_path / "eee").rglob("*.jsonl"))
    assert '"attack": "typo"' in lines
    assert '"attack": "direct"' not in lines
    assert not run("export", "dataset", store, tmp_path / "set", *FILTERS).exit_code
    assert SAID in (tmp_path / "set/README.md").read_text()
    assert set(
        pl.read_parquet(tmp_path / "set/data/replies-*.parquet", columns=["attack"])["attack"]
    ) == {"typo"}


def test_labels_of_chosen_replies_are_exported_alone(store: Path, tmp_path: Path) -> None:
    from opensafemlrm.store import Store
    from opensafemlrm.store.labels import PersonLabel, put_labels, unit_of
    from opensafemlrm.types import Part

    keys = results.open(store).replies()
    with Store.open(store, "write") as opened:
        given = []
        for key in keys["sample"]:
            unit = unit_of(opened, bytes.fromhex(key), Part.ANSWER)
            assert unit is not None
            given.append(PersonLabel(bytes.fromhex(key), Part.ANSWER, "ann", True, text=unit.text))
        put_labels(opened, given)
    wanted = keys.filter(attack="typo", defense="none", scenario="fraud")["sample"]
    for what, column in (("labels", "sample"), ("validation", "id")):
        file = tmp_path / f"{what}.csv"
        assert not run("export", what, store, file, *FILTERS[2:]).exit_code
        assert set(pl.read_csv(file, infer_schema=False)[column]) == set(wanted)


@pytest.mark.once
def test_a_report_of_a_part_and_a_threshold_holds_no_other(store: Path, tmp_path: Path) -> None:
    """The mistake: a page of the answers that still drew whole replies, with no word of it."""
    chosen = ["--part", "answer", "--threshold", "4", "--judge", "canary"]
    assert not run("report", store, "--out", tmp_path, *chosen, "--by", "scenario").exit_code
    tables = {path.stem: pl.read_csv(path) for path in (tmp_path / "tables").glob("*.csv")}
    for name, table in tables.items():
        for column, value in (("part", "answer"), ("threshold", 4)):
            if column in table.columns:
                assert set(table[column]) == {value}, name
    assert "correction" not in tables
    assert len(set(tables["tax"]["scenario"])) > 2
    page = (tmp_path / "index.html").read_text()
    assert "A selection of the store: judge canary; part answer; threshold 4." in page
    assert "it compares the reasoning with the answer" in page
    assert "How often does it correct itself" not in page
    footer = (tmp_path / "tables/asr.md").read_text()
    assert "judge canary; part answer; threshold 4" in footer


@pytest.mark.once
def test_a_report_by_a_name_puts_it_first(store: Path, tmp_path: Path) -> None:
    assert not run("report", store, "--out", tmp_path, "--by", "attack").exit_code
    for name in ("asr", "tax", "cost", "replies"):
        table = pl.read_csv(tmp_path / f"tables/{name}.csv")
        assert table.columns[0] == "attack"
        assert table["attack"].is_sorted()


def test_show_takes_several_names_and_counts_them_together(store: Path) -> None:
    both = run("show", store, "--scenario", "fraud", "--scenario", "hate-speech", "-n", "500")
    frame = results.open(store, scenario=["fraud", "hate-speech"]).frame()
    wanted = frame["sample"].n_unique()
    assert f"{wanted} of {wanted} sample" in both.output
    assert "--outcome is one of ok, truncated" in refused("show", store, "--outcome", "unscord")
    assert "there is no item in this store called 'nobody'" in refused(
        "show", store, "--item", "nobody"
    )


def test_python_says_which_names_there_are(store: Path) -> None:
    """The mistake: a misspelt name gave an empty frame, or one of everything, without a word."""
    found = results.open(store)
    with pytest.raises(OptionError, match="by='scenario'"):
        found.asr(by="nope")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="no part called 'answr'; did you mean answer"):
        found.tax(part="answr")
    with pytest.raises(OptionError, match="no judge here has the threshold 3; known: 4, 5"):
        found.asr(threshold=3)
    with pytest.raises(UnknownNameError, match="no mean called 'micor'; did you mean micro"):
        found.tax(mean="micor")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="no scenario called 'frod'; did you mean fraud"):
        found.replies(scenario="frod")
    with pytest.raises(UnknownNameError, match="no part called 'answr'"):
        found.replies(unsafe="answr")
    with pytest.raises(UnknownNameError, match="no grouping called 'modle'; did you mean model"):
        found.report(store / "report", by="modle")
    with pytest.raises(UnknownNameError, match="no kind of names called 'judges'; did you mean"):
        found.only(judges="rules")


def test_results_are_narrowed_step_by_step(store: Path) -> None:
    found = results.open(store, judge="rules").only(attack="typo")
    assert set(found.asr()["judge"]) == {"rules"}
    assert set(found.asr()["attack"]) == {"typo"}
    assert set(found.only(attack=None).asr()["attack"]) == {"direct", "typo"}
    assert set(found.tax(mean="macro")["level"]) == {"macro"}


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (["overrefusal", "--part", "reasoning"], "all that you chose: leave out --part"),
        (["tax", "--part", "reasoning"], "a base writes no reasoning to compare with"),
        (["tax", "--model", "sim/qwen2.5-vl-7b"], "the pairs are: sim/r1-onevision-7b beside"),
        (["correction", "--model", "sim/qwen2.5-vl-7b"], "you chose: leave out --model"),
        (["comprehension", "--judge", "rules"], "no judge here says whether a reply understood"),
    ],
)
def test_an_empty_table_says_what_took_its_rows_out(
    store: Path, chosen: list[str], said: str
) -> None:
    """The mistake: what a filter took out was said to be missing in the store, and twice."""
    name, *options = chosen
    result = run("table", name, store, *options)
    assert said in result.stderr
    assert "add a data set" not in result.stderr
    assert "No judge of this store" not in result.stdout
    assert "nothing to show" in result.stdout


@pytest.mark.once
@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (
            ["--part", "reasoning"],
            "(part reasoning) were measured under the same conditions: a base",
        ),
        (["--model", "sim/qwen2.5-vl-7b"], "What is left out may have some."),
    ],
)
def test_a_page_does_not_call_missing_what_a_filter_took_out(
    store: Path, tmp_path: Path, chosen: list[str], said: str
) -> None:
    """The mistake: of a store with pairs it said, up to five times, that the study names none."""
    run("report", store, "--out", tmp_path, *chosen)
    page = (tmp_path / "index.html").read_text("utf-8")
    assert "No reasoning model and base in this selection of the store (" in page
    assert page.count(said) == 1
    assert "name them under" not in page
    assert "in the store were measured" not in page


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which one model has direct requests alone, and another typo alone."""
    path = tmp_path_factory.mktemp("uneven") / "store"
    for model, attack in (("r1-onevision-7b", "direct"), ("qwen2.5-vl-7b", "typo")):
        study = osm.Study(
            models=[f"sim/{model}"], datasets=["canary"], attacks=[attack], judge="canary", limit=4
        )
        osm.evaluate(study, path)
    return path


@pytest.mark.parametrize("what", ["frame", "replies", "eee", "dataset", "inspect", "scout"])
def test_an_export_of_nothing_is_refused(uneven: Path, tmp_path: Path, what: str) -> None:
    """The mistake: an empty table was written over the earlier one, and called an export."""
    if what in ("inspect", "scout"):
        pytest.importorskip("inspect_ai", reason="Inspect AI is not installed")
    path = tmp_path / ("x.csv" if what in ("frame", "replies") else "x")
    chosen = ("--model", "sim/qwen2.5-vl-7b", "--attack", "direct")
    said = str(run("export", what, uneven, path, *chosen).exception)
    assert "no sample here is of all that you chose: leave out one of --attack, --model" in said
    assert "nothing was written" in said
    assert not path.exists()


def test_a_defense_that_nothing_could_be_sent_with_is_one_that_there_is(tmp_path: Path) -> None:
    """It was run, and "there is no defense called 'ecso'" was said of it."""
    study = STUDY.replace("self-reminder", "ecso").replace("limit: 20", "limit: 2")
    run_study(tmp_path / "store", study.replace("direct, typo", "direct"))
    shown = run("table", "coverage", tmp_path / "store", "--defense", "ecso").stdout
    assert "ecso needs a prompt with an image" in " ".join(shown.split())
    told = run("table", "asr", tmp_path / "store", "--defense", "ecso").stderr
    assert told == "no reply here is of all that you chose: leave out --defense\n"
    assert run("report", tmp_path / "store", "--defense", "ecso").exit_code == 0
    assert "mean ecso?" in refused("table", "asr", tmp_path / "store", "--defense", "ecsoo")
