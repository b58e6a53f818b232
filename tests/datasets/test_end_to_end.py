"""From a release to its tables through the command line; what stays in a store after a fault."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from opensafemlrm import images
from opensafemlrm.cli import app
from opensafemlrm.errors import SafeMLRMError
from tests.datasets import releases
from tests.datasets.test_hostile import png_of

FIGSTEP = Path(__file__).parents[2] / "../shared/data/figstep/data"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def study(path: Path, dataset: str, attack: str) -> Path:
    text = f"models: [sim/r1-onevision-7b]\ndatasets: [{dataset}]\nattacks: [{attack}]\n"
    return releases.put(path, text + "judge: refusal\nlimit: 20\n")


def rows_of(store: Path, table: str, *more: str) -> list[dict[str, object]]:
    result = run("table", table, store, "--format", "json", *more)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    return found if isinstance(found, list) else next(iter(found.values()))


def counted(store: Path, *names: str) -> dict[str, int]:
    connection = sqlite3.connect(store / "store.sqlite")
    counts = {
        name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names
    }
    connection.close()
    return counts


def ends(path: Path, datasets: str, attacks: str, items: int, scenarios: int) -> None:
    """Run a study of one dataset and one attack; every item is sent, judged and in the tables."""
    store = path / "store"
    result = run("run", study(path / "study.yaml", datasets, attacks), "--store", store)
    assert result.exit_code == 0, result.output
    assert counted(store, "generations")["generations"] == items
    rows = rows_of(store, "asr", "--by", "scenario")
    assert len({row["scenario"] for row in rows}) == scenarios
    assert sum(int(str(row["n"])) for row in rows if row["part"] == "answer") >= items
    assert run("table", "coverage", store).exit_code == 0
    again = run("run", path / "study.yaml", "--store", store)
    assert f"{items} were in the store" in again.output


@pytest.mark.skipif(not FIGSTEP.is_dir(), reason="the release is not beside the repository")
def test_the_real_figstep(tmp_path: Path) -> None:
    ends(tmp_path, f"{{dataset: figstep, root: {FIGSTEP}, subset: tiny}}", "figstep", 20, 10)


def test_a_json_set_with_images(tmp_path: Path) -> None:
    root = tmp_path / "release"
    releases.siuo(root)
    ends(tmp_path, f"{{dataset: siuo, root: {root}}}", "direct", 2, 1)


def test_a_parquet_set_with_its_own_attack(tmp_path: Path) -> None:
    root = tmp_path / "release"
    releases.hades(root)
    ends(tmp_path, f"{{dataset: hades, root: {root}}}", "hades", 4, 2)


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    path = releases.own_table(tmp_path / "release")["path"]
    store = tmp_path / "store"
    spec = f"{{dataset: table, path: {path}}}"
    result = run("run", study(tmp_path / "study.yaml", spec, "direct"), "--store", store)
    assert result.exit_code == 0, result.output
    assert {row["dataset"] for row in rows_of(store, "asr")} == {"table/lanterns"}


def nothing_is_half_written(store: Path) -> None:
    """Every file in the store is a whole image of the name it has, and no other file is there."""
    for path in (store / "images").rglob("*"):
        if path.is_file():
            image = images.load(path, store)
            images.verify(image)
            assert image.sha256.startswith(path.stem[:8])
    connection = sqlite3.connect(store / "store.sqlite")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_picture_that_cannot_be_decoded_stops_the_run_and_stays_out(tmp_path: Path) -> None:
    root, store = tmp_path / "release", tmp_path / "store"
    releases.siuo(root)
    releases.put(root / "images/S-02.png", png_of(400, 400, bytes(100)))
    path = study(tmp_path / "study.yaml", f"{{dataset: siuo, root: {root}}}", "direct")
    result = run("run", path, "--store", store)
    assert isinstance(result.exception, SafeMLRMError)
    assert "S-02.png" in str(result.exception)
    nothing_is_half_written(store)
    skipping = run("run", path, "--store", store, "--skip-invalid")
    assert skipping.exit_code == 0, skipping.output
    assert counted(store, "generations")["generations"] == 1
    nothing_is_half_written(store)


@given(content=st.binary(max_size=200), cut=st.integers(0, 80))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_a_picture_holds_the_store_stays_whole(
    content: bytes, cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    releases.siuo(root / "release")
    releases.put(root / "release/images/S-02.png", releases.png()[:cut] + content)
    spec = f"{{dataset: siuo, root: {root / 'release'}}}"
    path, store = study(root / "study.yaml", spec, "direct"), root / "store"
    first = run("run", path, "--store", store)
    assert first.exception is None or isinstance(first.exception, SafeMLRMError)
    result = run("run", path, "--store", store, "--skip-invalid")
    assert result.exit_code == 0, result.output
    assert counted(store, "generations")["generations"] in (1, 2)
    nothing_is_half_written(store)
