"""Tables are as wide as the terminal, and say what it has no room for."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from opensafemlrm import registry
from opensafemlrm.built_in import ComponentKind
from opensafemlrm.cli import app
from opensafemlrm.cli.tables import Name

STUDY = """\
models: [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
pairs: auto
datasets: [canary]
attacks: [direct, typo]
defenses: [none, self-reminder]
judges: [canary, refusal]
limit: 20
"""
BROKEN_DOWN = [(name, "--by", "scenario") for name in ("asr", "tax", "correction", "overrefusal")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("width")
    (folder / "study.yaml").write_text(STUDY)
    printed("run", folder / "study.yaml", "--store", folder / "store")
    return folder / "store"


def printed(*words: str | Path, columns: str = "") -> str:
    environment = {"COLUMNS": columns or None}
    result = CliRunner().invoke(app, [str(word) for word in words], env=environment)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(
    "words", [*((name.value,) for name in Name if name is not Name.DRIFT), *BROKEN_DOWN]
)
def test_a_table_fits_the_terminal(store: Path, words: tuple[str, ...]) -> None:
    for width in (80, 72):
        lines = printed("table", words[0], store, *words[1:], columns=str(width)).splitlines()
        assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize(
    "words",
    [("diff",), *((kind, "list") for kind in ("datasets", "attacks", "judges", "models"))],
)
def test_other_tables_fit_too(store: Path, words: tuple[str, ...]) -> None:
    stores = [store, store] if words == ("diff",) else []
    lines = printed(*words, *stores, columns="80").splitlines()
    assert max(map(cell_len, lines)) <= 80


@pytest.mark.parametrize(
    "words",
    [
        *(("attacks", "show", name) for name in registry.names(ComponentKind.ATTACK)),
        *(("defenses", "show", name) for name in registry.names(ComponentKind.DEFENSE)),
        *(("judges", "show", name) for name in registry.names(ComponentKind.JUDGE)),
        *(("datasets", "show", name) for name in registry.names(ComponentKind.DATASET)),
        ("models", "show", "r1-onevision-7b"),
    ],
    ids=" ".join,
)
def test_what_is_shown_of_a_component_fits_too(words: tuple[str, ...]) -> None:
    """Texts of attacks, and what is known of a model, ran beyond the edge."""
    lines = printed(*words, columns="80").splitlines()
    wide = [line for line in lines if cell_len(line) > 80 and " " in line.strip()]
    assert wide == []


def test_columns_without_room_are_named_and_a_file_has_them_all(store: Path) -> None:
    """Numbers ran beyond the edge and the terminal broke every line of the table."""
    narrow = printed("table", "tax", store, columns="80")
    assert "columns are too few: n base, ratio, ratio CI. --format csv" in " ".join(narrow.split())
    assert "ratio CI" not in narrow.split("Not shown")[0]
    assert "ratio –:" not in narrow
    assert "ratio CI" in printed("table", "tax", store)
    assert "ratio_low" in printed("table", "tax", store, "--format", "csv", columns="80")
