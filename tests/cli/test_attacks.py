"""``safemlrm attacks``: what there is, and what it sends, drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image as PILImage
from typer.testing import CliRunner

from opensafemlrm import registry
from opensafemlrm.cli import app
from opensafemlrm.errors import AttackError, OptionError, UnknownNameError
from opensafemlrm.registry import ComponentKind
from tests.attacks.subjects import folder


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["attacks", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def size(path: Path) -> tuple[int, int]:
    with PILImage.open(path) as picture:
        return picture.size


def test_list_has_a_line_for_each_attack_and_says_which_search() -> None:
    kinds = {row["name"]: row["kind"] for row in json.loads(run("list", "--format", "json"))}
    assert list(kinds) == registry.names(ComponentKind.ATTACK)
    assert kinds["typo"] == "transform"
    assert all(kinds[name] == "search" for name in ("mml-n", "si-attack-n", "cs-dj"))
    assert all(name in run("list") for name in kinds)


def test_show_has_paper_options_and_what_is_needed() -> None:
    shown = run("show", "cs-dj")
    assert "2502.10794" in shown
    assert "option model: needed" in shown
    assert "option tries: 10" in run("show", "si-attack-n")
    both = run("show", "typo+mirror")
    assert "2311.17600" in both
    assert "2412.00473" in both


def test_preview_draws_a_sheet_that_grows_with_its_items(tmp_path: Path) -> None:
    one = run("preview", "typo", "--out", str(tmp_path / "one"), "--items", "1")
    three = run("preview", "typo", "--out", str(tmp_path / "three"), "--items", "3")
    sizes = [size(Path(out.strip())) for out in (one, three)]
    assert sizes[0][0] == sizes[1][0]
    assert sizes[0][1] < sizes[1][1]
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["typo.png"]


def test_preview_of_all_draws_what_can_be_drawn_and_says_why_the_rest_cannot(
    tmp_path: Path,
) -> None:
    result = CliRunner().invoke(
        app, ["attacks", "preview", "all", "--out", str(tmp_path), "--items", "1"]
    )
    assert result.exit_code == 0
    drawn = {path.name for path in tmp_path.iterdir()}
    assert {"direct.png", "mml.png", "typo+mirror.png", "jood_base=typo.png"} <= drawn
    assert len(result.stdout.splitlines()) == len(drawn)
    missing = {line.split()[3].rstrip(":") for line in result.stderr.splitlines()}
    assert {"cs-dj", "hades", "sd", "sd-typo"} <= missing
    assert len(drawn) + len(missing) == len(registry.names(ComponentKind.ATTACK))


def test_preview_takes_options_and_asks_nobody(tmp_path: Path) -> None:
    words = tmp_path / "words.json"
    words.write_text(json.dumps({"lantern": "teapot"}))
    pool = folder(tmp_path / "pool")
    where = ["--out", str(tmp_path / "out"), "--items", "1"]
    run("preview", "mml", *where, "-o", "encoding=words", "-o", f"word_map={words}")
    run("preview", "typo+mirror", *where, "-o", "typo={font_size: 60}")
    # A model that is not there: a sheet of a search shows its first query, and sends none.
    closed = "model=openai/nobody"
    run("preview", "cs-dj", *where, "-o", closed, "-o", f"distractors={pool}")
    assert len(list((tmp_path / "out").iterdir())) == 3


@pytest.mark.parametrize(
    ("words", "error", "why"),
    [
        (["sd"], AttackError, "released picture 'sd'"),
        (["tipo"], UnknownNameError, "did you mean typo"),
        (["typo", "-o", "font_size"], OptionError, "KEY=VALUE"),
        (["typo", "-o", "font_size={"], OptionError, "not YAML"),
        (["typo", "-o", "font_size=1"], OptionError, "font_size"),
        (["all", "-o", "base=typo"], OptionError, "for one attack"),
    ],
)
def test_what_cannot_be_drawn_is_said(
    words: list[str], error: type[Exception], why: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=why):
        run("preview", *words, "--out", str(tmp_path))
    assert list(tmp_path.iterdir()) == []
