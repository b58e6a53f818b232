"""Inspect Scout reads our transcripts and our labels, and we read its validation sets."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from opensafemlrm import api, results
from opensafemlrm.cli import app
from opensafemlrm.models.demo.sim import Simulated
from opensafemlrm.store import Store
from opensafemlrm.store.labels import PersonLabel, put_labels
from opensafemlrm.store.ratings import people_labels
from opensafemlrm.study import Study
from opensafemlrm.types import Part

scout = pytest.importorskip("inspect_scout", reason="Inspect Scout is not installed")

from click.testing import CliRunner as ClickRunner  # noqa: E402 # after the skip
from inspect_scout._cli.db import validate  # noqa: E402

from tests.interop.inspect_support import what_inspect_leaves_open  # noqa: E402, F401

pytestmark = pytest.mark.filterwarnings("ignore")  # Scout's own affairs
MODEL = Simulated("r1-onevision-7b", failure_rate=0.2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with pictures, a failure and labels of people."""
    folder = tmp_path_factory.mktemp("scout") / "store"
    study = Study([MODEL], ["canary"], "canary", attacks=["direct", "figstep"], limit=8)
    api.evaluate(study, folder, progress=False)
    with Store.open(folder, "write") as opened:
        query = "SELECT key, text FROM generations WHERE status = 'ok' LIMIT 4"
        rows = opened.connection.execute(query).fetchall()
        put_labels(
            opened,
            [
                PersonLabel(key, Part.ANSWER, "ada", unsafe=n % 2 == 0)
                for n, (key, _) in enumerate(rows)
            ],
        )
    return folder


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


async def test_scout_reads_the_transcripts_with_pictures_and_reasoning(store, tmp_path):
    run("export", "scout", store, tmp_path / "db")
    checked = ClickRunner().invoke(validate, [str(tmp_path / "db")])
    assert (checked.exit_code, checked.output.strip()) == (0, "Schema validation passed.")
    frame = results.open(store).frame()
    transcripts = scout.transcripts_from(str(tmp_path / "db"))
    async with transcripts.reader() as reader:
        infos = [info async for info in reader.index()]
        assert {info.transcript_id for info in infos} == set(frame["sample"])
        content = scout.TranscriptContent(messages="all")
        read = [await reader.read(info, content) for info in infos]
    parts = [
        part.type
        for transcript in read
        for message in transcript.messages
        if not isinstance(message.content, str)
        for part in message.content
    ]
    assert set(parts) == {"text", "image", "reasoning"}
    failed = frame.filter(pl.col("status") == "failed")["sample"].n_unique()
    assert sum(bool(transcript.error) for transcript in read) == failed > 0


async def test_scans_can_be_of_one_attack(store, tmp_path):
    run("export", "scout", store, tmp_path / "db")
    chosen = scout.transcripts_from(str(tmp_path / "db")).where(
        scout.columns["attack"] == "figstep"
    )
    async with chosen.reader() as reader:
        found = {info.transcript_id async for info in reader.index()}
    frame = results.open(store).frame()
    assert found == set(frame.filter(pl.col("attack") == "figstep")["sample"])


def test_a_transcript_has_the_scores_of_its_sample(store, tmp_path):
    run("export", "scout", store, tmp_path / "db")
    rows = pl.read_parquet(tmp_path / "db" / "*.parquet")
    frame = results.open(store).frame()
    of_sample = {(row["sample"], row["part"]): row["score"] for row in frame.iter_rows(named=True)}
    for key, score in rows.select("transcript_id", "score").iter_rows():
        for part, value in json.loads(score).get("canary", {}).items():
            assert of_sample[key, part] == value


def test_labels_go_to_scout_as_a_validation_set_of_these_transcripts_and_come_back(store, tmp_path):
    run("export", "scout", store, tmp_path / "db")
    run("export", "validation", store, tmp_path / "validation.csv")
    cases = scout.validation_set(tmp_path / "validation.csv").cases
    known = set(pl.read_parquet(tmp_path / "db" / "*.parquet")["transcript_id"])
    assert {case.id for case in cases} <= known
    assert sorted(case.target for case in cases) == [False, False, True, True]
    with Store.open(store) as opened:
        given = people_labels(opened, "ada")
    run(
        "import", "labels", tmp_path / "validation.csv", "--store", store,
        "--annotator", "scout", "--part", "answer",
    )  # fmt: skip
    with Store.open(store) as opened:
        assert people_labels(opened, "scout").equals(given)
