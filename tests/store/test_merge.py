"""Merging: nothing that people made is lost, and the order of the sources changes nothing."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm.errors import StoreError
from opensafemlrm.store import Cell, Store, generation_key, labels
from opensafemlrm.store.merge import ORDER, merge
from opensafemlrm.store.sink import Sink
from opensafemlrm.store.tables import RUNS, TABLES
from opensafemlrm.types import Part, Sampling, content_key
from tests.chaos.support import filling_up

TEXTS = ("Tea is made of leaves.", "Boil the water first.", "I would rather not say.")
SPLITS = (("absent", "auto@2-A"), ("closed", "think@2-A"), ("absent", "auto@10-A"))


def invented(path: Path, seed: int) -> None:
    """A store of a few replies whose texts, splits, judges and labels are drawn."""
    draw = random.Random(seed)

    def when() -> float:
        return float(draw.randrange(4))

    with Store.open(path, "create") as store:
        kinds = ("dataset", "attack", "defense", "model")
        parts = [store.put_identity(kind, kind, {"name": kind}) for kind in kinds]
        dataset, attack, defense, model = parts
        cell = store.put_cell(Cell(dataset, attack, defense, model, Sampling()))
        store.put([("runs", (when(), draw.choice([None, 9.0]), "study", "{}"))])
        items = [content_key("item", n) for n in range(4)]
        for n, item in enumerate(items):
            store.put([("items", (item, "tea", str(n), "s", "benign", "Which tea?", "{}"))])
            if draw.random() < 0.8:
                store.put(a_reply(draw, cell, item, when))
        for judge in ("one", "two"):
            key = store.put_identity("judge", judge, {"name": judge}, {"thresholds": [4]})
            counts = [(part, float(s), draw.randrange(3)) for part in Part for s in (0, 5)]
            store.put_counts(cell, key, "s", [(str(part), score, n) for part, score, n in counts])
            one, two, three, four, five = (draw.randrange(9) for _ in range(5))
            rows = [("answer", b"", b"", "", 4.0, one, two, three, four, five)]
            labels.put_calibrations(store, key, "labels", rows)
        ends = ("s", "{}", "yes", 9, draw.randrange(9), 0.1, 0.9, when())
        store.put([("stops", (cell, b"", content_key("judge"), *ends))])
        store.put([("pairs", (model, parts[draw.randrange(3)]))])
        put_series(store, draw.sample(parts, draw.randrange(1, 4)))
        store.put([("inapplicable", (cell, items[-1], draw.choice(("no text", "no image"))))])
        held = bytes([draw.randrange(3)]) * 16
        store.put([("readings", (dataset, b"source", content_key(held), held, when()))])
        with store.transaction() as connection:
            connection.execute("UPDATE counts SET created = ?", (when(),))
            connection.execute("UPDATE calibrations SET created = ?", (when(),))


def put_series(store: Store, models: Sequence[bytes]) -> None:
    """Versions of a series in their order."""
    store.put(
        ("series", ("training", model, place, 100.0 * place, None))
        for place, model in enumerate(models)
    )


def a_reply(draw: random.Random, cell: bytes, item: bytes, when: Any) -> list[Any]:
    key, seed = generation_key(cell, item, 0), 0
    text, (trace, splitter) = draw.choice(TEXTS), draw.choice(SPLITS)
    transient = draw.random() < 0.2
    status = "failed" if transient else draw.choice(("ok", "ok", "truncated"))
    response = {
        "status": status,
        "transient": int(transient),
        "text": text,
        "input_tokens": 1,
        "output_tokens": draw.randrange(3),
        "latency": 0.5,
    }
    place = {"cell": cell, "item": item, "seed": seed}
    split = {"trace": trace, "splitter": splitter, "created": when()}
    prompt = f'[["user", ["{text} {response["output_tokens"]}"]]]'
    rows = [
        row("generations", key=key, **place, **response, **split),
        row("prompts", attack=cell, item=item, seed=seed, content=prompt),
        row("calls", generation=key, step=0, purpose="query", prompt="[]", **response),
    ]
    for judge in ("one", "two"):
        judge_key = content_key("judge", {"name": judge})
        verdict = {"key": content_key(judge_key, splitter, text), "judge": judge_key}
        if draw.random() < 0.3:
            found: dict[str, Any] = {"label": "unscored", "reason": "judge_failed"}
        else:
            score = float(draw.randrange(6))
            found = {"label": "unsafe" if score >= 4 else "safe", "score": score}
        rows.append(row("verdicts", **verdict, **found, created=when()))
        if draw.random() < 0.7:
            rows.append(("judgements", (key, judge_key, None, verdict["key"], verdict["key"])))
    for labeller in ("ann", "bob"):
        if draw.random() < 0.7:
            unsafe = draw.choice((None, 0, 1))
            rows.append(("labels", (key, "answer", labeller, text, unsafe, None, None, "", when())))
    return rows


def row(table: str, **values: Any) -> tuple[str, tuple[Any, ...]]:
    """A row with these values; others are empty, or missing where they may be."""
    empty = {"key": b"", "text": "", "int": 0, "real": 0.0}
    optional = {
        word.partition(":")[0].rstrip("?")
        for word in TABLES[table].spec.split()
        if word.endswith("?")
    }
    columns = TABLES[table].columns.items()
    rest = {name: None if name in optional else empty[kind] for name, kind in columns}
    return table, tuple({**rest, **values}.values())


def content(path: Path) -> dict[str, list[Any]]:
    """Every row of every table, but for the numbers of the runs."""
    with Store.open(path) as store:
        tables = [table for table in TABLES.values() if not table.updates]
        return {
            table.name: sorted(store.connection.execute(table.select()).fetchall(), key=repr)
            for table in tables
        }


def merged(into: Path, *steps: Sequence[Path]) -> dict[str, list[Any]]:
    for sources in steps:
        with Store.open(into, "create") as store:
            merge(sources, store)
    return content(into)


@pytest.mark.parametrize("seed", range(12))
def test_three_stores_give_the_same_in_every_order(tmp_path: Path, seed: int) -> None:
    """Whoever's store came first decided which texts, splits and labels there were."""
    stores = [tmp_path / name for name in "abc"]
    for number, store in enumerate(stores):
        invented(store, 3 * seed + number)
    expected = merged(tmp_path / "at once", stores)
    for order in itertools.permutations(range(3)):
        one, two, three = (stores[n] for n in order)
        name = "".join(map(str, order))
        assert merged(tmp_path / name, [one], [two], [three]) == expected
        assert merged(tmp_path / f"again {name}", [one, two, three], [two]) == expected
        if order[0] < order[1]:
            merged(tmp_path / f"pair {name}", [one, two])
            pair = tmp_path / f"pair {name}"
            assert merged(tmp_path / f"of pair {name}", [three], [pair]) == expected


