"""The folder of a report: what others put there is not written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from opensafemlrm.errors import ReportError
from opensafemlrm.report.page.write import write_files

FILES = {"tables/asr.csv": "a,b\n", "index.html": "<p>report</p>"}


def names(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out/tables").mkdir(parents=True)
    return tmp_path / "out"


def test_a_report_replaces_its_own_files(out: Path) -> None:
    write_files(out, FILES)
    write_files(out, {**FILES, "index.html": "<p>newer</p>"})
    assert names(out) == {".written.json", *FILES}
    assert (out / "index.html").read_text() == "<p>newer</p>"


def test_a_page_of_another_program_is_moved_aside(out: Path) -> None:
    """`report --out .` in a web site's folder took its front page."""
    (out / "index.html").write_text("<p>my site</p>")
    write_files(out, FILES)
    (moved,) = out.glob("moved-aside-*/index.html")
    assert moved.read_text() == "<p>my site</p>"
    assert (out / "index.html").read_text() == FILES["index.html"]


def test_a_table_that_was_changed_by_hand_is_moved_aside(out: Path) -> None:
    write_files(out, FILES)
    (out / "tables/asr.csv").write_text("mine\n")
    write_files(out, FILES)
    (moved,) = out.glob("moved-aside-*/tables/asr.csv")
    assert moved.read_text() == "mine\n"


def test_nothing_is_written_through_a_link(out: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.html"
    elsewhere.write_text("<p>my site</p>")
    (out / "index.html").symlink_to(elsewhere)
    write_files(out, FILES)
    assert elsewhere.read_text() == "<p>my site</p>"
    (out / "figures").symlink_to(tmp_path)
    with pytest.raises(ReportError, match="link"):
        write_files(out, {"figures/asr.svg": "<svg/>"})


def test_a_page_of_an_older_version_is_the_reports_own(out: Path) -> None:
    (out / "index.html").write_text('<meta name="generator" content="OpenSafeMLRM 0.1">')
    write_files(out, FILES)
    assert not list(out.glob("moved-aside-*"))
