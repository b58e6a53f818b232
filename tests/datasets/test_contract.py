"""What every dataset of the registry keeps to, a plugin's included: one test, grown by each row."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import typing
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import images, registry
from opensafemlrm.datasets import taxonomy
from opensafemlrm.errors import DatasetError, OptionError
from opensafemlrm.registry import ComponentKind
from opensafemlrm.types import Card, Item, ItemKind, content_key
from tests.datasets.releases import WRITERS

NAMES = registry.names(ComponentKind.DATASET)
BUNDLED = {"canary", "tea-garden"}
"""Datasets that need no release."""


def made(name: str, root: Path) -> Any:
    root.mkdir(exist_ok=True)
    options = {} if name in BUNDLED else WRITERS[name](root)
    return registry.build(ComponentKind.DATASET, name, options)


def items(dataset: Any) -> list[Item]:
    rows = list(dataset.rows())
    assert [row for row in rows if isinstance(row, DatasetError)] == []
    return rows


@pytest.fixture(params=NAMES)
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return made(request.param, tmp_path / "release")


def test_says_what_it_is(dataset: Any) -> None:
    cls = type(dataset)
    assert registry.find(ComponentKind.DATASET, dataset.name) is cls
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", dataset.name)
    assert re.fullmatch(r"\d+-[A-Z]", dataset.version)
    assert isinstance(dataset.card, Card)
    card = dataset.card
    assert all((card.title, card.licence, card.source, card.size, card.kinds))
    assert re.search(r"arXiv \d{4}\.\d{4,5}|OpenSafeMLRM|this project|your own", card.paper)
    assert inspect.getdoc(cls)
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined] # dataclasses have it


def test_is_typed(dataset: Any) -> None:
    hints = typing.get_type_hints(inspect.unwrap(dataset.rows))
    assert hints["return"] == Iterator[Item | DatasetError]


def test_gives_whole_items_of_its_own(dataset: Any) -> None:
    found = items(dataset)
    assert found
    assert len({item.id for item in found}) == len(found)
    for item in found:
        assert item.dataset == dataset.label.partition("[")[0]
        assert item.question.strip()
        assert item.scenario.strip()
        assert item.origin
        json.dumps(dict(item.fields))
        for image in (*item.images, *item.released.values()):
            images.verify(image)


def test_gives_the_same_items_in_the_same_order(dataset: Any) -> None:
    first, second = items(dataset), items(dataset)
    assert [item.id for item in first] == [item.id for item in second]
    assert [item.key for item in first] == [item.key for item in second]


def test_where_a_release_lies_changes_nothing(dataset: Any, tmp_path: Path) -> None:
    """Moving the data made every stored reply look missing."""
    moved = made(dataset.name, tmp_path / "elsewhere")
    assert [item.key for item in items(moved)] == [item.key for item in items(dataset)]
    identity = dataset.identity()
    assert content_key(identity) == content_key(moved.identity())
    assert json.loads(json.dumps(identity)) == identity
    assert str(tmp_path) not in json.dumps(identity)
    assert dataset.label.startswith(dataset.name)


def test_pairs_have_a_harmful_and_a_benign_half(dataset: Any) -> None:
    pairs = defaultdict(list)
    for item in items(dataset):
        if "pair" in item.fields:
            pairs[item.fields["pair"]].append(item.kind)
    for kinds in pairs.values():
        assert sorted(kinds) == [ItemKind.BENIGN, ItemKind.HARMFUL]


def test_scenarios_in_the_shared_table_are_ids_of_it(dataset: Any) -> None:
    assert set(taxonomy.scenarios(dataset.name).values()) <= set(taxonomy.titles())


def test_refuses_an_option_it_does_not_take(dataset: Any) -> None:
    with pytest.raises(OptionError, match="no option 'lantern'"):
        registry.build(ComponentKind.DATASET, dataset.name, {"lantern": 1})


@pytest.mark.parametrize("name", sorted(set(NAMES) - BUNDLED))
def test_a_release_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    """No release gave an empty dataset, and a study of nothing."""
    options = WRITERS[name](tmp_path / "release")
    missing = tmp_path / "nowhere"
    options |= {"path": missing / "lanterns.csv"} if name == "table" else {"root": missing}
    with pytest.raises(DatasetError, match="nowhere"):
        list(registry.build(ComponentKind.DATASET, name, options).rows())
