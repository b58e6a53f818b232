"""``safemlrm datasets download``: the licence is shown and asked for before anything is fetched."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from opensafemlrm.cli import app
from opensafemlrm.datasets import hub as hub_client
from opensafemlrm.errors import DatasetError, MissingExtraError, OptionError
from tests.datasets import fake_hub, releases

COMMIT = fake_hub.COMMIT
FILES = {"siuo_gen.json": 1_000, "images/S-01.png": 2_000, "siuo_mcqa.json": 400_000_000_000}


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    hub_client.snapshot.cache_clear()
    yield
    hub_client.snapshot.cache_clear()


Fake = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fake:
    """Put a client in place of ``huggingface_hub`` that says what it fetched."""

    def install(files: Mapping[str, int | None] = FILES, *, gated: bool = False) -> list[Any]:
        fetched: list[dict[str, Any]] = []
        siblings = [SimpleNamespace(rfilename=name, size=size) for name, size in files.items()]

        class HfApi:
            def dataset_info(self, repo: str, **options: Any) -> Any:
                if options["revision"] == "gone":
                    raise OSError("404 Client Error\nmore")
                return SimpleNamespace(
                    sha=COMMIT,
                    gated=gated,
                    siblings=siblings,
                    card_data={"license": "cc-by-nc-4.0"},
                )

        def snapshot_download(repo: str, **options: Any) -> str:
            fetched.append({"repo": repo, **options})
            return str(options.get("local_dir", tmp_path / "cache"))

        module: Any = ModuleType("huggingface_hub")
        module.HfApi, module.snapshot_download = HfApi, snapshot_download
        module.constants = SimpleNamespace(HF_HUB_CACHE=str(tmp_path / "cache"))
        monkeypatch.setitem(sys.modules, "huggingface_hub", module)
        return fetched

    return install


def download(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["datasets", "download", *map(str, arguments)])


def test_without_a_yes_the_licence_is_shown_and_nothing_is_fetched(client: Fake) -> None:
    fetched = client(gated=True)
    result = download("siuo")
    assert (result.exit_code, fetched) == (2, [])
    for words in ("cc-by-nc-4.0", "CC-BY-NC-4.0", COMMIT, "2 files, 0.00 MB", "hf auth login"):
        assert words in result.stderr
    assert "nothing was fetched; --accept says" in result.stderr


def test_with_a_yes_the_files_that_are_read_are_fetched_at_one_commit(client: Fake) -> None:
    """A branch would move, and the 400 GB beside the list are never read."""
    fetched = client()
    result = download("siuo", "--accept")
    assert result.exit_code == 0, result.output
    assert [(one["repo"], one["revision"]) for one in fetched] == [("sinwang/SIUO", COMMIT)]
    assert fetched[0]["allow_patterns"] == ["siuo_gen.json", "images/*", "images.zip"]
    assert f"next: safemlrm datasets check siuo -o revision={COMMIT}" in result.stderr


def test_a_folder_of_ones_own_is_checked_as_a_folder(client: Fake, tmp_path: Path) -> None:
    fetched = client()
    result = download("siuo", "--accept", "--to", tmp_path / "siuo")
    assert fetched[0]["local_dir"] == str(tmp_path / "siuo")
    assert f"datasets check siuo --root {tmp_path / 'siuo'}" in result.stderr


def test_options_say_which_files_are_fetched(client: Fake) -> None:
    fetched = client({"data/german-0.parquet": 1, "data/english-0.parquet": 1})
    result = download("msts", "--accept", "-o", "language=german")
    assert "1 file" in result.stderr
    assert fetched[0]["allow_patterns"][0] == "data/german-*.parquet"
    assert "-o language=german" in result.stderr


@pytest.mark.parametrize(
    ("files", "arguments", "words"),
    [
        (
            {"siuo_gen.json": 21_000_000_000},
            (),
            "21.00 GB, more than 20 GB: allow it with --max-gb",
        ),
        ({"siuo_gen.json": 10**18}, ("--max-gb", "1e12"), "has room for"),
        ({"README.md": 1}, (), "name an older --revision"),
    ],
)
def test_what_is_too_large_or_not_there_is_refused(
    files: Mapping[str, int], arguments: tuple[str, ...], words: str, client: Fake
) -> None:
    fetched = client(files)
    result = download("siuo", "--accept", *arguments)
    assert isinstance(result.exception, OptionError)
    assert words in str(result.exception)
    assert fetched == []


def test_a_file_of_unknown_size_is_no_small_one(client: Fake) -> None:
    client({"siuo_gen.json": None})
    assert isinstance(download("siuo", "--accept").exception, DatasetError)


def test_what_the_hub_does_not_know_is_an_error_and_says_what_to_do(client: Fake) -> None:
    client()
    error = download("siuo", "--accept", "--revision", "gone").exception
    assert isinstance(error, DatasetError)
    assert "404 Client Error; a gated data set needs its terms accepted" in str(error)


def test_a_data_set_that_is_not_on_the_hub_says_where_it_is(client: Fake) -> None:
    client()
    error = download("figstep", "--accept").exception
    assert isinstance(error, OptionError)
    assert "github.com/ThuCCSLab/FigStep" in str(error)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert isinstance(download("siuo", "--accept").exception, MissingExtraError)


# The real client, against a server on this machine -----------------------------------------------


@pytest.fixture
def siuo(tmp_path: Path) -> dict[str, bytes]:
    releases.siuo(tmp_path / "release")
    paths = [path for path in sorted((tmp_path / "release").rglob("*")) if path.is_file()]
    files = {str(path.relative_to(tmp_path / "release")): path.read_bytes() for path in paths}
    return files | {"siuo_mcqa.json": b"[]"}


def environment(url: str, home: Path) -> dict[str, str]:
    more = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return {**os.environ, **more, "HF_HUB_DISABLE_XET": "1"}


def real(url: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "opensafemlrm", "datasets", *arguments],
        env=environment(url, home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_real_download_goes_on_where_it_stopped_and_is_read_by_its_commit(
    siuo: dict[str, bytes], tmp_path: Path
) -> None:
    pytest.importorskip("huggingface_hub")
    with fake_hub.serving("sinwang/SIUO", siuo, cut={"siuo_gen.json": 50}) as (url, asked):
        ran = real(url, tmp_path / "home", "download", "siuo", "--accept")
        assert ran.returncode == 0, ran.stderr
        first = [line for line in asked if line.startswith("GET /datasets/")]
        asked.clear()
        real(url, tmp_path / "home", "download", "siuo", "--accept")
        assert [line for line in asked if line.startswith("GET /datasets/")] == []
        checked = real(url, tmp_path / "home", "check", "siuo", "-o", f"revision={COMMIT}")
    assert not any("siuo_mcqa.json" in line for line in first)
    assert "2 of 167 expected items" in checked.stdout


def test_a_real_client_tells_what_is_not_there_yet(siuo: dict[str, bytes], tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    look = "import sys; from opensafemlrm.datasets import hub; print(hub.snapshot('sinwang/SIUO', "
    look += f"'{COMMIT}', ('images/*',), None, float(sys.argv[1])))"
    with fake_hub.serving("sinwang/SIUO", siuo) as (url, _):
        said = [
            subprocess.run(
                [sys.executable, "-c", look, most],
                env=environment(url, tmp_path / "home"),
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            ).stderr
            for most in ("1e-9", "1", "1e-9")
        ]
    assert "DatasetError: https://huggingface.co/datasets/sinwang/SIUO would fetch" in said[0]
    assert said[1:] == ["", ""]


def test_a_real_gated_data_set_says_how_to_get_it(siuo: dict[str, bytes], tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    with fake_hub.serving("sinwang/SIUO", siuo, gated=True) as (url, _):
        ran = real(url, tmp_path / "home", "download", "siuo", "--accept")
    assert ran.returncode == 2
    assert "gated: accept its terms on its page" in ran.stderr
    assert "terms accepted on https://huggingface.co/datasets/sinwang/SIUO" in ran.stderr
