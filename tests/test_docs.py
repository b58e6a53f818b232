"""The documents say what is so: their commands run, the tests and the files they name exist."""

from __future__ import annotations

import re
import runpy
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from opensafemlrm.cli import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples/plugin/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
IMPORTING = (ROOT / "docs/import.md").read_text(encoding="utf-8")
PUBLISHED = ROOT / "../shared/data/opensafemlrm/statistic_results"
COMMAND = re.compile(r"^\$? ?(safemlrm .*?)(?:\s+#.*)?$", re.MULTILINE)

STUDY = """
models: [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
pairs: auto
datasets: [canary]
attacks: [direct, typo]
defenses: [none, self-reminder]
judge: canary
limit: 10
"""
DOES_NOT_RUN_HERE = {
    "--ray": "needs Ray; tests/cluster",
    "s3://": "needs a bucket",
    "real-server": "needs the recipe's server",
    "path/to": "needs a release of your own",
    "openai/gpt-4o-mini": "needs a key",
    "datasets download": "needs the hub; tests/cli/test_dataset_download.py",
    "--labels results": "needs labels that people gave",
    "export validation results": "the same; without any it says so, and ends in 2",
    "export labels results": "the same",
    "safemlrm label": "asks a person",
    "safemlrm view": "serves until it is stopped; tests/view",
    "safemlrm report pair": "the same as the report of another store",
    "safemlrm serve": "runs until it is stopped",
    "safemlrm demo": "takes half a minute; tests/cli/test_demo.py",
    "--out page": "the same report in another folder",
    "safemlrm audit": "ends with 5 or 6 where models fail; tests/audit",
    "safemlrm diff": "needs a second store; tests/cli/test_diff.py",
    "import inspect": "needs Inspect AI; tests/interop/test_inspect_document.py",
    "export inspect": "the same",
    "export scout": "the same",
    "from-inspect": "needs what is imported there",
    "validation.csv --store": "the same",
    "safemlrm new": "writes into the source; its own tests",
}
"""Pieces of commands that are only parsed, and why."""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def shown() -> list[str]:
    """The commands in the documents' blocks, in order, each once."""
    commands: dict[str, None] = {}
    for document in DOCUMENTS:
        blocks = re.findall(r"```sh\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
        joined = "\n".join(blocks).replace("\\\n", " ")
        commands |= dict.fromkeys(COMMAND.findall(joined))
    return list(commands)


def mentioned() -> list[str]:
    """The commands within the documents' sentences; arguments may be left out there."""
    texts = [document.read_text(encoding="utf-8") for document in DOCUMENTS]
    inline = [found for text in texts for found in re.findall(r"`(safemlrm\s[^`]+)`", text)]
    return sorted({" ".join(found.split()) for found in inline})


def resolve(words: list[str]) -> tuple[Any, list[str]]:
    """Find the command that the words name, and what is left for it."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "resolve_command") and words and not words[0].startswith("-"):
        context = command.make_context("safemlrm", words[:1], resilient_parsing=True)
        _, command, _ = command.resolve_command(context, [words[0]])
        words = words[1:]
    return command, words


def test_the_documents_show_commands() -> None:
    assert len(shown()) >= 8
    assert len(mentioned()) >= 8


@pytest.mark.parametrize("text", shown())
def test_a_command_takes_what_the_documents_show(text: str) -> None:
    command, words = resolve(shlex.split(text)[1:])
    command.make_context(command.name, words)  # raises for an option it does not take


@pytest.mark.parametrize("text", mentioned())
def test_a_command_that_a_sentence_mentions_exists_with_its_options(text: str) -> None:
    command, words = resolve(shlex.split(text)[1:])
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert {word for word in words if word.startswith("-")} <= options


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the documents' commands read."""
    folder = tmp_path_factory.mktemp("documents")
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    tutorial = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    (pair,) = re.findall(r"```yaml\n(.*?)```", tutorial, re.DOTALL)
    (folder / "pair.yaml").write_text(pair, encoding="utf-8")
    (folder / "my.csv").write_text("question,topic\nHow tall is it?,height\n", encoding="utf-8")
    labels = "question,answer,label\nHow tall is it?,It is tall.,safe\nWho?,Sorry; no.,unsafe\n"
    (folder / "labels.csv").write_text(labels, encoding="utf-8")
    theirs = "id,topic,question,wrote,text,harm\n1,tea,How long?,tea-7b,Three minutes.,1\n"
    (folder / "theirs.csv").write_text(theirs, encoding="utf-8")
    (mapping,) = re.findall(r"```yaml title=theirs.yaml\n(.*?)```", IMPORTING, re.DOTALL)
    (folder / "theirs.yaml").write_text(mapping, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("safemlrm run study.yaml --store results")
        label = ["label", "results", "--annotator", "ann", "-n", "1", "--reveal"]
        assert CliRunner().invoke(app, label, input="s\n").exit_code == 0
        if PUBLISHED.is_dir():
            (folder / "statistic_results").symlink_to(PUBLISHED.resolve())
            run("safemlrm import opensafemlrm statistic_results --store published")
    return folder


def run(text: str) -> None:
    result = CliRunner().invoke(app, shlex.split(text)[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.mark.once
@pytest.mark.parametrize(
    "text", [text for text in shown() if not any(piece in text for piece in DOES_NOT_RUN_HERE)]
)
def test_a_command_of_the_documents_runs(
    text: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ("published" in text or "statistic_results" in text) and not PUBLISHED.is_dir():
        pytest.skip(f"the published histograms are not at {PUBLISHED}")
    monkeypatch.chdir(workplace)
    run(text)


WITH_PYTHON = [
    document
    for document in DOCUMENTS
    if document.name != "CONTRIBUTING.md" and "```python" in document.read_text("utf-8")
]


@pytest.mark.once
@pytest.mark.parametrize("document", WITH_PYTHON, ids=name)
def test_the_python_blocks_of_a_document_run(
    document: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    for block in re.findall(r"```python\n(.*?)```", document.read_text("utf-8"), re.DOTALL):
        exec(block, {})


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_the_tests_and_files_that_a_document_names_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for path, test in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text):
        assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{test}"
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
        assert (document.parent / target).exists(), target


def test_no_link_of_the_site_is_called_by_the_name_of_a_file() -> None:
    build = runpy.run_path(str(ROOT / "scripts/build_docs.py"))
    pages = {
        page: build["titled"](page.read_text("utf-8"), page.parent) for page in build["documents"]()
    }
    assert "[Statistics](statistics.md)" in pages[ROOT / "docs/habits.md"]
    named = [link for text in pages.values() for link in re.findall(r"\[[\w./-]+\.md\]\(", text)]
    assert named == []


def test_the_sites_menu_names_pages_that_exist() -> None:
    site = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    pages = re.findall(r"'([\w/-]+\.md)'", str(site["nav"]))
    documents = {path.relative_to(ROOT / "docs").as_posix() for path in DOCUMENTS[3:]}
    assert len(pages) >= 25
    assert set(pages) <= {*documents, "index.md", "contributing.md", "security.md"}


def test_the_citation_file_has_the_version_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]


def test_the_forges_checks_run_what_ci_runs_with_actions_of_a_version() -> None:
    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    runs = [
        step.get("run", "")
        for job in yaml.safe_load(text)["jobs"].values()
        for step in job["steps"]
    ]
    assert ".ci/run" in runs
    assert all(re.search(r"@v\d+\.\d+\.\d+$", line) for line in re.findall(r"uses: (\S+)", text))
