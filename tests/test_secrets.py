"""Keys and passwords reach the server they are for, and nothing else: no file, no screen.

`PLACES` says where a person can put one, and `WAYS_OUT` by what it could leave; SECURITY.md rests
on the two.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import polars as pl
import pytest

from opensafemlrm.cli import app, main
from opensafemlrm.errors import ModelError
from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from tests.loopback import LoopbackServer
from tests.models.scripted import ask
from tests.test_redaction import ESCAPINGS

KEY = "sk-planted-key-7f3a9b2c"
OTHER = "planted-in-the-environment-51d0"
QUERY = "planted/query+4e8c=="
QUERY_SENT = "planted%2Fquery%2B4e8c%3D%3D"
PASSWORD = "planted-password-90ab"  # of nobody
PLACES = {
    "the variable of a vendor": "OPENAI_API_KEY",
    "the variable that api_key_env names": "api_key_env",
    "another variable of the environment": "AWS_SECRET_ACCESS_KEY",
    "the query of base_url": "base_url: …?code=KEY",
    "user and password of base_url": "base_url: https://USER:PASSWORD@…",
    "user and password of a proxy": "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY",
    "a comment of the study": "# KEY",
    "a value of the study": "extra_body, serve_args, api_key_env, api_key, any name, a judge",
    "a value that YAML escapes": "\\x73k-…",
}
WAYS_OUT = {
    "terminal": "both streams of run, dry runs, tables, exports, store commands, report, --debug",
    "store": "every file of it, and every row; merged, repaired, vacuumed",
    "log": "what workers of a cluster say, line by line",
    "Ray": "its files, its tables of actors and errors: tests/cluster/test_ray_secrets.py",
    "export": "CSV, JSON Lines, Parquet",
    "report": "every file of it, with examples",
    "crash": "a traceback",
    "network": "what others are sent: tests/models/test_keys.py, tests/models/http/test_proxies.py",
}
PLANTED = (KEY, OTHER, QUERY, QUERY_SENT, "query+4e8c", "query%2B4e8c", PASSWORD, "planted-user")


class Echo(BaseHTTPRequestHandler):
    """A server that tells everything it was sent: in replies, in errors, in broken HTTP."""

    protocol_version = "HTTP/1.1"
    asked = 0
    always: int | None = None

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        kind = type(self)
        kind.asked += 1
        sent = " ".join(map(str, (self.path, *self.headers.values())))
        if kind.always is not None:
            self._json(kind.always, {"error": {"message": sent, "code": sent}})
            return
        match kind.asked % 8:
            case 0:
                self._json(500, {"error": {"message": sent, "code": sent}})
            case 1:
                self._json(400, {"detail": [{"msg": sent}]})
            case 2:
                self.close_connection = True
                self.wfile.write(f"{sent}\r\n\r\n".encode())
            case 3:
                self._json(
                    307, {}, Location=f"http://planted-user:{PASSWORD}@elsewhere.invalid{self.path}"
                )
            case 4:
                self._json(200, {"choices": [], "sent": sent})
            case _:
                escape = list(ESCAPINGS.values())[kind.asked // 2 % len(ESCAPINGS)]
                message = {"content": f"you sent {sent}", "reasoning": escape(KEY)}
                finish = "stop" if kind.asked % 2 else sent
                self._json(200, {"choices": [{"message": message, "finish_reason": finish}]})

    def do_CONNECT(self) -> None:
        kind = type(self)
        kind.asked += 1
        sent = " ".join(map(str, (self.path, *self.headers.values())))
        self._json(kind.always or (502, 407)[kind.asked % 2], {"error": sent}, Via=sent)

    def _json(self, status: int, body: object, **headers: str) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    Echo.asked, Echo.always = 0, None
    with LoopbackServer(("127.0.0.1", 0), Echo) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}/v1?code={QUERY_SENT}"
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OTHER)


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run a command as a shell would; give back its exit code and all it printed."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["safemlrm", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), captured.out + captured.err

    return run


def found_in(text: str) -> list[str]:
    escaped = (escape(key) for key in (KEY, OTHER, PASSWORD) for escape in ESCAPINGS.values())
    return [planted for planted in (*PLANTED, *escaped) if planted in text]


def found_under(folder: Path, study: Path) -> dict[str, list[str]]:
    """Which planted texts are in which file; the study file itself is the user's own."""
    found = {}
    for file in folder.rglob("*"):
        if file.is_file() and file != study:
            texts = found_in(readable(file))
            if texts:
                found[file.name] = texts
    return found


