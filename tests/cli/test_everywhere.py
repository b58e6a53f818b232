"""What all commands share: options that may stand anywhere, help, examples, formats."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from opensafemlrm import __version__
from opensafemlrm.cli import app
from opensafemlrm.cli._console import LOUDNESS
from opensafemlrm.cli._main_group import EXAMPLES
from opensafemlrm.errors import OptionError

STUDY = "models: [{model: sim/qwen2.5-vl-7b, failure_rate: 0.5}]\ndatasets: [canary]\njudge: canary"


def run(*arguments: str | Path, **environment: str) -> Result:
    words = [str(a) for a in arguments]
    return CliRunner().invoke(app, words, env=environment, catch_exceptions=False)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_it_says_its_version(flag: str) -> None:
    assert run(flag).stdout == f"safemlrm {__version__}\n"


def test_completion_can_be_had() -> None:
    asked = {"_SAFEMLRM_COMPLETE": "complete_bash", "COMP_WORDS": "safemlrm de", "COMP_CWORD": "1"}
    program = "import sys; sys.argv = ['safemlrm']; from opensafemlrm.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | asked,
        capture_output=True,
        text=True,
        check=False,
    )
    assert {"demo", "defenses"} <= set(done.stdout.split())


@pytest.mark.parametrize("command", [(), ("run",), ("datasets",), ("attacks", "show")])
def test_h_is_help(command: tuple[str, ...]) -> None:
    assert run(*command, "-h").stdout == run(*command, "--help").stdout


def test_no_commands_sentence_is_cut_in_80_columns() -> None:
    shown = run("--help", COLUMNS="80").stdout
    assert not re.search(r"\.\.\.|…", shown.split("Options:")[1])
    assert max(map(len, shown.splitlines())) <= 80


def _parse(words: list[str]) -> Any:
    """Parse a command as typer does, and run nothing."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("safemlrm", words)
    while getattr(command, "commands", None):
        name, command, rest = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        context = command.make_context(name, list(rest), parent=context)
    return context


@pytest.mark.parametrize("example", [line for lines in EXAMPLES.values() for line in lines])
def test_every_example_is_a_command_that_there_is(example: str) -> None:
    assert shlex.split(example)[0] == "safemlrm"
    _parse(shlex.split(example)[1:])


def test_examples_are_in_the_help() -> None:
    assert "safemlrm run study.yaml --store results --dry-run" in run("run", "-h").stdout


def test_quiet_says_nothing_and_verbose_says_all(study: Path, tmp_path: Path) -> None:
    assert run("run", study, "--store", tmp_path / "a", "-q").output == ""
    cell = "sim/qwen2.5-vl-7b · canary · direct · none: replies in the store before, 0; made now, "
    assert cell not in run("run", study, "--store", tmp_path / "b").stderr
    assert cell in run("-v", "run", study, "--store", tmp_path / "c").stderr
    assert (LOUDNESS.quiet, LOUDNESS.verbose) == (False, True)
    run("--version")
    run("attacks", "list")
    assert LOUDNESS.verbose is False


def test_an_env_file_is_read_where_it_is_named_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("A_BARE", "A_QUOTED", "AN_ESCAPED", "EXPORTED"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("KEPT", "old")
    (tmp_path / ".env").write_text(
        "# keys\nA_BARE = one two # not this\nA_QUOTED='a # b'\n"
        'AN_ESCAPED="x\\ny \\" z"\nexport EXPORTED=a=b\n\nKEPT=new\n'
    )
    run("attacks", "list")
    assert "A_BARE" not in os.environ
    run("attacks", "list", "--env-file", ".env")
    names = ("A_BARE", "A_QUOTED", "AN_ESCAPED", "EXPORTED", "KEPT")
    values = [os.environ[name] for name in names]
    assert values == ["one two", "a # b", 'x\ny " z', "a=b", "old"]


def test_an_env_file_that_is_not_there_is_named_as_one(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--env-file: there is no file .*nope"):
        run("--env-file", tmp_path / "nope", "attacks", "list")


def test_a_bad_line_of_an_env_file_is_named_and_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=b\nsk-secret-in-the-wrong-place\n")
    with pytest.raises(OptionError, match="line 2: a line is NAME=VALUE") as raised:
        run("--env-file", path, "attacks", "list")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("line", ["A=sk-secret\0", f"A='{' ' * 60_000}", "A=sk-secret#b"])
def test_an_odd_line_of_an_env_file_is_no_traceback(tmp_path: Path, line: str) -> None:
    path = tmp_path / ".env"
    path.write_text(f"{line}\n")
    with pytest.raises(OptionError, match="line 1: a line is NAME=VALUE") as raised:
        run("--env-file", path, "attacks", "list")
    assert "secret" not in str(raised.value)


def test_a_long_line_of_an_env_file_takes_no_longer_a_character(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60,000 blanks took more than a minute."""
    monkeypatch.setenv("A_LONG", "")
    monkeypatch.delenv("A_LONG")
    path = tmp_path / ".env"
    path.write_text(f"A_LONG=x{' ' * 60_000}' # no more\n")
    run("--env-file", path, "attacks", "list")
    assert os.environ["A_LONG"] == f"x{' ' * 60_000}'"


LISTS = [(kind, "list") for kind in ("datasets", "attacks", "defenses", "models", "judges")]
SHOWN = [
    ("attacks", "show", "typo+mirror"),
    ("defenses", "show", "reflect"),
    ("judges", "show", "rules"),
    ("datasets", "show", "canary"),
    ("models", "pairs"),
    ("models", "show", "Qwen/Qwen2.5-VL-7B-Instruct"),
]


@pytest.mark.parametrize("command", [*LISTS, *SHOWN])
def test_what_is_listed_and_shown_has_every_format(command: tuple[str, ...]) -> None:
    assert json.loads(run(*command, "--format", "json").stdout)
    for format_ in ("csv", "md", "latex", "text"):
        assert run(*command, "--format", format_).exit_code == 0
