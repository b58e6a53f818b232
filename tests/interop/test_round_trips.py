"""What comes in and goes out again is the same text, however odd it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import opensafemlrm as osm
from opensafemlrm import results
from opensafemlrm.store import Store
from tests.interop.test_replies_in import MAPPING, imported, safemlrm

ODD = (
    *("two\nlines\r\nand\rmore", "\n\n", 'a "quoted", word; and\ta tab', "'", '"', "\\n"),
    *("=1+1", "+1", "@name", "NaN", "null", "None", "true", "1.0", "-1", "0x10", "[1, 2]", '["a"]'),
    *("  spaces around  ", "\u00a0", "ünï 🍵 日本 \u200fשלום", "e\u0301", "\ufeffmark", "\u2028"),
    *("<think>a</think>b", "<think>never ends", "</think>only an end", "{reply}", "%s", "\x1b[31m"),
    "a long one " * 20_000,
)
WHOLE = MAPPING.replace(
    "{judge: {value: their-judge},", "{judge: {value: their-judge}, part: full,"
)
"""Of a reply whose reasoning never ends, nothing but the whole can be judged."""


def rows(texts: tuple[str, ...] | list[str]) -> list[dict[str, Any]]:
    """Replies of which some share an item, under several models."""
    return [
        {
            "id": str(number // 2),
            "topic": "tea",
            "question": f"Question {number // 2}?",
            "model": f"m{number % 2}",
            "reply": text,
            "harm": 1,
        }
        for number, text in enumerate(texts)
    ]


def texts_in(store: Path) -> list[tuple[Any, ...]]:
    """What was asked and replied: the reply's parts as they are judged."""
    with Store.open(store) as opened:
        return sorted(
            opened.connection.execute(
                "SELECT m.label, i.id, i.question, i.scenario, g.repeat, g.status, "
                "CASE g.status WHEN 'failed' THEN '' ELSE coalesce(g.reasoning, '') || g.text END "
                "FROM generations g JOIN items i ON i.key = g.item "
                "JOIN cells c ON c.key = g.cell JOIN components m ON m.key = c.model"
            )
        )


def trip(folder: Path, store: Path, kind: str) -> Path:
    """Export a store as ``kind``, import that, and return the store that came of it."""
    out, again = folder / kind, folder / f"{kind}-again"
    assert safemlrm("export", kind, store, out).exit_code == 0
    pattern = {"dataset": "data/replies-*.parquet", "eee": "**/*_samples.jsonl"}[kind]
    files = sorted(out.glob(pattern))
    said = safemlrm("import", "replies", *files, "--mapping", kind, "--store", again)
    assert said.exit_code == 0, said.output
    return again


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_odd_replies_come_in_as_they_are_written(tmp_path: Path, ending: str) -> None:
    said, store = imported(tmp_path, rows(ODD), WHOLE, name=f"r.{ending}")
    assert said.exit_code == 0, said.output
    came = {(model, item): text for model, item, *_, text in texts_in(store)}
    for row in rows(ODD):
        # What is nothing but blanks is no reply: it says so, and is no text that was judged.
        expected = row["reply"] if row["reply"].strip() else ""
        assert came[f"{row['model']} (imported)", row["id"]] == expected


@pytest.mark.parametrize("kind", ["dataset", "eee"])
def test_odd_replies_come_back_from_what_was_exported(tmp_path: Path, kind: str) -> None:
    said, store = imported(tmp_path, rows([text for text in ODD if text.strip()]), WHOLE)
    assert said.exit_code == 0, said.output
    again = texts_in(trip(tmp_path, store, kind))
    assert [row[1:] for row in again] == [row[1:] for row in texts_in(store)]


@pytest.mark.parametrize("kind", ["dataset", "eee"])
def test_pairs_come_back_so_that_the_tax_is_the_same(tmp_path: Path, kind: str) -> None:
    """What came back had no pairs, and its table of the tax was empty."""
    models = [f"sim/{name}" for name in ("r1-onevision-7b", "mulberry-llava-8b", "qwen2.5-vl-7b")]
    pairs = [(models[0], models[2]), (models[1], models[2])]
    osm.evaluate(osm.Study(models, ["canary"], "canary", pairs=pairs, limit=4), tmp_path / "store")
    back, store = (
        results.open(path)
        for path in (trip(tmp_path, tmp_path / "store", kind), tmp_path / "store")
    )
    came = back.pairs().select(pl.all().str.strip_suffix(" (imported)"))
    assert came.rows() == store.pairs().rows() == sorted(pairs)
    assert back.tax()["difference"].sort().equals(store.tax()["difference"].sort())


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@pytest.mark.once
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(TEXT.filter(str.strip), min_size=1, max_size=8))
def test_any_reply_comes_back_from_a_data_set(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    said, store = imported(folder, rows(texts), WHOLE)
    assert said.exit_code == 0, said.output
    again = texts_in(trip(folder, store, "dataset"))
    assert [row[1:] for row in again] == [row[1:] for row in texts_in(store)]


def test_half_a_character_is_refused_and_not_replaced(tmp_path: Path) -> None:
    said, _ = imported(tmp_path, rows(["whole", "half \ud800"]), MAPPING)
    assert said.exit_code == 2
    assert "row 2: 'reply' holds" in said.output
