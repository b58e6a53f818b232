"""Tables for papers: they compile, and fit a column of the narrowest usual paper."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from opensafemlrm.cli import app
from opensafemlrm.cli.tables import Name
from opensafemlrm.errors import UnknownNameError
from opensafemlrm.report import Column, Form, Format, Table, render
from opensafemlrm.report.latex import Content, latex
from opensafemlrm.report.names import short_names
from tests.report.page_stores import HOSTILE, as_in_a_paper, run_study, with_people

STUDY = """\
models: [sim/r1-onevision-7b, sim/mulberry-llava-8b, sim/qwen2.5-vl-7b, sim/llava-next-llama3-8b]
pairs:
  - [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
  - [sim/mulberry-llava-8b, sim/llava-next-llama3-8b]
series:
  - name: r1-onevision
    versions: [{model: sim/qwen2.5-vl-7b}, {model: sim/r1-onevision-7b}]
datasets: [canary]
attacks: [direct, typo]
defenses: [none, self-reminder]
judge: canary
limit: 30
"""
FULL = ["--part", "full", "--threshold", "4"]
TOO_WIDE = re.compile(r"Overfull \\[hv]box.*|Float too large.*|^!.*", re.MULTILINE)


def table(store: Path, name: str, *options: str) -> Result:
    words = ["table", name, str(store), *options]
    return CliRunner().invoke(app, words, catch_exceptions=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_people(run_study(tmp_path_factory.mktemp("latex") / "store", STUDY))


@pytest.fixture(scope="module")
def set_tables(store: Path) -> dict[str, str]:
    """Every table, whole and as a paper would choose it."""
    return {
        f"{name.value}{what}": table(store, name.value, "--format", "latex", *options).stdout
        for name in Name
        for what, options in {"": [], " chosen": as_in_a_paper(name)}.items()
    }


def hostile() -> Table:
    """A table of long names, long notes and names that would be commands."""
    rows = [(f"{HOSTILE} {number % 2}", "x" * 90, 0.5, 12345) for number in range(60)]
    frame = pl.DataFrame(rows, ["model", "attack", "asr", "n"], orient="row")
    columns = [
        Column("model", "Model"),
        Column("attack", r"\input{secrets}"),
        Column("asr", "ASR %", Form.PERCENT),
        Column("n", "n", Form.COUNT),
    ]
    return Table("hostile", "A title " * 9, columns, frame, notes=[f"note: {HOSTILE} " * 9])


def compiled(tables: dict[str, str], folder: Path, options: str) -> list[str]:
    """What pdflatex finds wrong with tables in a document of its plainest class."""
    lines = [
        rf"\documentclass[{options}]{{article}}",
        r"\usepackage{booktabs,longtable}",
        r"\begin{document}",
        *[rf"\typeout{{TABLE {name}}}{text}\clearpage" for name, text in tables.items()],
        r"\end{document}",
    ]
    folder.mkdir()
    (folder / "tables.tex").write_text("\n".join(lines), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    # A longtable knows the widths of its columns from the second time on.
    said = ""
    for _ in range(2):
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", check=False
        )
        said = done.stdout
        assert done.returncode == 0, said[-2000:]
    wrong = {name: TOO_WIDE.findall(part) for name, part in _by_table(said)}
    return [f"{name}: {what}" for name, found in wrong.items() for what in found]


def _by_table(said: str) -> list[tuple[str, str]]:
    parts = re.split(r"^TABLE (.*)$", said, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.once
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")
def test_no_table_is_wider_or_higher_than_its_page(
    set_tables: dict[str, str], tmp_path: Path
) -> None:
    """The mistake: 14 of the 14 tables of a report stood out of the page, by up to 16 cm."""
    tables = {**set_tables, "hostile": render(hostile(), Format.LATEX)}
    assert compiled(tables, tmp_path / "one", "") == []
    # In two columns there is no longtable: its table is chosen smaller.
    floats = {name: text for name, text in tables.items() if "longtable" not in text}
    assert len(floats) >= 8
    assert compiled(floats, tmp_path / "two", "twocolumn") == []


def test_every_row_has_a_cell_for_each_column(set_tables: dict[str, str]) -> None:
    for name, text in set_tables.items():
        for part in text.split("% needs ")[1:]:
            assert "booktabs" in part.partition("\n")[0], name
            spec = re.search(r"\\begin\{(?:tabular|longtable)\}\{@\{\}(.*)@\{\}\}", part)
            assert spec is not None, name
            columns = len(re.sub(r"\{[^}]*\}", "", spec[1]))
            rows = [line for line in part.splitlines() if line.endswith(r" \\")]
            cells = {
                line.count(" & ") + 1
                for line in rows
                if not line.startswith((r"\multicolumn", r"\midrule", r"\caption"))
            }
            assert cells == {columns}, name
            assert r"\bottomrule" in part
            assert set(re.findall(r"[^\x00-\x7f]", part)) <= set("–†"), name


def test_a_table_has_a_label_to_refer_to_and_says_simulated(set_tables: dict[str, str]) -> None:
    assert r"\label{tab:tax}" in set_tables["tax"]
    assert r"r1-\allowbreak{}onevision" in set_tables["tax"] or "r1-onevision" in set_tables["tax"]
    assert "sim/r1" not in set_tables["tax"].replace(r"\allowbreak{}", "")
    assert "(sim.), simulated: the replies are drawn" in set_tables["tax"].replace("\n", " ")


def test_a_long_table_repeats_its_head_on_every_page(set_tables: dict[str, str]) -> None:
    assert r"\begin{longtable}" in set_tables["blindspots"]
    assert r"\endhead" in set_tables["blindspots"]
    assert r"\begin{table}" in set_tables["coverage chosen"]


def test_columns_are_chosen_by_their_names_in_every_format(store: Path) -> None:
    shown = partial(table, store, "tax", *FULL, "--columns", "model,difference,ratio,low")
    assert shown("--format", "csv").stdout.splitlines()[0] == "model,difference,ratio,low"
    head = next(line for line in shown().stdout.splitlines() if "tax  " in line)
    assert head.split() == ["Model", "tax", "ratio", "95", "%", "CI"]
    latex = shown("--format", "latex").stdout
    # The ratio, which a paper has by default no room for, is there when it is asked for.
    assert re.search(r"^(Model & )?tax & ratio & 95 \\% CI", latex, re.MULTILINE)
    assert "bounds:" not in latex  # a note on a column that is not there
    with pytest.raises(UnknownNameError, match="no column called 'difference_'; did you mean"):
        table(store, "tax", "--columns", "difference_")


def test_short_names_still_tell_models_apart() -> None:
    assert short_names(["lab/a", "lab/b", "other/a"]) == {
        **{"lab/a": "lab/a", "other/a": "other/a"},
        "lab/b": "b",
    }
    assert short_names(["panel[judges=[x, y]]", "rules"]) == {
        "panel[judges=[x, y]]": "panel",
        "rules": "rules",
    }
    assert short_names(["cut[n=1]", "cut[n=2]"]) == {"cut[n=1]": "cut[n=1]", "cut[n=2]": "cut[n=2]"}


def test_a_table_that_is_too_wide_names_a_command_that_has_the_option() -> None:
    """`run` and `eval` print tables too, and have no --columns."""
    titles = [f"a long title {number}" for number in range(20)]
    content = Content("wide", "Wide.", titles, [False] * 20, [["0.123456789"] * 20], [])
    assert latex(content).startswith("% wider than a page: `safemlrm table`")