def readable(file: Path) -> str:
    text = file.read_bytes().decode("utf-8", "replace")
    if file.name.startswith("store.sqlite") and text.startswith("SQLite"):
        # A long text is cut into pieces in the file, but not in what it is read as.
        with contextlib.closing(sqlite3.connect(file)) as connection:
            return text + "\n".join(connection.iterdump())
    if file.suffix == ".parquet":
        return text + pl.read_parquet(file).write_json()
    return text


def study_at(folder: Path, url: str, more: str = "") -> Path:
    path = folder / "study.yaml"
    quick = (
        f"{more}api_key_env: OPENAI_API_KEY, max_retries: 0, give_up_after: 1000, concurrency: 4"
    )
    path.write_text(
        f"models: [{{model: openai/m, base_url: '{url}', {quick}}}]\n"
        "datasets: [canary]\nattacks: [direct, typo]\nlimit: 40\n"
        f"judge: {{judge: policy-rubric, model: {{model: openai/j, base_url: '{url}', {quick}}}}}\n"
    )
    return path


def test_no_secret_is_in_any_file_or_on_the_screen(
    tmp_path: Path, server: str, call: Callable[..., tuple[int, str]]
) -> None:
    """A server that echoes what it was sent must not get the key into a store that is shared."""
    study, store = study_at(tmp_path, server), tmp_path / "store"
    said = [call("run", study, "--store", store, *more) for more in (["--dry-run"], [], [])]
    assert Echo.asked > 80
    for to in ("text", "md", "csv", "json", "latex"):
        said += [call("table", name, store, "--format", to) for name in ("asr", "coverage")]
    kinds = ("parquet", "csv", "jsonl")
    said += [call("export", "frame", store, tmp_path / f"frame.{kind}") for kind in kinds]
    said += [call("store", command, store) for command in ("check", "repair", "vacuum", "migrate")]
    if "report" in {command.name for command in app.registered_commands}:
        said.append(call("report", store, "--with-examples", "--out", tmp_path / "report"))
    # The runs end with 2: the judge's replies hold no score.
    assert [code for code, _ in said] == [0, 2, 2] + [0] * (len(said) - 3), said
    assert found_in("".join(text for _, text in said)) == []
    assert found_under(tmp_path, study) == {}
    with contextlib.closing(sqlite3.connect(store / "store.sqlite")) as connection:
        dump = "\n".join(connection.iterdump())
    assert "you sent" in dump, "the replies are not there, so nothing was searched"
    assert "[secret]" in dump


@pytest.mark.parametrize("name", [KEY, f"api_key={PASSWORD}", f"redis://planted-user:{PASSWORD}@h"])
@pytest.mark.parametrize(
    "key",
    [
        "series: [{name: 'NAME', versions: [{model: m}, {model: n}]}]",
        "pairs: [['NAME', m]]",
        "series: [{name: s, model: 'NAME'}]",
    ],
)
def test_a_name_in_a_study_is_no_place_for_a_key(
    tmp_path: Path, call: Callable[..., tuple[int, str]], key: str, name: str
) -> None:
    """Names of series came into tables and reports as they were written."""
    study = tmp_path / "study.yaml"
    models = "[sim/r1-onevision-7b, sim/qwen2.5-vl-7b]"
    more = key.replace("NAME", name)
    study.write_text(f"models: {models}\ndatasets: [canary]\njudge: canary\nlimit: 1\n{more}\n")
    code, said = call("run", study, "--store", tmp_path / "store")
    assert code == 2
    assert "looks like a key or a password" in said
    assert found_in(said) == []


