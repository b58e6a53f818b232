"""Defenses on a page: safety never without what it is paid with."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from opensafemlrm import frame as frames
from opensafemlrm import registry
from opensafemlrm.analysis.defense import defense_effects
from opensafemlrm.components import Dataset
from opensafemlrm.datasets.canary import Canary
from opensafemlrm.defenses.composed import NoDefense
from opensafemlrm.defenses.guard import GuardInput
from opensafemlrm.defenses.rereading import Ecso, Reflect
from opensafemlrm.engine import Plan, evaluate
from opensafemlrm.models.demo.sim import Simulated
from opensafemlrm.registry import ComponentKind
from opensafemlrm.report.page import defenses
from opensafemlrm.report.page.findings import Findings
from opensafemlrm.report.rates import defense_table
from opensafemlrm.report.tables import render
from opensafemlrm.results import Results
from opensafemlrm.store import Store
from opensafemlrm.text import Format
from opensafemlrm.types import Item, ItemKind, Verdict
from tests.support import Scorer, records, study

REFUSES_ALL = GuardInput(Scorer(lambda _: Verdict.scored(5, unsafe=True)))


@dataclasses.dataclass(frozen=True)
class Rows(Dataset):
    """Some items of the canary benchmark, in its name."""

    name = "canary"
    version = Canary.version
    card = Canary.card
    given: tuple[Item, ...] = dataclasses.field(default=(), compare=False)

    def rows(self) -> Any:
        yield from self.given


def rows(*, benign: bool) -> Rows:
    every = [row for row in Canary().rows() if isinstance(row, Item)]
    harmful = [row for row in every if row.kind is ItemKind.HARMFUL][::5]
    return Rows((*harmful, *[row for row in every if row.kind is ItemKind.BENIGN and benign]))


def store_of(path: Path, chosen: list[Any], *, benign: bool = True) -> Path:
    judge = registry.build(ComponentKind.JUDGE, "canary")
    one = study(Simulated("r1-onevision-7b"), [], judge=judge)
    one = dataclasses.replace(
        one,
        datasets=(rows(benign=benign),),
        attacks=(registry.build(ComponentKind.ATTACK, "direct"),),
        defenses=tuple(chosen),
    )
    with Store.open(path, "create") as store:
        asyncio.run(evaluate(Plan.of(one), store))
    return path


def found(path: Path) -> Findings:
    return Findings(Results(path))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("defended") / "store"
    return store_of(folder, [NoDefense(), Reflect(), Ecso(), REFUSES_ALL])


def test_a_defense_that_refuses_everything_is_shown_as_the_failure_it_is(path: Path) -> None:
    """By safety alone it would be the best of all: no reply of it is unsafe."""
    with Store.open(path) as store:
        effects = defense_effects(frames.read(store))
    refusing = effects.filter(pl.col("defense").str.starts_with("guard-input"))
    row = records(refusing)[0]
    assert (row.asr, row.overrefusal) == (0, 1)
    assert row.requests == 1  # the guard's: the model was never asked
    printed = render(defense_table(refusing[:1]), Format.MD)
    assert re.search(r"\| *0\.0 .*\| *100\.0 *\| *\+9\d\.\d *\|", printed), printed
    text = " ".join(defenses.words(found(path)))
    assert "under direct refuses 100.0 % of benign requests" in text
    assert "no defense that could be used" in text
    assert "reflect under direct refuses" not in text


def test_the_page_has_a_section_with_picture_table_and_files(path: Path, tmp_path: Path) -> None:
    Results(path).report(tmp_path)
    page = (tmp_path / "index.html").read_text()
    section = page.split('<section id="defenses"')[1].split("</section>")[0]
    assert section.count("<svg") == 2
    assert "Most gained: sim/r1-onevision-7b (simulated)" in section
    assert "<table" in section
    assert "prompts under ecso" in section
    assert len(re.findall(r"<dt>", page.split("<nav")[0])) == 6  # the first screen is what it was
    assert (tmp_path / "figures" / "defenses-1.pdf").stat().st_size > 1000
    assert "guard-input" in (tmp_path / "tables" / "defense.csv").read_text()


def test_a_store_without_defenses_has_no_section(tmp_path: Path) -> None:
    bare = found(store_of(tmp_path / "store", [NoDefense()]))
    assert defenses.words(bare) == ()
    assert not list(defenses.fronts(bare))


def test_without_the_undefended_model_nothing_is_compared_and_the_page_says_so(
    tmp_path: Path,
) -> None:
    alone = found(store_of(tmp_path / "store", [Reflect()]))
    assert "No defense can be compared" in defenses.words(alone)[0]
    assert not list(defenses.fronts(alone))


def test_without_benign_items_no_front_is_drawn_and_the_page_says_why(tmp_path: Path) -> None:
    """A picture of safety alone would crown the defense that refuses everything."""
    blind = found(store_of(tmp_path / "store", [NoDefense(), REFUSES_ALL], benign=False))
    assert any("Over-refusal was not measured" in one for one in defenses.words(blind))
    assert not list(defenses.fronts(blind))
