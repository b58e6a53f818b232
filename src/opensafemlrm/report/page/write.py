"""Writing a report: its page, figures and tables, into a folder that may hold an older one."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from opensafemlrm.errors import ReportError
from opensafemlrm.files import make_folder, read_as, write_atomic
from opensafemlrm.reading import Reading
from opensafemlrm.report.figures import drawing
from opensafemlrm.report.figures.drawing import SIZES
from opensafemlrm.report.figures.theme import for_page
from opensafemlrm.report.page.charts import Chart, finished, overview
from opensafemlrm.report.page.examples import examples
from opensafemlrm.report.page.findings import Findings
from opensafemlrm.report.page.header import caveat, header
from opensafemlrm.report.page.html import fill, table_html
from opensafemlrm.report.page.key_results import Answer, answers
from opensafemlrm.report.page.provenance import provenance
from opensafemlrm.report.page.sections import Section, sections
from opensafemlrm.report.page.tables import FILES, file_tables, summary
from opensafemlrm.report.tables import Table, render
from opensafemlrm.selection import RowChoice
from opensafemlrm.store.source import Source
from opensafemlrm.text import Format

_PAGE_NAMES: Final = ("setting", "model_label", "base_label")
_KINDS: Final = {
    "model": "Models",
    "dataset": "Datasets",
    "attack": "Attacks",
    "defense": "Defenses",
    "judge": "Judges",
}


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: the page, and how many figures and tables stand beside it."""

    page: Path
    size: int
    """Bytes of the page."""
    figures: int
    tables: int
    answers: tuple[Answer, ...]
    """What its first screen says."""
    summary: Table
    """The figures of its first chart."""

    def __repr__(self) -> str:
        sizes = f"{self.size:,} bytes, {self.figures} figures, {self.tables} tables"
        return f"<{self.page}: {sizes}>"