def test_the_study_that_eval_writes_beside_the_results_has_no_key(
    tmp_path: Path, server: str, call: Callable[..., tuple[int, str]]
) -> None:
    model = ("--model", f"{server}#m", "-o", "model.api_key_env=OPENAI_API_KEY")
    arguments = ("eval", "canary", *model, "--limit", "1", "--store", tmp_path / "store")
    code, said = call(*arguments)
    assert (code, "the address has a key in it (code=…)" in " ".join(said.split())) == (2, True)
    assert found_in(said) == []
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("status", [401, 403, 404])
def test_no_secret_is_in_what_ends_a_run(
    tmp_path: Path, server: str, call: Callable[..., tuple[int, str]], status: int
) -> None:
    Echo.always = status
    study = study_at(tmp_path, server)
    code, said = call("run", study, "--store", tmp_path / "store")
    assert code == 2
    assert "cannot be used at" in said
    assert found_in(said) == []
    assert found_under(tmp_path, study) == {}


CREDENTIALS = f"http://planted-user:{PASSWORD}@127.0.0.1:9/v1"


@pytest.mark.parametrize(
    "models",
    [
        f"[{{model: openai/m, base_url: '{CREDENTIALS}'}}]",
        f"['{CREDENTIALS}#m']",
        f"['{CREDENTIALS}']",
        f"['{CREDENTIALS.replace('http', 'HTTP')}']",
        f"{{model: openai/m, base_url: '{CREDENTIALS}'}}",
        f"[{{model: openai/m, base_url: ['{CREDENTIALS}']}}]",
        f"[{{model: '{CREDENTIALS}#m', nonsense: 1}}]",
        f"[{{model: openai/m, api_key_env: '{KEY}'}}]",
        f"[{{model: openai/m, api_key: '{KEY}'}}]",
        f"[{{model: openai/m, base_url: 'http://nowhere.invalid/v1', api_key_env: '{KEY}'}}]",
        f"[{{model: openai/m, base_url: 'http://127.0.0.1:9/v1?code={QUERY_SENT}'}}]",
        f"[{{model: openai/m, extra_body: {{note: '{KEY}'}}}}]",
        f"[{{model: openai/m, extra_body: {{a: [{{X-Api-Key: '{PASSWORD}'}}]}}}}]",
        f"[{{model: vllm/m, serve: true, serve_args: ['--api-key={PASSWORD}']}}]",
        f"[{{model: vllm/m, serve: true, serve_args: ['--api-key', '{PASSWORD}']}}]",
        f"[{{model: openai/m, system_prompt: 'redis://planted-user:{PASSWORD}@h'}}]",
        f'[{{model: openai/m, extra_body: {{note: "\\x73{KEY[1:]}"}}}}]',
        f"['openai/{KEY}']",
        f"['{KEY}/m']",
    ],
)
def test_no_secret_is_in_what_a_study_is_turned_down_with(
    tmp_path: Path, call: Callable[..., tuple[int, str]], models: str
) -> None:
    """The usual mistakes: a password in the address, the key where its variable's name belongs."""
    study = tmp_path / "study.yaml"
    options = ", max_retries: 0}]" if models.endswith("}]") else None
    models = models[:-2] + options if options else models
    study.write_text(f"models: {models}\ndatasets: [canary]\njudge: canary\nlimit: 1\n")
    code, said = call("run", study, "--store", tmp_path / "store")
    assert code == 2
    assert "error: " in said
    assert found_in(said) == []
    assert found_under(tmp_path, study) == {}


