"""Mistakes, and surroundings that are not as they should be: a sentence each, and what to do."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from filelock import FileLock
from typer.testing import CliRunner

from opensafemlrm import registry
from opensafemlrm.cli import app, main
from opensafemlrm.errors import MissingExtraError
from opensafemlrm.store import Store

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command as a shell would; return its exit code and what it said on stderr."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["safemlrm", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return code if isinstance(code, int) else 0, capsys.readouterr().err

    return run


@pytest.fixture
def store(tmp_path: Path) -> Path:
    Store.open(tmp_path / "store", "create").close()
    return tmp_path / "store"


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_an_export_to_a_folder_that_is_not_there(
    ending: str, store: Path, command: Command
) -> None:
    target = store / "nowhere" / f"x.{ending}"
    assert command("export", "frame", store, target) == (
        2,
        f"error: {target}: No such file or directory; check the path, or make the folder first\n",
    )


def test_an_export_to_a_folder(store: Path, command: Command) -> None:
    (store / "taken.csv").mkdir()
    code, said = command("export", "frame", store, store / "taken.csv")
    assert code == 2
    assert f"{store / 'taken.csv'}: Is a directory; this is a folder; name a file in it" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("demo", "--models", "simulated", "--store"),
        ("attacks", "preview", "typo", "--items", "1", "--out"),
    ],
    ids=["demo", "preview"],
)
def test_a_folder_that_cannot_be_made(
    arguments: tuple[str, ...], tmp_path: Path, command: Command
) -> None:
    (tmp_path / "file").write_text("")
    code, said = command(*arguments, tmp_path / "file" / "new")
    assert code == 2
    assert said.splitlines()[-1] == (
        f"error: {tmp_path / 'file' / 'new'}: Not a directory; a part of the path is a file; "
        "name another path"
    )


def test_a_folder_that_may_not_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: Command
) -> None:
    """Tests may run as root, whom no permission stops: the system's refusal is played."""

    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    code, said = command("demo", "--models", "simulated", "--store", tmp_path / "new")
    assert code == 2
    assert f"{tmp_path / 'new'}: Permission denied; name a place that you may use" in said


def test_a_port_in_use(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = command("serve-sim", "--port", str(port))
    assert code == 2
    assert str(port) in said
    assert "in use; name another port with --port (0 takes a free one)" in said
    assert said.count("\n") == 1


def test_debug_shows_the_traceback_of_the_system(
    monkeypatch: pytest.MonkeyPatch, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--debug", "export", "frame", str(store), str(store / "nowhere" / "x.csv")]
    monkeypatch.setattr(sys, "argv", ["safemlrm", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "FileNotFoundError" in capsys.readouterr().err


def test_a_table_where_the_output_is_not_utf_8() -> None:
    """What an encoding lacks is drawn in ASCII; no table ends in a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "opensafemlrm", "models", "list"],
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "-----" in done.stdout.decode("cp1252")


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


STUDY = "models: [sim/qwen2.5-vl-7b]\ndatasets: [canary]\njudge: canary\n"


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


def test_a_folder_of_other_things_is_no_place_for_results(tmp_path: Path, command: Command) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.tex").write_text("")
    path = tmp_path / "study.yaml"
    path.write_text(STUDY + "limit: 1\n")
    assert command("run", path, "--store", folder) == (
        2,
        f"error: {folder}: this folder holds other files ('chapter.tex') and no store; name a "
        "folder that is new or empty\n",
    )
    assert [each.name for each in folder.iterdir()] == ["chapter.tex"]


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


def test_a_file_system_without_shared_memory(tmp_path: Path, command: Command) -> None:
    """NFS, GPFS: SQLite cannot make the file that WAL shares (a folder is in its place here)."""
    (tmp_path / "study.yaml").write_text(STUDY + "limit: 1\n")
    store = tmp_path / "store"
    (store / "images").mkdir(parents=True)
    (store / "lock").write_text("")
    (store / "store.sqlite-shm").mkdir()
    assert command("run", tmp_path / "study.yaml", "--store", store)[0] == 0
    assert command("table", "coverage", store)[0] == 0
    with contextlib.closing(sqlite3.connect(store / "store.sqlite")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("SELECT count(*) FROM generations").fetchone() == (1,)


@pytest.mark.parametrize("name", ["locking protocol", "disk I/O error"])
def test_a_store_that_was_carried_to_such_a_file_system_is_read(
    name: str, store: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = {"locking protocol": sqlite3.SQLITE_PROTOCOL, "disk I/O error": sqlite3.SQLITE_IOERR}

    class Unshared(sqlite3.Connection):
        alone = False

        def execute(self, sql: str, /, *values: Any) -> sqlite3.Cursor:
            self.alone = self.alone or "EXCLUSIVE" in sql
            if not self.alone:
                error = sqlite3.OperationalError(name)
                error.sqlite_errorcode = codes[name]
                raise error
            return super().execute(sql, *values)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Unshared))
    assert command("table", "coverage", store) == (0, "")


def test_a_file_system_without_locks(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(lock: FileLock, **_: object) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    (tmp_path / "study.yaml").write_text(STUDY + "limit: 1\n")
    code, said = command("run", tmp_path / "study.yaml", "--store", tmp_path / "store")
    assert code == 2
    assert said.endswith(
        "store: files cannot be locked on this file system; put the store on another, such as a "
        "local disk\n"
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
            "look at this: sim/qwen2.5-vl-7b is the base of sim/r1-onevision-7b, and the study "
            "names it first; write the pair as [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]\n",
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


def test_a_certificate_that_is_not_trusted(
    tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    stop = threading.Event()

    def serve(listening: socket.socket) -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), listening.accept()[0] as raw:
                context.wrap_socket(raw, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        thread = threading.Thread(target=serve, args=[listening])
        thread.start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/v1"
        (tmp_path / "study.yaml").write_text(
            STUDY.replace("[sim/qwen2.5-vl-7b]", f"[{{model: openai/x, base_url: '{url}'}}]")
            + "limit: 1\n"
        )
        code, said = command("run", tmp_path / "study.yaml", "--store", tmp_path / "store")
        stop.set()
        thread.join()
    gc.collect()
    assert code == 2
    assert "set SSL_CERT_FILE to a file that holds" in said
    assert "Future exception" not in said + caplog.text


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


def test_a_port_that_no_machine_has(command: Command) -> None:
    code, said = command("serve-sim", "--port", "99999")
    assert code == 2
    assert "--port" in said
    assert "65535" in said
