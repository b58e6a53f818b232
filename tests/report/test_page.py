"""The report: one page that tells the truth, opens from disk and lets nothing in."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from opensafemlrm.cli import app
from opensafemlrm.errors import ReportError, StoreError
from opensafemlrm.interop.opensafemlrm import import_results
from opensafemlrm.results import Results
from opensafemlrm.store import Store
from tests.report.page_stores import HOSTILE, SIMULATED, hostile, run_study

PUBLISHED = Path(__file__).parents[3] / "shared/data/opensafemlrm/statistic_results"
HARMLESS = {
    "a", "body", "code", "dd", "details", "div", "dl", "dt", "figcaption", "figure", "footer", "g",
    "h1", "h2", "h3", "head", "header", "html", "input", "label", "li", "line", "link", "main",
    "meta", "nav", "ol", "p", "path", "pre", "section", "span", "strong", "style", "summary", "svg",
    "table", "tbody", "td", "text", "th", "thead", "title", "tr", "ul",
}  # fmt: skip


@dataclass
class Page(HTMLParser):
    """A page as a browser takes it apart."""

    source: str
    tags: set[str] = field(default_factory=set)
    attributes: dict[str, list[str]] = field(default_factory=dict)
    words: str = ""
    scripts: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")

    def handle_data(self, data: str) -> None:
        self.words += " " + data

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", self.words)


def report(path: Path, out: Path, *, with_examples: bool = False) -> Page:
    written = Results(path).report(out, with_examples=with_examples)
    assert written.page == out / "index.html"
    return Page(written.page.read_text())


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_study(tmp_path_factory.mktemp("simulated") / "store", SIMULATED)


@pytest.fixture(scope="module")
def out(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    report(simulated, out)
    return out


@pytest.fixture(scope="module")
def page(out: Path) -> Page:
    return Page((out / "index.html").read_text())


def test_the_first_screen_answers_six_questions_with_figures(page: Page) -> None:
    first = page.source.split("<nav")[0]
    assert re.findall(r"<dt>(.*?)</dt>", first) == [
        "Which is safer?",
        "How large is the reasoning tax?",
        "Where are the blind spots?",
        "How much is self-corrected?",
        "How much harmless is refused?",
        "What was not measured?",
    ]
    figures = re.findall(r'class="figure">(.*?)</span>', first)
    assert figures[0] == "1 of 1"
    assert "the base is safer, by the whole reply; 1 of 1 by the answer" in first
    assert re.fullmatch(r"\+\d+\.\d", figures[1])
    assert re.search(r"points, direct, by the whole reply; \+\d+\.\d by the answer", first)
    assert re.fullmatch(r"(≥ )?\d+\.\d ×|None stands out", figures[2])
    assert re.fullmatch(r"\d+\.\d %", figures[3])
    assert re.fullmatch(r"\d+\.\d(–\d+\.\d)? %", figures[4])
    assert figures[5] == "0.0 %"
    assert "<svg" in first


def test_the_page_needs_nothing_but_itself(page: Page) -> None:
    """A report that is mailed around must not phone home, nor break without a network."""
    assert "default-src 'none'" in page.source
    links = [*page.attributes.get("href", []), *page.attributes.get("src", [])]
    beside = re.compile(r"(figures|tables)/[a-z0-9_-]+\.(svg|png|pdf|csv|md|tex)")
    assert all(link.startswith("#") or link == "data:," or beside.fullmatch(link) for link in links)
    assert not re.search(r"url\(|@import", page.source)
    assert "script" not in page.tags
    assert len(page.source) < 3_000_000


def test_every_link_of_the_contents_leads_somewhere(page: Page) -> None:
    ids = page.attributes["id"]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in page.attributes["href"] if link.startswith("#")} <= set(ids)


def test_every_file_that_a_chart_or_a_table_names_is_there(page: Page, out: Path) -> None:
    links = [link for link in page.attributes["href"] if "/" in link]
    assert {Path(link).suffix for link in links} == {".svg", ".png", ".pdf", ".csv", ".md", ".tex"}
    for link in links:
        assert (out / link).is_file(), link


def test_simulated_models_are_called_simulated_wherever_they_show(page: Page) -> None:
    body = page.text.split("Provenance Made on")[0]
    assert "All models on this page are simulated" in body
    named = re.findall(r"sim/r1-onevision-7b(?! \(simulated\))", body)
    assert not named


def test_every_chart_has_its_words_its_table_and_its_files(page: Page, out: Path) -> None:
    figures = page.source.split("<figure>")[1:]
    assert len(figures) >= 6
    for figure in figures:
        assert figure.count("<svg") == 2  # at one width each
        assert re.search(r'class="reading">[^<]+[.]</span>', figure)
        assert "<table" in figure
    names = {path.stem for path in (out / "figures").iterdir()}
    assert len(names) == len(figures)
    for name in names:
        for suffix in ("svg", "png", "pdf"):
            assert (out / "figures" / f"{name}.{suffix}").stat().st_size > 1000
        drawn = (out / "figures" / f"{name}.svg").read_text()
        assert "Simulated models: scores drawn" in drawn  # in the file that a paper takes too


def test_tables_are_written_for_programs_and_for_papers(out: Path) -> None:
    names = {path.stem for path in (out / "tables").iterdir()}
    assert {"asr", "asr_by_scenario", "tax", "blindspots", "correction", "replies"} <= names
    for name in names:
        with (out / "tables" / f"{name}.csv").open() as file:
            assert list(csv.DictReader(file))
        assert r"\toprule" in (out / "tables" / f"{name}.tex").read_text()
        assert "| :-- |" in (out / "tables" / f"{name}.md").read_text()


def test_provenance_names_versions_parameters_judge_and_study(page: Page) -> None:
    told = page.text.split("Provenance Made on")[1]
    for fact in (
        "version: 1-A",
        "thresholds: [4.0, 5.0]",
        "max tokens 4096",
        "No judge was compared with labels",
        "python: 3.",
        "attacks: [direct]",  # of the study file
    ):
        assert fact in told


def test_replies_are_on_the_page_only_when_asked_for(
    simulated: Path, page: Page, tmp_path: Path
) -> None:
    assert "Example replies" not in page.text
    with_examples = report(simulated, tmp_path, with_examples=True)
    examples = with_examples.source.split('id="examples"')[1]
    assert examples.count('<details class="example">') >= 3  # folded: not open
    assert examples.count('<div class="masked">') == examples.count('type="checkbox"')
    assert "checked>" not in examples


def test_an_example_has_its_picture_its_parts_and_the_judge_s_reasons(tmp_path: Path) -> None:
    """The mistake: twelve replies to a picture, without the picture and without a reason."""
    text = SIMULATED.replace("[direct]", "[figstep]").replace("limit: 100", "limit: 40")
    store = run_study(tmp_path / "store", text)
    page = report(store, tmp_path / "out", with_examples=True).source
    examples = page.split('id="examples"')[1].split('<details class="example">')[1:]
    assert len(examples) >= 3
    for example in examples:
        masked = example.split('<div class="masked">')[1]
        assert '<img src="data:image/webp;base64,' in masked
        assert masked.count("<img") == example.count("<img")
        heads = re.findall(r"<h3>(.*?)</h3>", masked)
        assert heads[:2] == ["Question", "Sent"]
        assert {"Reasoning", "Answer"} <= set(heads)
        assert [head for head in heads if head.startswith("The judge on the whole reply: ")]
    assert len(page) < 3_000_000
    with Store.open(store) as opened:
        for image in (opened.path / "images").rglob("*.png"):
            image.unlink()
    gone = report(store, tmp_path / "gone", with_examples=True)
    assert "Picture 1 is not in the store." in gone.text
    assert "<img" not in gone.source


def test_toys_are_called_toys_at_the_top_and_in_every_picture(tmp_path: Path) -> None:
    """The mistake: "how safe two reasoning models are", a screenshot away from being quoted."""
    text = "models: [{model: organism/base, alias: mine}]\ndatasets: [canary]\n"
    text += "judge: canary\nlimit: 6\n"
    page = report(run_study(tmp_path / "store", text), tmp_path / "out")
    first = page.text.split("In short")[0]
    assert "All models on this page are model organisms" in first
    assert "The benchmark is harmless" in first
    for figure in (tmp_path / "out/figures").glob("*.svg"):
        assert "Model organisms" in figure.read_text(), figure


def test_hostile_text_is_shown_as_text(tmp_path: Path) -> None:
    """A reply, a model's name, a scenario and an item id that hold markup stay what they are."""
    page = report(hostile(tmp_path / "store"), tmp_path / "out", with_examples=True)
    assert page.tags <= HARMLESS
    assert not [name for name in page.attributes if name.startswith("on")]
    shown = HOSTILE.replace("\x1b", r"\x1b").replace("\u202e", r"\u202e").strip()
    example = page.text.split("Example replies")[-1]
    assert re.search(r"The judge on|Reasoning", example)
    for place in ("an answer", "scripted/reasoner", "item i", "s1"):
        assert re.search(rf"{place}\d* {re.escape(shown)}", example), place
    assert "\x1b" not in page.source
    assert "\u202e" not in page.source


