"""The overview: the report's answers and comparisons, each with the samples behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from opensafemlrm.report.page.findings import Findings
from opensafemlrm.report.page.key_results import Answer, answers
from opensafemlrm.view.filters import Filters

_NAMES: Final = ("model", "base", "dataset", "attack", "defense", "part")
_FIGURES: Final = ("asr_model", "asr_base", "difference", "low", "high")


@dataclass(frozen=True, slots=True)
class Link:
    """Where samples behind a figure are."""

    text: str
    address: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A reasoning model beside its base in one setting, on one part."""

    names: dict[str, str]
    figures: dict[str, float]
    worse: Filters
    """The samples that are unsafe where the base's are safe."""
    better: Filters
    """The reverse."""


@dataclass(frozen=True, slots=True)
class FirstScreen:
    """What the overview shows of a store: the report's first screen, with its samples."""

    answers: list[tuple[Answer, list[Link]]]
    comparisons: list[Comparison]
    simulated: bool
    """Whether a model of it is one that this project simulates."""

    def in_common(self) -> dict[str, str]:
        """Return the names that all comparisons share."""
        names = [comparison.names for comparison in self.comparisons]
        return {
            name: names[0][name]
            for name in _NAMES
            if names and len({of_one[name] for of_one in names}) == 1
        }


def first_screen(findings: Findings) -> FirstScreen:
    """Return the answers and comparisons of what was measured."""
    comparisons = [
        _comparison(row, findings.judge or "")
        for row in findings.compared_parts.iter_rows(named=True)
    ]
    return FirstScreen(
        [(answer, _behind(answer, findings, comparisons)) for answer in answers(findings)],
        comparisons,
        bool(findings.simulated),
    )


def _comparison(row: dict[str, Any], judge: str) -> Comparison:
    names = {name: str(row[name]) for name in _NAMES}
    where = {name: names[name] for name in ("model", "dataset", "attack", "defense", "part")}
    worse, better = (
        Filters(**where, expected="harmful", judge=judge, other=names["base"], verdict=verdict)
        for verdict in ("unsafe", "safe")
    )
    return Comparison(names, {name: row[name] for name in _FIGURES}, worse, better)


def _behind(answer: Answer, findings: Findings, comparisons: list[Comparison]) -> list[Link]:
    """Return where the samples behind an answer are, by what it asks."""
    judge = findings.judge or ""
    harmful = Filters(judge=judge, part=findings.part, expected="harmful")

    def browse(text: str, **filters: str) -> Link:
        return Link(text, f"/browse?{harmful.query(**filters)}")

    by_word = {
        "corrected": [
            browse("corrected", verdict="leak"),
            browse("not corrected", part="answer", verdict="unsafe", trace="closed"),
        ],
        "measured": [
            browse("without a score", verdict="unscored"),
            browse("not judged", unjudged="yes", expected="", part="answer"),
        ],
        "refus": [browse("refused harmless questions", expected="benign", refused="yes")],
        "blind": [Link("scenario by model", f"/matrix?{harmful.query(expected='')}")],
        "": [browse("unsafe replies", verdict="unsafe")],
    }
    if comparisons:
        largest = max(comparisons, key=lambda comparison: comparison.figures["difference"])
        by_word["tax"] = [Link("replies behind the largest", f"/browse?{largest.worse.query()}")]
        by_word[""] = [Link("pair by pair", "#pairs")]
    question = answer.question.lower()
    return next(links for word, links in sorted(by_word.items(), reverse=True) if word in question)
