"""Text of models, datasets, servers and judges is shown by every command, and drives none of them.

Escape sequences, bidirectional overrides, formulas, markup and links: whatever a name, an id or an
error message holds, a terminal, a spreadsheet, a Markdown page and a LaTeX run take it for text.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from opensafemlrm import engine
from opensafemlrm.cli import app, main
from opensafemlrm.cli.tables import Name
from opensafemlrm.errors import AttackError
from opensafemlrm.redaction import find_key
from opensafemlrm.series import Series, Version
from opensafemlrm.store import Store
from opensafemlrm.study_file import SpecError
from opensafemlrm.text import for_terminal
from opensafemlrm.types import Item, ItemKind, Prompt, Response, ResponseStatus, Verdict
from tests.loopback import LoopbackServer
from tests.support import CARD, Listed, Scorer, Scripted, Wrapped, ok, study

NASTY = [
    "\x1b[2J\x1b[31mred",
    "\x1b]8;;http://evil.invalid\x1b\\click\x1b]8;;\x1b\\",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\u202egnp.exe",
    "\u2066hidden\u2069",
    "zero\u200bwidth\ufeff",
    "two\r\nlines\rover",
    "tab\there",
    "\ud800 alone \udfff",
    "nul\x00nul and delete\x7f",
    "=HYPERLINK(1)",
    "@SUM(A1)",
    "+1",
    "-1+1",
    "  =1",
    "\t=1",
    r"\input{/etc/passwd}",
    r"\write18{ls}",
    "100% & $x^2_1$ # ~ {}",
    "a\\\\[2em]",
    "| cell | cell |",
    "[link](http://evil.invalid)",
    "![image](http://evil.invalid/x.png)",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "`code` **bold** _it_",
    "[bold red]rich[/bold red]",
    "[/nothing]",
    "[link=http://evil.invalid]rich[/link]",
    "\"quoted\", 'single'",
    "{braces} %s",
    "",
]
hostile = st.one_of(
    st.sampled_from(NASTY), st.lists(st.sampled_from(NASTY), max_size=3).map("".join), st.text()
)
some_word = hostile.map(lambda text: text if text.strip("\0 ") else "word")

LATEX_COMMANDS = {
    *("begin", "end", "caption", "centering", "toprule", "midrule", "bottomrule", "par"),
    *("footnotesize", "textbackslash", "textasciitilde", "textasciicircum", "textasciigrave"),
    *("textquotesingle", "textless", "textgreater", "textbar", "ensuremath", "leq", "geq"),
    *("usepackage", "addlinespace", "label", "textbf", "emph", "small", "multicolumn"),
    *("raggedright", "sloppy", "tabcolsep", "setlength", "allowbreak", "medskip", "endfirsthead"),
    *("endhead", "endfoot", "endlastfoot", "linewidth", "scriptsize", "tiny", "LTcapwidth"),
}


@dataclass(frozen=True)
class Called(Scripted):
    """A model that is called anything, and that ends in every way."""

    texts: tuple[str, ...] = field(default=(), compare=False)

    @property
    def label(self) -> str:
        return self.model

    async def generate(self, prompt: Prompt, sampling: Any) -> Response:
        await asyncio.sleep(0)
        word, other, third = self.texts
        ends = [
            ok(f"<think>{word}</think>{other}", reasoning=None),
            Response(ResponseStatus.FAILED, code=word, detail=other, transient=False),
            Response(ResponseStatus.BLOCKED, code=other, detail=third, finish_reason=word),
            Response(ResponseStatus.TRUNCATED, word, finish_reason=third),
        ]
        return ends[len(prompt.turns[-1].text) % len(ends)]


@dataclass(frozen=True)
class Refuses(Wrapped):
    """An attack that is called anything, and that says anything where it cannot be applied."""

    label: str = ""
    why: str = ""

    def apply(self, item: Item, seed: int) -> Prompt:
        if item.id == self.refuse[0]:
            raise AttackError(self.why)
        return Wrapped.apply(self, item, seed)


@dataclass(frozen=True)
class Lists(Listed):
    """A dataset that is called anything."""

    card = CARD
    label: str = ""


@dataclass(frozen=True)
class Judges(Scorer):
    """A judge that is called anything."""

    label: str = ""

    def identity(self) -> Mapping[str, Any]:
        return {"name": self.label}


def fill(path: Path, words: list[str], texts: list[str]) -> None:
    """Make a store in which every text that others choose is hostile."""
    # No study has a name with a NUL, nor an empty one, and no item a blank scenario; texts may hold
    # whatever they like.
    w, t = [word.replace("\0", "") or "word" for word in words], texts
    rows = [
        Item(
            "listed",
            f"{t[i % len(t)]}{i}",
            t[-1 - i % 2] if t[-1 - i % 2].strip() else "scenario",
            f"{t[i % 3]}{'?' * i}",
            kind=ItemKind.HARMFUL,
        )
        for i in range(8)
    ]
    model = Called(model=w[0], texts=(w[1], w[2], t[0]))
    refusing = Refuses(w[3], (rows[0].id,), label=w[3], why=t[1])
    judge = Judges(
        lambda ask: Verdict.scored(
            len(ask.text) % 6, unsafe=len(ask.text) % 6 >= 4, rationale=t[2]
        ),
        label=w[4],
    )
    plain = study(model, rows, attacks=[refusing], judge=judge)
    later = Called(model=f"{w[0]}2", texts=(w[1], w[2], t[0]))
    versions = Series(t[1].replace("\0", "") or "series", (Version(model), Version(later)))
    hostile_study = replace(
        plain,
        text=t[0],
        models=(model, later),
        datasets=(Lists(rows, label=w[5]),),
        series=(versions,),
    )
    with Store.open(path, "create") as store:
        asyncio.run(engine.evaluate(engine.Plan.of(hostile_study), store))


def call(*arguments: str | Path) -> str:
    """Run a command and give back what it printed, having looked at it for control characters."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert_harmless_to_terminals(result.stderr)
    assert_harmless_to_terminals(result.stdout)
    return result.stdout