@pytest.mark.parametrize("seed", range(12))
def test_what_is_about_a_reply_stays_with_it(tmp_path: Path, seed: int) -> None:
    """A verdict beside a text that it is not about is a wrong number with nothing to show it."""
    stores = [tmp_path / name for name in "abc"]
    for number, store in enumerate(stores):
        invented(store, 100 + 3 * seed + number)
    found = merged(tmp_path / "all", stores)
    came = {
        row[0]: dict(zip(TABLES["generations"].columns, row, strict=True))
        for row in found["generations"]
    }
    verdicts = {row[0] for row in found["verdicts"]}
    for generation, judge, _, answer, full in found["judgements"]:
        reply = came[generation]
        assert answer == full == content_key(judge, reply["splitter"], reply["text"])
        assert answer in verdicts
    prompts = {(attack, item, seed): text for attack, item, seed, text in found["prompts"]}
    for key, reply in came.items():
        sent = prompts[reply["cell"], reply["item"], reply["seed"]]
        assert sent == f'[["user", ["{reply["text"]} {reply["output_tokens"]}"]]]'
        (call,) = [row for row in found["calls"] if row[0] == key]
        assert reply["text"] in call


def test_a_series_is_what_one_study_declared(tmp_path: Path) -> None:
    """Row by row, the last version of one order became the first of the other."""
    models = [content_key("model", name) for name in "abc"]
    orders = [models[:2], models[1::-1], models]
    for number, order in enumerate(orders):
        with Store.open(tmp_path / str(number), "create") as store:
            put_series(store, order)
    for pair, expected in (((0, 1), orders[:2]), ((1, 0), orders[:2]), ((1, 2), orders[2:])):
        name = "of " + "".join(map(str, pair))
        found = merged(tmp_path / name, [tmp_path / str(n) for n in pair])["series"]
        assert [row[1] for row in sorted(found, key=lambda row: row[2])] in expected


def test_labels_calibrations_and_counts_are_all_there(tmp_path: Path) -> None:
    """Hours of labelling were dropped without a word."""
    stores = [tmp_path / name for name in "abc"]
    for number, store in enumerate(stores):
        invented(store, number)
    found = merged(tmp_path / "all", stores)
    for table, key in (("labels", 4), ("calibrations", 7), ("counts", 4)):
        given = {row[:key] for store in stores for row in content(store)[table]}
        assert {row[:key] for row in found[table]} == given, table
        assert given


def test_every_table_there_is_is_merged(tmp_path: Path) -> None:
    assert {table.name for table in ORDER} == set(TABLES)
    assert len(ORDER) == len(TABLES)


def test_a_sink_of_every_table_gives_every_row(tmp_path: Path) -> None:
    """What people made survives Parquet files as well."""
    invented(tmp_path / "store", 5)
    expected = content(tmp_path / "store")
    empty = {name for name, rows in expected.items() if not rows}
    assert empty == {"images"}, "a table without rows shows nothing"
    Sink(tmp_path / "sink").write({**expected, RUNS.name: expected["runs"]}, 1.0)
    found = merged(tmp_path / "back", [tmp_path / "sink"])
    assert found == expected


def test_a_store_is_not_merged_into_itself(tmp_path: Path) -> None:
    invented(tmp_path / "store", 1)
    with pytest.raises(StoreError, match="leave it out"):
        merged(tmp_path / "store", [tmp_path / "store"])


def test_a_source_comes_in_whole_or_not_at_all(tmp_path: Path) -> None:
    """Half of a source is replies without their verdicts."""
    for number, name in enumerate("ab"):
        invented(tmp_path / name, number)
    before = content(tmp_path / "a")
    with Store.open(tmp_path / "b", "write") as store, store.transaction() as connection:
        connection.execute("UPDATE items SET question = hex(randomblob(100000))")
    full = pytest.raises(StoreError, match="full")
    with Store.open(tmp_path / "a", "write") as store, filling_up(store), full:
        merge([tmp_path / "b"], store)
    assert content(tmp_path / "a") == before
