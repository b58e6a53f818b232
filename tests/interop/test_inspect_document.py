"""The commands of docs/inspect.md run as they stand, in the order in which they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
from click.testing import CliRunner

from opensafemlrm import api
from opensafemlrm.cli import app
from opensafemlrm.models.demo.sim import Simulated
from opensafemlrm.store import Store
from opensafemlrm.store.labels import PersonLabel, put_labels
from opensafemlrm.study import Study
from opensafemlrm.types import Part
from tests.datasets.test_figstep import line, release

pytest.importorskip("inspect_ai", reason="Inspect AI is not installed")
pytest.importorskip("inspect_scout", reason="Inspect Scout is not installed")

from inspect_ai._cli.main import inspect  # after the skips
from inspect_ai.model._providers.mockllm import MockLLM
from inspect_scout._cli.main import scout

from tests.interop.inspect_support import what_inspect_leaves_open  # noqa: F401

pytestmark = pytest.mark.filterwarnings("ignore")  # Inspect's own affairs
DOCUMENT = Path(__file__).parents[2] / "docs/inspect.md"
UNTIL_STOPPED = "inspect view"
COMMANDS: dict[str, Any] = {
    "inspect": inspect,
    "safemlrm": typer.main.get_command(app),
    "scout": scout,
}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with what the document's commands need."""
    (tmp_path / "FigStep").mkdir()
    release(tmp_path / "FigStep", line(1, 1))
    model = Simulated("r1-onevision-7b")
    study = Study([model], ["canary"], "canary", attacks=["figstep"], limit=4)
    api.evaluate(study, tmp_path / "results", progress=False)
    with Store.open(tmp_path / "results", "write") as store:
        (key,) = store.connection.execute("SELECT key FROM generations LIMIT 1").fetchone()
        put_labels(store, [PersonLabel(key, Part.ANSWER, "ada", unsafe=True)])

    async def count(*_: Any, **__: Any) -> int:
        return 1

    # The mock counts tokens by a file that it fetches, and tests have no network.
    monkeypatch.setattr(MockLLM, "count_tokens", count)
    monkeypatch.setenv("INSPECT_DISPLAY", "none")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(text: str) -> str:
    """What a line of the document prints."""
    program, *words = shlex.split(text)
    arguments = [path for word in words for path in (sorted(map(str, Path().glob(word))) or [word])]
    result = CliRunner().invoke(COMMANDS[program], arguments, catch_exceptions=False)
    assert result.exit_code == 0, f"{text}: {result.output}"
    return result.output


def test_the_commands_of_the_document_run(workplace: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for line in "".join(blocks).splitlines() if UNTIL_STOPPED not in line]
    output = {line: run(line) for line in lines}
    assert len(output) > 10
    assert output["scout db validate transcripts"].strip() == "Schema validation passed."
    assert len(list((workplace / "exported").glob("*.eval"))) == 1
