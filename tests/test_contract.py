"""What every component of the registry keeps to, a plugin's and the examples' included."""

from __future__ import annotations

import dataclasses
import importlib
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import registry
from opensafemlrm.built_in import classes
from opensafemlrm.components import Judge, Model
from opensafemlrm.datasets import taxonomy
from opensafemlrm.errors import DatasetError, OptionError
from opensafemlrm.registry import ComponentKind
from opensafemlrm.testing import Check, ScriptedJudge, ScriptedModel, checks
from opensafemlrm.types import Response, ResponseStatus
from tests import example_plugin
from tests.attacks.subjects import folder
from tests.datasets.releases import WRITERS

ROOT = Path(__file__).parents[1]
REPLY = "1. What is it made of?\n2. How is it folded?\n3. How is it lit?"
"""What the helper of an attack is asked for, and no verdict of any judge."""
DATASET, ATTACK, DEFENSE, MODEL, JUDGE = ComponentKind
NAMES = {
    kind: sorted({*registry.names(kind), *example_plugin.names(kind)})
    for kind in (DATASET, ATTACK, DEFENSE, JUDGE)
}
"""Models are not here: to keep their contract they would have to be reached."""


def has_tests_of_its_own(name: str) -> bool:
    """Whether a test file of the data set writes its release, and holds it to the contract."""
    path = ROOT / "tests" / "datasets" / f"test_{name.replace('-', '_')}.py"
    return path.is_file() and 'checks("dataset")' in path.read_text(encoding="utf-8")


NAMES[DATASET] = [name for name in NAMES[DATASET] if not has_tests_of_its_own(name)]


@pytest.fixture(scope="module", autouse=True)
def _plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with example_plugin.installed(tmp_path_factory.mktemp("site")):
        yield


def needed(kind: ComponentKind, name: str, place: Path) -> dict[str, Any]:
    """What a component needs, by the types of its options: models, judges, folders of images."""
    cls = registry.find(kind, name)
    hints = typing.get_type_hints(cls)
    options: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if not field.init or field.default is not dataclasses.MISSING:
            continue
        if hint is Model:
            options[field.name] = ScriptedModel(reply=Response(ResponseStatus.OK, REPLY))
        elif hint is Judge:
            options[field.name] = ScriptedJudge()
        elif Judge in typing.get_args(hint):
            options[field.name] = (ScriptedJudge(), registry.build(JUDGE, "rules"))
        elif hint is Path:
            options[field.name] = folder(place / "pictures")
        elif field.name == "band":
            options[field.name] = (0.0, 0.5)
    return options


def made(kind: ComponentKind, name: str, place: Path) -> Any:
    place.mkdir(parents=True, exist_ok=True)
    if kind is DATASET and name in WRITERS:
        return registry.build(kind, name, WRITERS[name](place))
    return registry.build(kind, name, needed(kind, name, place))


CASES = [
    pytest.param(kind, name, check, id=f"{name}-{check.__name__.lstrip('_')}")
    for kind, names in NAMES.items()
    for name in names
    for check in checks(kind)
]


@pytest.mark.parametrize(("kind", "name", "check"), CASES)
def test_it_keeps_the_contract(
    kind: ComponentKind, name: str, check: Check, tmp_path: Path
) -> None:
    check(lambda place: made(kind, name, place), tmp_path)


@pytest.mark.parametrize(
    ("kind", "name"), [(k, name) for k, names in NAMES.items() for name in names]
)
def test_it_is_found_by_its_name_and_refuses_an_option_it_does_not_take(
    kind: ComponentKind, name: str, tmp_path: Path
) -> None:
    component = made(kind, name, tmp_path / "one")
    assert component.name == name
    assert component.label.startswith(name)
    with pytest.raises(OptionError, match="no option 'lantern'"):
        registry.build(kind, name, {"lantern": 1})


@pytest.mark.parametrize("kind", [DATASET, ATTACK, DEFENSE, JUDGE, MODEL])
def test_the_built_in_ones_cite_their_source_and_are_in_the_docs(kind: ComponentKind) -> None:
    docs = (ROOT / "docs" / f"{kind}s.md").read_text(encoding="utf-8")
    for name in registry.built_in(kind):
        assert f"`{name}" in docs, f"{name} is not in docs/{kind}s.md"
        if kind is not MODEL:
            paper = registry.find(kind, name).card.paper
            known = r"\d{4}\.\d{4,5}|\d{4}|[Pp]roject|OpenSafeMLRM|baseline|own"
            assert re.search(known, paper), f"{name}: {paper}"


def test_every_row_of_the_registry_is_that_of_the_component_it_names() -> None:
    """A row under another name gives a component that nobody asked for, with another's card."""
    for kind in ComponentKind:
        for name, target in classes(kind).items():
            module, _, attribute = target.partition(":")
            assert getattr(importlib.import_module(module), attribute).name == name


@pytest.mark.parametrize("name", NAMES[DATASET])
def test_scenarios_in_the_shared_table_are_ids_of_it(name: str) -> None:
    assert set(taxonomy.scenarios(name).values()) <= set(taxonomy.titles())


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_a_release_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    """No release gave an empty dataset, and a study of nothing."""
    (tmp_path / "release").mkdir()
    options = WRITERS[name](tmp_path / "release")
    missing = tmp_path / "nowhere"
    place = {"path": missing / "lanterns.csv"} if "path" in options else {"root": missing}
    with pytest.raises(DatasetError, match="nowhere"):
        list(registry.build(DATASET, name, options | place).rows())