def assert_harmless_to_terminals(text: str) -> None:
    kinds = {(unicodedata.category(c), c) for c in text if c not in "\n\t"}
    assert not [c for kind, c in kinds if kind in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}]


def assert_no_formulas(text: str) -> None:
    for row in csv.reader(io.StringIO(text, newline="")):
        for cell in row:
            number = re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", cell)
            assert number or not re.match(r"\s*[=+\-@\t\r]", cell), cell


def assert_plain_markdown(text: str) -> None:
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    inline = [child for token in tokens for child in token.children or []]
    kinds = {token.type for token in [*tokens, *inline]}
    assert not {k for k in kinds if re.match("link|image|html|code|em_|fence|heading|s_", k)}
    widths = [row.count("td_open") for row in _rows([token.type for token in tokens])]
    assert len(set(widths)) <= len(re.findall(r"(?m)^\| :?-", text))


def _rows(kinds: list[str]) -> list[list[str]]:
    return [row.split() for row in " ".join(kinds).split("tr_open") if "td_open" in row]


def assert_plain_latex(text: str) -> None:
    body = re.sub(r"\\[{}$&#%_]|\\\\", "", text)
    assert set(re.findall(r"\\([a-zA-Z]+)", body)) <= LATEX_COMMANDS
    assert "\\write18" not in text
    assert not re.findall(r"(?m)[^\\]%", re.sub(r"(?m)^%.*", "", text))