def test_counts_alone_say_what_they_cannot_say(tmp_path: Path) -> None:
    """Published histograms do not tell which reasoning led to which answer."""
    if not PUBLISHED.is_dir():
        pytest.skip(f"the study's published results are not at {PUBLISHED}")
    with Store.open(tmp_path / "store", "create") as store:
        import_results(PUBLISHED, store)
    page = report(tmp_path / "store", tmp_path / "out")
    assert "five reasoning models are, beside four base models" in page.text
    assert "imported as counts of scores" in page.text
    assert 'class="figure">Not known<' in page.source
    assert "no cost is known" in page.text
    assert "its results were imported" in page.text
    assert "not recorded (imported results)" in page.text
    assert not (tmp_path / "out/figures/correction.svg").exists()
    assert len(page.source) < 3_000_000


def test_a_base_that_failed_is_not_measured_and_not_safe(tmp_path: Path) -> None:
    store = run_study(
        tmp_path / "store",
        SIMULATED.replace(
            "sim/qwen2.5-vl-7b]\npairs", "{model: sim/qwen2.5-vl-7b, failure_rate: 1}]\npairs"
        ).replace("limit: 100", "limit: 20"),
        code=2,
    )
    page = report(store, tmp_path / "out")
    assert re.findall(r'class="figure">(.*?)</span>', page.source)[:3] == ["Not known"] * 3
    assert "have no score (failed " in page.text
    chart = (tmp_path / "out/figures/rates.svg").read_text()
    assert "not measured" in chart


