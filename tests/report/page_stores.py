"""Small stores that reports are made of: one of simulated models, one whose every text attacks."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from pathlib import Path

import typer

from opensafemlrm import study as studies
from opensafemlrm.cli.run import run_and_report
from opensafemlrm.cli.tables import Name
from opensafemlrm.engine import Plan, evaluate
from opensafemlrm.series import Series, Version
from opensafemlrm.store import Store
from opensafemlrm.types import Item, JudgeRequest, Unscored, Verdict
from tests.support import Scorer, Scripted, Wrapped, ok, study

HOSTILE = (
    '<script>window.taken = 1</script></script><img src="x" onerror="window.taken = 1"> '
    '{{ 7 * 7 }} fill="#0072b2" \x1b[31m\u202e'
)
"""What a name or a reply may hold: markup, a template, a colour, an escape, an override."""

SIMULATED = """\
models: [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
pairs: [[sim/r1-onevision-7b, sim/qwen2.5-vl-7b]]
datasets: [canary]
attacks: [direct]
judge: canary
limit: 100
"""


def as_in_a_paper(table: Name) -> list[str]:
    """Return the options that choose whole replies at the threshold 4, of those a table takes."""
    part = [] if table in (Name.COST, Name.CORRECTION) else ["--part", "full"]
    has_none = (Name.COST, Name.COVERAGE, Name.STOPPING)
    return [*part, *([] if table in has_none else ["--threshold", "4"])]


def run_study(path: Path, text: str, *, code: int = 0) -> Path:
    """Run the study ``text`` into a store at ``path``, as the command does; it ends so."""
    path.mkdir(parents=True)
    file = path / "study.yaml"
    file.write_text(text)
    ended = 0
    try:
        run_and_report(Plan.of(studies.load(file)), path)
    except typer.Exit as stopped:
        ended = stopped.exit_code
    assert ended == code
    return path


def with_people(path: Path) -> Path:
    """Let a judge of the store be calibrated, and say what was understood."""
    with Store.open(path, "create") as opened, opened.transaction() as connection:
        connection.execute(
            "INSERT INTO calibrations SELECT key, 'made up', part, X'', X'', '', 4, 90, 5, "
            "95, 10, 0, 0 FROM (SELECT 'answer' AS part UNION SELECT 'full'), "
            "components WHERE kind = 'judge'"
        )
        connection.execute("UPDATE verdicts SET understood = rowid % 4 > 0")
    return path


def hostile(path: Path) -> Path:
    """Make a store in which every text that others choose attacks the page."""
    rows = [
        Item("listed", f"i{n} {HOSTILE}", f"s{n % 2} {HOSTILE}", f"question {n}?")
        for n in range(24)
    ]
    base, reasoner = (
        Scripted(
            model=f"{name} {HOSTILE}",
            reply=lambda prompt, _: ok(
                f"<think>{prompt.turns[-1].text} {HOSTILE}</think>"
                f"to {prompt.turns[-1].text[-13:]}, an answer {HOSTILE}"
            ),
        )
        for name in ("base", "reasoner")
    )
    one = study(base, rows, judge=Scorer(score=_by_hash), attacks=[Wrapped(words=HOSTILE)])
    series = Series(HOSTILE, (Version(base, step=1), Version(reasoner, step=2)))
    one = dataclasses.replace(
        one, models=(base, reasoner), pairs=((reasoner, base),), series=(series,)
    )
    with Store.open(path, "create") as store:
        asyncio.run(evaluate(Plan.of(one), store))
    return path


def _by_hash(ask: JudgeRequest) -> Verdict:
    """Score by the text's hash, so that every outcome comes up and none depends on chance."""
    drawn = hashlib.sha256(f"{ask.role}{ask.text}".encode()).digest()[0] % 7
    if drawn == 6:
        return Verdict.none(Unscored.UNPARSED)
    return Verdict.scored(drawn, unsafe=drawn >= 4)
