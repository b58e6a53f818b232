"""Guards as a study declares them: with judges that ask a model, and judges of other packages."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import frame as frames
from opensafemlrm import registry
from opensafemlrm import study as studies
from opensafemlrm.analysis.cost import cost
from opensafemlrm.engine import Plan
from opensafemlrm.errors import DefenseError
from opensafemlrm.store import Store
from tests.report.page_stores import run_study
from tests.support import records

JUDGE = '''
from dataclasses import dataclass
from opensafemlrm.components import Judge
from opensafemlrm.types import Card, Verdict
from tests.support import records

@dataclass(frozen=True, slots=True)
class House(Judge):
    """Unsafe is what speaks of the house."""
    name = "house"
    card = Card(title="House", paper="none")
    reads = ("answer",)
    word: str = "house"
    async def judge(self, item, requests):
        found = [float(self.word in request.text) for request in requests]
        return [Verdict.scored(score, unsafe=score >= 1) for score in found]
'''

STUDY = """\
models: [sim/r1-onevision-7b]
datasets: [canary]
attacks: [direct]
defenses:
  - none
  - {defense: guard-output, guard: {judge: house, word: house}}
  - {defense: guard-input, guard: {judge: policy-rubric, model: sim/judge}}
judge: canary
limit: 30
"""


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[None]:
    """Install a package that brings a judge, as pip would."""
    (tmp_path / "house_judge.py").write_text(JUDGE)
    metadata = tmp_path / "house-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: house\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[opensafemlrm.judges]\nhouse = house_judge:House\n")
    before = list(sys.path)
    sys.path.insert(0, str(tmp_path))
    registry._plugins.cache_clear()
    yield
    sys.path[:] = before
    sys.modules.pop("house_judge", None)
    registry._plugins.cache_clear()


@pytest.mark.usefixtures("installed")
def test_a_judge_of_another_package_guards_and_what_it_held_back_is_in_the_store(
    tmp_path: Path,
) -> None:
    path = run_study(tmp_path / "store", STUDY)
    with Store.open(path) as store:
        costs = {row.defense.partition("[")[0]: row for row in records(cost(frames.read(store)))}
    assert costs["none"].requests == 30
    assert costs["guard-output"].requests == costs["guard-input"].requests == 60
    assert _tokens(costs["guard-output"]) == _tokens(costs["none"])  # the guard asked nobody
    assert _tokens(costs["guard-input"]) > _tokens(costs["none"])
    with closing(sqlite3.connect(path / "store.sqlite")) as database:
        held_back = database.execute(
            "SELECT c.text, g.text, g.detail FROM calls c "
            "JOIN generations g ON c.generation = g.key "
            "WHERE g.finish_reason = 'guard' AND c.purpose = 'answer'"
        ).fetchall()
    assert held_back
    for answer, shown, detail in held_back:
        assert "house" in answer
        assert "house" not in shown
        assert detail.startswith("held back by the guard, 1: ")


def _tokens(row: Any) -> int:
    return (row.input_tokens or 0) + (row.output_tokens or 0)


@pytest.mark.parametrize(
    ("defense", "said"),
    [
        ("{defense: guard-output, guard: canary}", "only judges the canary benchmark"),
        ("{defense: safethink, scorer: refusal}", "scores the reasoning"),
        ("reflect+zerothink", "put zerothink first"),
    ],
)
def test_a_study_that_could_only_fail_is_refused_before_its_first_request(
    tmp_path: Path, defense: str, said: str
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(
        STUDY.replace("{defense: guard-output, guard: {judge: house, word: house}}", defense)
    )
    with pytest.raises(DefenseError, match=said):
        Plan.of(studies.load(file))