def test_no_secret_is_in_what_a_proxy_or_an_address_of_the_environment_ends_with(
    tmp_path: Path, call: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_at(tmp_path, "http://nowhere.invalid/v1")
    monkeypatch.setenv("http_proxy", CREDENTIALS.removesuffix("/v1"))
    code, said = call("run", study, "--store", tmp_path / "store")
    assert code == 2
    assert found_in(said) == []
    study.write_text("models: [openai/m]\ndatasets: [canary]\njudge: canary\nlimit: 1\n")
    monkeypatch.setenv("OPENAI_BASE_URL", CREDENTIALS)
    code, said = call("run", study, "--store", tmp_path / "store")
    assert code == 2
    assert "OPENAI_BASE_URL" in said
    assert found_in(said) == []
    assert found_under(tmp_path, study) == {}


COMMENTED = f"""
# my key is {KEY}, and the old one 7f3a9b2c4d5e6f708192a3b4
# proxy: socks5h://planted-user:{PASSWORD}@proxy:1080, api_key = '{OTHER}'
models: [{{model: openai/m, base_url: 'http://127.0.0.1:9/v1', max_retries: 0}}] # {KEY}
datasets: [canary]
judge: canary
limit: 1
"""


def test_no_secret_of_a_comment_is_published(
    tmp_path: Path, call: Callable[..., tuple[int, str]]
) -> None:
    study, store = tmp_path / "study.yaml", tmp_path / "store"
    study.write_text(COMMENTED)
    said = [call("run", study, "--store", store)[1]]
    said.append(call("merge", store, "--store", tmp_path / "merged")[1])
    said.append(call("report", store, "--out", tmp_path / "report")[1])
    assert found_in("".join(said)) == []
    assert found_under(tmp_path, study) == {}
    page = (tmp_path / "report/index.html").read_text()
    assert "my key is [secret], and the old one [secret]" in page


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("always", [None, 407, 502])
def test_no_secret_is_in_what_a_proxy_sends_back(
    tmp_path: Path,
    server: str,
    call: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    always: int | None,
) -> None:
    """A proxy's password stood in the store, on the terminal and in the report."""
    Echo.always = always
    port = server.partition("127.0.0.1:")[2].partition("/")[0]
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://planted-user:{PASSWORD}@127.0.0.1:{port}")
    study = study_at(tmp_path, f"{scheme}://nowhere.invalid/v1", "insecure: true, ")
    store = tmp_path / "store"
    said = [call("run", study, "--store", store)[1], call("--debug", "run", study)[1]]
    said.append(call("report", store, "--with-examples", "--out", tmp_path / "report")[1])
    said.append(call("table", "coverage", store)[1])
    assert (scheme == "https") == bool(Echo.asked)  # without TLS the proxy would see the key
    assert found_in("".join(said)) == []
    assert found_under(tmp_path, study) == {}
    if always == 407 and scheme == "https":
        assert "the proxy wants a user and a password" in said[0]


def test_no_secret_is_in_a_traceback_of_a_crash(
    tmp_path: Path, call: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise RuntimeError(f"{OTHER}, Bearer {KEY}, https://planted-user:{PASSWORD}@h/v1")

    monkeypatch.setattr("opensafemlrm.study.load", crash)
    code, said = call("run", tmp_path / "study.yaml", "--store", tmp_path / "store")
    assert code == 1
    assert "RuntimeError: [secret], Bearer [secret]" in said
    assert found_in(said) == []


async def test_no_secret_is_in_a_models_repr_or_in_a_traceback(server: str) -> None:
    Echo.always = 401
    model = OpenAICompatible("m", base_url=server.partition("?")[0], api_key_env="OPENAI_API_KEY")
    with pytest.raises(ModelError) as caught:
        await ask(model)
    await model.aclose()
    told = "".join(traceback.format_exception(caught.value))
    assert "cannot be used at" in told
    assert found_in(told + repr(model)) == []


async def test_a_key_that_is_a_word_is_left_in_what_a_model_wrote(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Local servers are given keys such as EMPTY, and versions stand in addresses."""
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    Echo.asked = 4  # the next one is a reply
    url = server.partition("?")[0] + "?api-version=2024-10-21"
    model = OpenAICompatible("m", base_url=url, api_key_env="OPENAI_API_KEY")
    response = await ask(model)
    await model.aclose()
    assert response.text.startswith("you sent /v1/chat/completions?api-version=2024-10-21")
    assert "Bearer EMPTY" in response.text
