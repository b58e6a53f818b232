"""The commands of docs/inspect.md run as they stand, in the order in which they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from opensafemlrm import api
from opensafemlrm.models.demo.sim import Simulated
from opensafemlrm.store import Store
from opensafemlrm.store.labels import PersonLabel, put_labels
from opensafemlrm.study import Study
from opensafemlrm.types import Part
from tests.datasets.test_figstep import line, release

pytest.importorskip("inspect_ai", reason="Inspect AI is not installed")
pytest.importorskip("inspect_scout", reason="Inspect Scout is not installed")

DOCUMENT = Path(__file__).parents[2] / "docs/inspect.md"
WAYS = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
UNTIL_STOPPED = "inspect view"


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder with what the document's commands need."""
    (tmp_path / "FigStep").mkdir()
    release(tmp_path / "FigStep", line(1, 1))
    model = Simulated("r1-onevision-7b")
    study = Study([model], ["canary"], "canary", attacks=["figstep"], limit=4)
    api.evaluate(study, tmp_path / "results", progress=False)
    with Store.open(tmp_path / "results", "write") as store:
        (key,) = store.connection.execute("SELECT key FROM generations LIMIT 1").fetchone()
        put_labels(store, [PersonLabel(key, Part.ANSWER, "ada", unsafe=True)])
    return tmp_path


def test_the_commands_of_the_document_run(workplace: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for line in "".join(blocks).splitlines() if UNTIL_STOPPED not in line]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.interop.inspect_commands"],
        input="\n".join(lines),
        cwd=workplace,
        env={**os.environ, "INSPECT_DISPLAY": "none", "PYTHONPATH": os.pathsep.join(WAYS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    output = dict(json.loads(text) for text in ran.stdout.splitlines() if text.startswith("["))
    assert len(output) > 10
    assert output["scout db validate transcripts"].strip() == "Schema validation passed."
    assert len(list((workplace / "exported").glob("*.eval"))) == 1