def write_report(
    results: Reading, source: Source, out: Path, *, with_examples: bool, rows: RowChoice
) -> Written:
    """Write ``index.html``, ``figures/`` and ``tables/`` of results to the folder ``out``.

    ``source`` is the results' own, opened. The page needs no network and no other file. Replies are
    on it only ``with_examples``. It is about these ``rows`` of its tables alone. Raises StoreError
    where the store cannot be read, UnknownNameError or OptionError where it has no such name or
    threshold, ReportError where the files cannot be written.
    """
    found = Findings(results, rows)
    _make_folders(out)  # not for a choice that is refused
    origin = provenance(source, found.selection)
    chosen = examples(source, found) if with_examples else []
    made = sections(found)
    below = caveat(found)
    first = [_Drawn.of(chart, below) for chart in finished(found, overview(found))]
    drawn = {section.id: [_Drawn.of(c, below) for c in section.charts] for section in made}
    tables, first_screen = file_tables(found), answers(found)
    values = {
        **header(found, origin),
        "answers": first_screen,
        "overview": [figure.values() for figure in first],
        "sections": [_section(section, drawn[section.id]) for section in made],
        "origin": origin,
        "sampling_notes": found.sampling_notes.values(),
        "store": Path(source.address).name,
        "written": {table.name for table in tables},
        "components": [(title, origin.of(kind)) for kind, title in _KINDS.items()],
        "examples": chosen,
    }
    figures = [*first, *(figure for figures in drawn.values() for figure in figures)]
    page = fill("report.html", values)
    try:
        _write(out, page, figures, tables)
    except OSError as error:
        raise _unwritable(out, error) from error
    return Written(
        page=out / "index.html",
        size=len(page.encode()),
        figures=len(figures),
        tables=len(tables),
        answers=tuple(first_screen),
        summary=summary(found),
    )


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A chart as it was drawn, at each size."""

    chart: Chart
    wide: str
    narrow: str

    @classmethod
    def of(cls, chart: Chart, caveat: str) -> _Drawn:
        wide, narrow = (
            drawing.to_svg(drawing.with_caveat(chart.draw(size), caveat, size)) for size in SIZES
        )
        return cls(chart, wide, narrow)

    def values(self) -> dict[str, Any]:
        """Return what the template shows of it."""
        label = f"{self.chart.title}. {self.chart.reading}"
        sizes = [
            (name, for_page(svg, label, size.width))
            for name, svg, size in zip(
                ("wide", "narrow"), (self.wide, self.narrow), SIZES, strict=True
            )
        ]
        return {
            "name": self.chart.name,
            "is_full": sizes[0][1].scrolls,
            "title": self.chart.title,
            "reading": self.chart.reading,
            "note": self.chart.note,
            "sizes": sizes,
            "table": None if self.chart.table is None else table_html(self.chart.table),
        }


def _section(section: Section, drawn: Sequence[_Drawn]) -> dict[str, Any]:
    return {
        "id": section.id,
        "title": section.title,
        "text": section.text,
        "figures": [figure.values() for figure in drawn],
        "tables": [
            {"title": table.title, "name": table.name, "html": table_html(table)}
            for table in section.tables
        ],
    }


def _make_folders(out: Path) -> None:
    """Make them before anything is drawn, so that an error of the place is known soon."""
    try:
        for folder in (out / "figures", out / "tables"):
            make_folder(folder)
    except OSError as error:
        raise _unwritable(out, error) from error


def _unwritable(out: Path, error: OSError) -> ReportError:
    return ReportError(f"{out}: the report cannot be written: {error.strerror}")


def _write(out: Path, page: str, figures: Sequence[_Drawn], tables: Sequence[Table]) -> None:
    files: dict[str, bytes | str] = {}
    for figure in figures:
        name = f"figures/{figure.chart.name}"
        files[f"{name}.svg"] = figure.wide
        files[f"{name}.png"] = drawing.to_png(figure.wide)
        files[f"{name}.pdf"] = drawing.to_pdf(figure.wide)
        if figure.chart.table is not None:
            # Without what only the page calls its rows.
            frame = figure.chart.table.frame.drop(_PAGE_NAMES, strict=False)
            files[f"{name}.csv"] = render(replace(figure.chart.table, frame=frame), Format.CSV)
    for table in tables:
        for to, suffix in FILES.items():
            files[f"tables/{table.name}.{suffix}"] = render(table, to)
    # Last, so that a page that is there has all its files.
    write_files(out, {**files, "index.html": page})


WRITTEN: Final = ".written.json"
"""The file that says which files a report wrote, with the SHA-256 of each."""
_MADE_BY: Final = b'<meta name="generator" content="OpenSafeMLRM'


def write_files(out: Path, files: Mapping[str, bytes | str]) -> None:
    """Write files by their names below ``out``, in their order.

    A file that is in the way, and is not as a report wrote it, is moved into a folder of its own.
    Raises OSError, and ReportError where a folder is a link: what it leads to is another's.
    """
    data = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    known = _written(out)
    for folder in {(out / name).parent for name in data} - {out}:
        if folder.is_symlink():
            raise ReportError(f"{folder}: this is a link; name another folder with --out")
    for name in data:
        path = out / name
        if path.is_symlink() or (path.exists() and not _is_own(path, known.get(name))):
            aside = out / f"moved-aside-{time.strftime('%Y%m%d-%H%M%S')}" / name
            make_folder(aside.parent)
            path.rename(aside)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in data.items()}
    write_atomic(out / WRITTEN, json.dumps(digests, indent=1))
    for name, content in data.items():
        write_atomic(out / name, content)


def _written(out: Path) -> dict[str, str]:
    """Return the SHA-256 of the files that an earlier report wrote; nothing where it kept none."""
    try:
        digests = read_as(out / WRITTEN, json.loads)
    except (OSError, ValueError):
        return {}
    return digests if isinstance(digests, dict) else {}


def _is_own(path: Path, digest: str | None) -> bool:
    content = path.read_bytes() if path.is_file() else b""
    return hashlib.sha256(content).hexdigest() == digest or _MADE_BY in content
