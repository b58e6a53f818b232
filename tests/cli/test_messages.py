"""Mistakes in studies, mappings, commands and plugins: a sentence each, and what to do."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from opensafemlrm import registry
from opensafemlrm.cli import app
from opensafemlrm.errors import MissingExtraError
from tests.cli.conftest import STUDY, Command


def run_study(tmp_path: Path, command: Command, text: str) -> list[str]:
    """Run a study that is wrong; return its errors, without the name of the file."""
    path = tmp_path / "study.yaml"
    path.write_text(text)
    code, said = command("run", path, "--store", tmp_path / "new")
    assert code == 2
    assert not (tmp_path / "new").exists()
    return [line.removeprefix(f"error: {path}, ") for line in said.splitlines()]


def test_all_mistakes_of_a_study_are_said_in_the_order_of_its_lines(
    tmp_path: Path, command: Command
) -> None:
    wrong = (
        "limt: 5\n"
        "models: [sim/qwen2.5-vl-7b, sim/r1-onevison-7b]\n"
        "datasets: [canary]\n"
        "attacks: [figstpe, direct]\n"
        "sampling: {temperature: hot}\n"
        "judge: cannary\n"
    )
    said = run_study(tmp_path, command, wrong)
    places = ["limt", "models.1", "attacks.0", "sampling.temperature", "judge"]
    lines = (1, 2, 4, 5, 6)
    for line, (number, place) in zip(said, zip(lines, places, strict=True), strict=True):
        assert line.startswith(f"line {number}, {place}: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            STUDY + "judges: [canary, rules]\n",
            "line 4, judges: name one judge under `judge` or several under `judges`, not both",
        ),
        (
            STUDY.replace("judge: canary", "judges: [canary, canary]"),
            "line 3, judges.1: two judges are both called 'canary'; remove one",
        ),
        (
            STUDY.replace("judge: canary", "limit: 3"),
            "line 1, judge: this key is needed",
        ),
        (
            STUDY.replace("judge: canary", "judge: [canary, rules]"),
            "line 3, judge: this is one judge, `judge: NAME`; several that each give verdicts are "
            "`judges: [NAME, NAME]`, several that vote are "
            "`judge: {judge: panel, judges: [NAME, NAME]}`",
        ),
        (
            STUDY.replace("sim/qwen2.5-vl-7b]", "sim/qwen2.5-vl-7b, sim/qwen2.5-vl-7b]"),
            "line 1, models.1: two models are both called 'sim/qwen2.5-vl-7b'; remove one",
        ),
        (
            STUDY.replace("[sim/", "[{model: sim/qwen2.5-vl-7b, blocked_rate: 0.1}, sim/"),
            "line 1, models.1: two models are both called 'sim/qwen2.5-vl-7b'; give one of them an "
            "`alias`",
        ),
        (
            STUDY.replace("[canary]", "[canary, canary]"),
            "line 2, datasets.1: two datasets are both called 'canary'; remove one",
        ),
    ],
)
def test_a_study_that_is_wrong(text: str, says: str, tmp_path: Path, command: Command) -> None:
    assert run_study(tmp_path, command, text) == [says]


def test_an_alias_sets_two_simulated_models_of_one_name_apart(
    tmp_path: Path, command: Command
) -> None:
    path = tmp_path / "study.yaml"
    other = "{model: sim/qwen2.5-vl-7b, blocked_rate: 0.1, alias: blocked}"
    path.write_text(STUDY.replace("[sim/", f"[{other}, sim/"))
    assert command("run", path, "--store", tmp_path / "new", "--dry-run") == (0, "")


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("gpt-4o", "did you mean openai/gpt-4o?"),
        ("claude-opus-4-1", "did you mean anthropic/claude-opus-4-1?"),
        ("gemini-2.5-pro", "did you mean google/gemini-2.5-pro?"),
        ("my-model", "known: anthropic/NAME, google/NAME"),
    ],
)
def test_a_model_without_its_provider(
    model: str, says: str, tmp_path: Path, command: Command
) -> None:
    (said,) = run_study(tmp_path, command, STUDY.replace("sim/qwen2.5-vl-7b", model))
    assert said.startswith(f"line 1, models.0: there is no model called {model!r}; {says}")


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        (
            "name: own\nqestion: text\n",
            "question: this key is needed; qestion: there is no key called 'qestion'; "
            "did you mean question?",
        ),
        (
            "name: ünï\nquestion: text\n",
            "name: use letters from a to z, digits, dots, dashes and underscores: at most 64, and "
            "a letter or a digit first, not 'ünï'",
        ),
        (
            "name: own\nquestion: text\nkind: {column: unsafe, harmful: [yes]}\n",
            "kind.harmful.0: YAML reads yes, no, on, off, true and false as truth "
            "values; put the word in quotes, such as 'yes'",
        ),
        (
            "name: own\nquestion: text\nkind: {column: unsafe, harmful: [1]}\n",
            "kind.harmful.0: this is a text; put 1 in quotes",
        ),
    ],
)
def test_a_mapping_that_is_wrong(mapping: str, says: str, tmp_path: Path, command: Command) -> None:
    (tmp_path / "rows.csv").write_text("text,unsafe\nA question?,yes\n")
    path = tmp_path / "rows.mapping.yaml"
    path.write_text(mapping)
    table = f"path={tmp_path / 'rows.csv'}"
    _, said = command("datasets", "check", "table", "-o", table, "-o", f"mapping={path}")
    assert f"{path}: {says}" in said


def test_a_study_may_lie_with_its_results(tmp_path: Path, command: Command) -> None:
    (tmp_path / "study.yaml").write_text(STUDY + "limit: 1\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "lock").write_text("")
    code, _ = command("run", tmp_path / "study.yaml", "--store", tmp_path)
    assert code == 0


def test_help_says_that_results_need_a_folder() -> None:
    said = CliRunner().invoke(app, ["run", "--help"]).output
    assert "[required, except with --parquet-out]" in " ".join(said.split())


def test_an_extra_is_installed_from_the_clone() -> None:
    assert str(MissingExtraError("hf/", "hf")) == (
        "hf/ needs an extra; in your clone: pip install '.[hf]'"
    )


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("openai/no-price", "Cost: no price is known."),
        ("{model: openai/priced, price: [1, 2]}", "Cost: about 0.00 US dollars, taking "),
    ],
)
def test_a_cost_is_a_number_only_where_a_price_is_known(
    model: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "no key")
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.replace("[sim/qwen2.5-vl-7b]", f"[{model}]") + "limit: 1\n")
    arguments = ["run", str(path), "--store", str(tmp_path / "store"), "--dry-run"]
    assert says in " ".join(CliRunner().invoke(app, arguments).output.split())


PAIR = STUDY.replace("[sim/", "[sim/r1-onevision-7b, sim/") + "limit: 1\n"


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("[sim/r1-onevision-7b, sim/qwen2.5-vl-7b]", ""),
        (
            "[sim/qwen2.5-vl-7b, sim/r1-onevision-7b]",
            "look at this: the study names the base sim/qwen2.5-vl-7b before its reasoning model; "
            "write the pair as [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]\n",
        ),
    ],
)
def test_a_pair_the_wrong_way_round(pair: str, says: str, tmp_path: Path, command: Command) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"{PAIR}pairs: [{pair}]\n")
    assert command("run", path, "--store", tmp_path / "store", "--dry-run") == (0, says)


def test_a_reply_that_takes_too_long_names_the_option(tmp_path: Path, command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        model = f"{{model: openai/x, base_url: '{url}', timeout: 0.2, max_retries: 0}}"
        (tmp_path / "study.yaml").write_text(
            STUDY.replace("[sim/qwen2.5-vl-7b]", f"[{model}]") + "limit: 1\n"
        )
        _, said = command("run", tmp_path / "study.yaml", "--store", tmp_path / "store")
    assert "no reply within 0.2 s; give the model a longer `timeout`" in said


PLUGIN = """\
from dataclasses import dataclass