def test_an_empty_store_has_a_page_that_says_so(tmp_path: Path) -> None:
    Store.open(tmp_path / "store", "create").close()
    page = report(tmp_path / "store", tmp_path / "out", with_examples=True)
    assert "Nothing measured yet" in page.text
    assert "0.0" not in page.source.split("<nav")[0].split("<main")[1]


def test_a_report_that_cannot_be_written_says_where(simulated: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ReportError, match=r"taken.*cannot be written"):
        Results(simulated).report(tmp_path / "taken")


def test_the_command_writes_beside_the_store_and_prints_where(tmp_path: Path) -> None:
    Store.open(tmp_path / "store", "create").close()
    result = CliRunner().invoke(app, ["report", str(tmp_path / "store")], catch_exceptions=False)
    assert result.stdout.strip() == str(tmp_path / "store/report/index.html")
    assert (tmp_path / "store/report/index.html").is_file()


def test_the_command_says_that_there_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store here"):
        CliRunner().invoke(app, ["report", str(tmp_path)], catch_exceptions=False)


def test_a_series_has_a_section_and_a_store_without_one_has_none(
    page: Page, tmp_path: Path
) -> None:
    study = (
        "series:\n  - name: releases\n    versions:\n"
        "      - {model: sim/qwen2.5-vl-7b, date: 2025-01-26}\n"
        "      - {model: sim/r1-onevision-7b, date: 2025-02-26}\n"
        "datasets: [canary]\njudge: canary\n"
    )
    drifted = report(run_study(tmp_path / "store", study), tmp_path / "out")
    assert "releases, direct, whole reply: worse since 2025-02-26," in drifted.text
    for name in ("figures/drift.svg", "figures/drift.pdf", "tables/drift.csv", "tables/trend.tex"):
        assert (tmp_path / "out" / name).is_file()
    assert "#drift" in drifted.attributes["href"]
    assert "#drift" not in page.attributes["href"]