def shown_harmlessly(words: list[str], texts: list[str], names: Iterable[str]) -> None:
    """Show a store of these texts in every way; a study with what looks like a key has none."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        said = ""
        try:
            fill(path, words, texts)
        except SpecError as refused:
            said = str(refused)
        if said:
            keys = [text for text in (*words, *texts, f"{texts[0]}0") if find_key(text) is not None]
            assert keys, said
            assert not [key for key in keys if key in said]
            assert_harmless_to_terminals(said)
            return
        for name in names:
            tables = {to: call("table", name, path, "--format", to) for to in FORMATS}
            assert_no_formulas(tables["csv"])
            assert_plain_markdown(tables["md"])
            assert_plain_latex(tables["latex"])
            assert tables["json"].isascii()
            json.loads(tables["json"])
        call("table", "asr", path, "--by", "scenario")
        for what in ("frame", "replies"):
            for kind in ("csv", "jsonl"):
                call("export", what, path, Path(folder) / f"{what}.{kind}")
                assert_harmless_to_terminals((Path(folder) / f"{what}.{kind}").read_text())
            assert_no_formulas((Path(folder) / f"{what}.csv").read_text())
        for command in ("check", "repair", "vacuum", "migrate"):
            call("store", command, path)


FEW = (Name.ASR.value, Name.COVERAGE.value)
ALL = tuple(name.value for name in Name)
FORMATS = ("text", "md", "csv", "json", "latex")
WORDS = st.lists(some_word, min_size=6, max_size=6)
TEXTS = st.lists(hostile, min_size=3, max_size=3)
LOOSE = [HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.once
@settings(max_examples=3, deadline=None, suppress_health_check=LOOSE, phases=[Phase.generate])
@given(WORDS, TEXTS)
def test_whatever_is_in_a_store_it_is_shown_as_text(words: list[str], texts: list[str]) -> None:
    shown_harmlessly(words, texts, FEW)


@pytest.mark.slow
@settings(max_examples=50, deadline=None, suppress_health_check=LOOSE)
@given(WORDS, TEXTS)
def test_whatever_is_in_a_store_every_table_shows_it_as_text(
    words: list[str], texts: list[str]
) -> None:
    shown_harmlessly(words, texts, ALL)


@pytest.mark.parametrize("place", range(9))
@pytest.mark.parametrize("key", ["api_key=planted-1f3a9b2c", "ftp://user:planted@host"])
def test_what_looks_like_a_key_is_refused_in_a_study_and_kept_in_what_a_model_says(
    place: int, key: str
) -> None:
    """Test by test it came down to chance: now and then the texts that are drawn hold one."""
    texts = [key if n == place else f"word {n}" for n in range(9)]
    shown_harmlessly(texts[:6], texts[6:], ())


@pytest.mark.once
@pytest.mark.no_cover
@pytest.mark.parametrize("start", range(0, len(NASTY), 9))
def test_every_nasty_text_in_every_place(start: int) -> None:
    nasty = [text or "word" for text in (NASTY * 2)[start : start + 9]]
    shown_harmlessly(nasty[:6], nasty[6:], ALL if start == 0 else FEW)


@pytest.fixture
def shell(
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


Shell = Callable[..., tuple[int, str]]


def study_file(folder: Path, **changes: Any) -> Path:
    """A study as JSON, which is YAML, so that any text can be written into it."""
    plain = {"models": ["sim/qwen2.5-vl-7b"], "datasets": ["canary"], "judge": "canary", "limit": 2}
    path = folder / "study.yaml"
    path.write_text(json.dumps({**plain, **changes}))
    return path


@pytest.mark.parametrize("nasty", NASTY[:13])
def test_a_study_is_turned_down_in_plain_text(tmp_path: Path, shell: Shell, nasty: str) -> None:
    for changes in (
        {"models": [nasty]},
        {"models": [f"sim/{nasty}"]},
        {"attacks": [nasty]},
        {"judge": {"judge": nasty}},
        {"datasets": [{"dataset": "canary", nasty: nasty}]},
        {"pairs": [[nasty, nasty]]},
        {nasty: 1},
        {"limit": [nasty]},
    ):
        path = study_file(tmp_path, **changes)
        code, said = shell("run", path, "--store", tmp_path / "store")
        assert code == 2
        assert_harmless_to_terminals(said)


def test_an_error_of_a_server_is_told_in_plain_text(tmp_path: Path, shell: Shell) -> None:
    told = iter(range(10_000))

    class Nasty(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nasty = NASTY[next(told) % len(NASTY)]
            error = {"message": nasty, "code": nasty, "type": nasty}
            data = json.dumps({"error": error}).encode()
            self.send_response(500 if len(nasty) % 2 else 418)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with LoopbackServer(("127.0.0.1", 0), Nasty) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        options = {"base_url": url, "max_retries": 0, "give_up_after": 10_000}
        model = {"model": "openai/m", "alias": NASTY[0], **options}
        path = study_file(tmp_path, models=[model], limit=2 * len(NASTY))
        codes = [shell("run", path, "--store", tmp_path / "store") for _ in range(2)]
        server.shutdown()
        thread.join()
    assert [code for code, _ in codes] == [2, 2], codes  # every sample failed
    for _, said in codes:
        assert "for example" in said
        assert_harmless_to_terminals(said)
    for name in FEW:
        call("table", name, tmp_path / "store")


@pytest.mark.parametrize("alias", [*NASTY[:8], *NASTY[-7:-4]])
def test_a_models_name_draws_no_bar_of_its_own(
    tmp_path: Path, shell: Shell, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Progress bars read markup: a name can be a link, or a closing tag that ends the run."""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "300")
    url = "http://127.0.0.1:9/v1"
    model = {"model": "openai/m", "alias": alias, "base_url": url, "max_retries": 0}
    code, said = shell("run", study_file(tmp_path, models=[model]), "--store", tmp_path / "store")
    assert code == 2
    drawn = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", said)
    assert for_terminal(alias).strip() in drawn
    assert "\x1b]8" not in said
    assert_harmless_to_terminals(drawn.replace("\r", ""))


COLUMNS = ("dataset", "category_id", "task_id", "category_name", "question", "instruction")


def test_what_a_dataset_holds_is_told_in_plain_text(tmp_path: Path, shell: Shell) -> None:
    (tmp_path / "question").mkdir()
    with (tmp_path / "question" / "safebench.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for number, text in enumerate(NASTY):
            nasty = text.encode("utf-8", "replace").decode()
            rows.writerow([nasty, f"{number}{nasty}", number, nasty, nasty or "?", nasty])
    dataset = {"dataset": "figstep", "root": str(tmp_path)}
    path = study_file(tmp_path, datasets=[dataset], judge="refusal", attacks=["direct", "figstep"])
    for arguments in (
        ["run", path, "--store", tmp_path / "store"],
        ["run", path, "--store", tmp_path / "store", "--skip-invalid"],
        ["datasets", "check", "figstep", "--root", tmp_path],
    ):
        _, said = shell(*arguments)
        assert_harmless_to_terminals(said)