from opensafemlrm.components import Attack, Judge
from opensafemlrm.types import Card


@dataclass(frozen=True)
class Lantern(Attack):
    name = "lantern"
    card = Card(title="Lantern", paper="none")

    def apply(self, item, seed):
        return item.fields["lantern"]


@dataclass(frozen=True)
class Moon(Judge):
    name = "moon"
    card = Card(title="Moon", paper="none")

    async def judge(self, item, requests):
        return [1 / 0 for _ in requests]
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install a package, as pip would, whose components fail at their work."""
    metadata = tmp_path / "raising-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: raising\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[opensafemlrm.attacks]\nlantern = raising_plugin:Lantern\n"
        "[opensafemlrm.judges]\nmoon = raising_plugin:Moon\n"
    )
    (tmp_path / "raising_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._plugins.cache_clear()
    yield tmp_path / "raising_plugin.py"
    registry._plugins.cache_clear()
    sys.modules.pop("raising_plugin", None)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (STUDY + "attacks: [lantern]\n", ("lantern", "KeyError: 'lantern'", 13)),
        (STUDY.replace("judge: canary", "judge: moon"), ("moon", "division by zero", 22)),
    ],
    ids=["attack", "judge"],
)
def test_a_plugin_that_raises_in_a_run(
    text: str, fault: tuple[str, str, int], plugin: Path, tmp_path: Path, command: Command
) -> None:
    name, what, line = fault
    path = tmp_path / "study.yaml"
    path.write_text(text + "limit: 1\n")
    code, said = command("run", path, "--store", tmp_path / "new")
    assert code == 2
    (error,) = (said for said in said.splitlines() if said.startswith("error: "))
    assert error.startswith(f"error: {name!r} failed on item ")
    assert error.endswith(f" ({plugin}, line {line})")
    assert what in error


def test_a_plugin_that_raises_in_any_command(
    plugin: Path, tmp_path: Path, command: Command
) -> None:
    code, said = command("attacks", "preview", "lantern", "--out", tmp_path / "sheets")
    assert code == 2
    assert said == f"error: 'lantern' failed: KeyError: 'lantern' ({plugin}, line 13)\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file or directory"),
        (b"models: [caf\xe9]", "byte 12 is not UTF-8; save the file as UTF-8 text"),
    ],
)
def test_a_study_that_cannot_be_read(
    content: bytes | None, says: str, tmp_path: Path, command: Command
) -> None:
    path = tmp_path / "study.yaml"
    if content is not None:
        path.write_bytes(content)
    code, said = command("run", path, "--store", tmp_path / "store")
    assert (code, said) == (2, f"error: {path}: the study file cannot be read: {says}\n")
