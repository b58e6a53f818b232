"""A format that nobody gave is detected, and the report says so."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass

import polars as pl
import pytest

from opensafemlrm import engine, frame
from opensafemlrm.analysis.coverage import reply_outcomes, verdict_outcomes
from opensafemlrm.report import Format, Table, render
from opensafemlrm.report.outcomes import coverage_tables
from opensafemlrm.store import Store
from tests.support import Scripted, items, study


@dataclass(frozen=True)
class Unlisted(Scripted):
    """A model that the catalogue does not know."""

    @property
    def reasoning_format(self) -> str:
        return "auto"


@pytest.fixture
def stored(tmp_path):
    models = (Unlisted(model="unlisted"), Scripted(model="listed"))
    what = dataclasses.replace(study(rows=items(3)), models=models)
    with Store.open(tmp_path / "store", "create") as store:
        asyncio.run(engine.evaluate(engine.Plan.of(what), store))
        yield store


def test_the_report_names_the_models_whose_format_was_detected(stored):
    """Nobody can tell a detected split from one that the model's card prescribes."""
    assert frame.detected(stored) == ["scripted/unlisted"]
    tables = _tables(frame.read(stored), frame.detected(stored))
    assert "detected in each reply, for: scripted/unlisted." in render(tables[0], Format.MD)


def test_nothing_is_said_where_all_formats_are_known():
    assert _tables(pl.DataFrame(schema=frame.SCHEMA), [])[0].needed_notes() == []


def _tables(rows: pl.DataFrame, detected: list[str]) -> list[Table]:
    return coverage_tables(reply_outcomes(rows), verdict_outcomes(rows), detected)
