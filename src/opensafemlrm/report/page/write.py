"""Writing a report: the page, its figures and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opensafemlrm import frame as frames
from opensafemlrm.analysis.coverage import not_applicable
from opensafemlrm.errors import ReportError
from opensafemlrm.report.figures import drawing
from opensafemlrm.report.figures.drawing import SIZES
from opensafemlrm.report.figures.theme import for_page
from opensafemlrm.report.page import charts as pictures
from opensafemlrm.report.page import key_results as answers
from opensafemlrm.report.page.charts import Picture
from opensafemlrm.report.page.examples import examples
from opensafemlrm.report.page.findings import Findings, findings
from opensafemlrm.report.page.header import head
from opensafemlrm.report.page.html import fill, table_html
from opensafemlrm.report.page.provenance import KINDS, provenance
from opensafemlrm.report.page.sections import Section, sections
from opensafemlrm.report.page.tables import FILES, file_tables
from opensafemlrm.report.tables import Table, render
from opensafemlrm.store.source import Source

_HEADS: Final = {
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


def write_report(source: Source, out: Path, *, with_examples: bool = False) -> Written:
    """Write ``index.html``, ``figures/`` and ``tables/`` of a store to the folder ``out``.

    The page needs no network and no other file. Replies are on it only ``with_examples``. Raises
    StoreError where the store cannot be read, ReportError where the files cannot be written.
    """
    _make_folders(out)
    found = read_findings(source)
    origin = provenance(source)
    chosen = (
        examples(source, frames.read(source, frames.OUTCOME_COLUMNS), found)
        if with_examples
        else []
    )
    made = sections(found)
    overview = [_Drawn.of(picture) for picture in pictures.overview(found)]
    drawn = [[_Drawn.of(picture) for picture in section.pictures] for section in made]
    values = {
        **head(found, origin),
        "answers": answers.answers(found),
        "overview": [one.values() for one in overview],
        "sections": [
            _section(section, pictures_) for section, pictures_ in zip(made, drawn, strict=True)
        ],
        "origin": origin,
        "store": Path(source.address).name,
        "components": [(_HEADS[kind], origin.of(kind)) for kind in KINDS],
        "examples": chosen,
    }
    page = fill("report.html", values)
    figures = [*overview, *(one for some in drawn for one in some)]
    tables = file_tables(found)
    try:
        _write(out, page, figures, tables)
    except OSError as error:
        raise _unwritable(out, error) from error
    return Written(out / "index.html", len(page.encode()), len(figures), len(tables))


def read_findings(source: Source) -> Findings:
    """Compute every result that a page shows. Raises StoreError where the store cannot be read."""
    return findings(
        frames.read(source),
        frames.pairs(source),
        not_applicable(frames.not_sent(source)),
        frames.calibrations(source),
        frames.detected(source),
    )


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A picture as it was drawn, at each size."""

    picture: Picture
    wide: str
    narrow: str

    @classmethod
    def of(cls, picture: Picture) -> _Drawn:
        wide, narrow = (drawing.to_svg(picture.draw(size)) for size in SIZES)
        return cls(picture, wide, narrow)

    def values(self) -> dict[str, Any]:
        """Return what the template shows of it."""
        label = f"{self.picture.title}. {self.picture.reading}"
        return {
            "title": self.picture.title,
            "reading": self.picture.reading,
            "note": self.picture.note,
            "charts": [
                (name, for_page(svg, label, size.width))
                for name, svg, size in zip(
                    ("wide", "narrow"), (self.wide, self.narrow), SIZES, strict=True
                )
            ],
            "table": None if self.picture.table is None else table_html(self.picture.table),
        }


def _section(section: Section, drawn: Sequence[_Drawn]) -> dict[str, Any]:
    return {
        "id": section.id,
        "title": section.title,
        "text": section.text,
        "pictures": [one.values() for one in drawn],
        "tables": [{"title": one.title, "html": table_html(one)} for one in section.tables],
    }


def _make_folders(out: Path) -> None:
    """Make them before the work, so that an error of the place is known at once."""
    try:
        for folder in (out / "figures", out / "tables"):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(out, error) from error


def _unwritable(out: Path, error: OSError) -> ReportError:
    return ReportError(f"{out}: the report cannot be written: {error.strerror}")


def _write(out: Path, page: str, figures: Sequence[_Drawn], tables: Sequence[Table]) -> None:
    for one in figures:
        path = out / "figures" / one.picture.name
        path.with_suffix(".svg").write_text(one.wide, encoding="utf-8")
        path.with_suffix(".png").write_bytes(drawing.to_png(one.wide))
        path.with_suffix(".pdf").write_bytes(drawing.to_pdf(one.wide))
    for table in tables:
        for to, suffix in FILES.items():
            path = out / "tables" / f"{table.name}.{suffix}"
            path.write_text(render(table, to), encoding="utf-8")
    # Last, so that a page that is there has all its files.
    (out / "index.html").write_text(page, encoding="utf-8")
