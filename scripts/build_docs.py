"""Build the docs site: `make docs`. It works without a network, and so do its pages.

The documents are Markdown that reads well in a repository too, with links to files beside docs/.
Here they are laid out as a site: README.md is its first page, and a file that a page links to,
such as a study or an example, lies beside the pages.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ROOT / ".docs"
SITE = ROOT / "site"
BESIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
NAMED = re.compile(r"\[[\w./-]+\.md\]\(([^)#\s]+\.md)(#[^)\s]*)?\)")
"""A link whose text is the name of a document, as it reads well in a repository."""
LINK = re.compile(r"(\]\()(?!https?://|#|mailto:)([^)#\s]+)")


def place(path: Path) -> Path:
    """Where a file of the repository lies among the pages."""
    inside = path.relative_to(ROOT)
    if inside.parts[0] == "docs":
        return PAGES.joinpath(*inside.parts[1:])
    return PAGES / BESIDE.get(inside.as_posix(), f"files/{inside.as_posix()}")


def titled(text: str, folder: Path) -> str:
    """Return the text of a document with the titles of pages in place of their files' names."""

    def title(found: re.Match[str]) -> str:
        head = (folder / found[1]).read_text("utf-8").partition("\n")[0]
        words = re.split("[:,]", head.removeprefix("# "))[0]
        return f"[{words}]({found[1]}{found[2] or ''})"

    return NAMED.sub(title, text)


def lay_out(document: Path) -> None:
    """Write one document's page, and lay what it links to beside it."""
    page = place(document)

    def link(found: re.Match[str]) -> str:
        target = (document.parent / found[2]).resolve()
        if not target.is_file():
            raise SystemExit(f"{document.relative_to(ROOT)}: {found[2]} is no file")
        copy = place(target)
        if "files" in copy.parts and not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            if target.suffix == ".md":
                lay_out(target)
            else:
                shutil.copyfile(target, copy)
        return found[1] + Path(_relative(copy, page.parent)).as_posix()

    page.parent.mkdir(parents=True, exist_ok=True)
    text = titled(document.read_text("utf-8"), document.parent)
    page.write_text(LINK.sub(link, text), "utf-8")


def _relative(path: Path, folder: Path) -> str:
    up = 0
    while not path.is_relative_to(folder):
        folder, up = folder.parent, up + 1
    return "../" * up + path.relative_to(folder).as_posix()


def documents() -> list[Path]:
    """All that become pages."""
    return [*(ROOT / name for name in BESIDE), *sorted((ROOT / "docs").rglob("*.md"))]


def main() -> int:
    """Lay the pages out and build the site; return the generator's exit status."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.rmtree(SITE, ignore_errors=True)
    menu = (ROOT / "zensical.toml").read_text("utf-8")
    for document in documents():
        lay_out(document)
        name = place(document).relative_to(PAGES).as_posix()
        if f'"{name}"' not in menu:
            raise SystemExit(f"{name} is not in the menu: add it to nav in zensical.toml")
    shutil.copytree(ROOT / "docs/images", PAGES / "images", dirs_exist_ok=True)
    zensical = Path(sys.executable).with_name("zensical")
    return subprocess.run(
        [zensical, "build", "--strict", "--clean"], cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
