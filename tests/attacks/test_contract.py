"""What every attack of the registry keeps to, a plugin's included: one test, grown by each row."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import inspect
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import images, registry
from opensafemlrm.components import Model, Search
from opensafemlrm.errors import AttackError, OptionError
from opensafemlrm.registry import ComponentKind
from opensafemlrm.types import Card, Item, Prompt, Sampling, SearchResult, content_key
from tests import example_plugin
from tests.attacks.subjects import folder, illustrated, item, plain, shipped
from tests.support import Scorer, Scripted, ok

NAMES = sorted({*registry.names(ComponentKind.ATTACK), *example_plugin.names(ComponentKind.ATTACK)})
THREE = "1. What is it made of?\n2. How is it folded?\n3. How is it lit?"


@pytest.fixture(scope="module", autouse=True)
def _plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with example_plugin.installed(tmp_path_factory.mktemp("site")):
        yield


@pytest.fixture(params=NAMES)
def attack(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return made(request.param, tmp_path)


def made(name: str, place: Path) -> Any:
    """Build an attack; what it needs is given by the type of the option: a model or a folder."""
    cls = registry.find(ComponentKind.ATTACK, name)
    hints = typing.get_type_hints(cls)
    options: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if not field.init or field.default is not dataclasses.MISSING:
            continue
        if hints[field.name] is Model:
            options[field.name] = Scripted(lambda *_: ok(THREE))
        elif hints[field.name] is Path:
            options[field.name] = folder(place / "pictures")
    return registry.build(ComponentKind.ATTACK, name, options)


def sent(attack: Any, subject: Item, seed: int) -> Prompt:
    if not isinstance(attack, Search):
        prompt: Prompt = attack.apply(subject, seed)
        return prompt
    target, judge = Scripted(lambda *_: ok("nothing to tell")), Scorer()
    search = attack.search(subject, target, judge, Sampling(seed=seed))
    found: SearchResult = asyncio.run(search)
    return found.prompt


def carried(attack: Any, seed: int = 0, **changes: Any) -> Prompt:
    """What it sends for the first subject that it can carry: no attack can carry none."""
    reasons = []
    for subject in (shipped(**changes), illustrated(**changes), item(**changes)):
        try:
            return sent(attack, subject, seed)
        except AttackError as error:
            reasons.append(str(error))
    raise AssertionError(f"{attack.name} carries no item: {reasons}")


def test_says_what_it_is(attack: Any) -> None:
    cls = type(attack)
    assert registry.find(ComponentKind.ATTACK, attack.name) is cls
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", attack.name)
    assert re.fullmatch(r"\d+-[A-Z]", attack.version)
    assert isinstance(attack.card, Card)
    assert attack.card.title
    assert re.search(r"arXiv \d{4}\.\d{4,5}|this project|baseline", attack.card.paper)
    assert inspect.getdoc(cls)
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined] # dataclasses have it


def test_is_a_transform_or_a_search_and_typed(attack: Any) -> None:
    searches = isinstance(attack, Search)
    method = attack.search if searches else attack.apply
    hints = typing.get_type_hints(inspect.unwrap(method))
    assert hints["return"] is (SearchResult if searches else Prompt)
    expected = ["item", "target", "judge", "sampling"] if searches else ["item", "seed"]
    assert list(inspect.signature(method).parameters) == expected
    assert inspect.iscoroutinefunction(method) == searches


def test_sends_the_same_for_the_same_item_and_seed(attack: Any) -> None:
    for seed in (0, 7):
        assert carried(attack, seed).identity() == carried(attack, seed).identity()


def test_sends_whole_images_and_some_text(attack: Any) -> None:
    prompt = carried(attack)
    assert prompt.turns[-1].role == "user"
    assert prompt.turns[-1].text.strip()
    for image in prompt.images:
        images.verify(image)
        assert images.from_bytes(images.read(image)) == image


def test_keeps_the_system_message_of_the_dataset(attack: Any) -> None:
    prompt = carried(attack, system="House rules {x} %s.")
    assert [turn.role for turn in prompt.turns] == ["system", "user"]
    assert prompt.turns[0].text == "House rules {x} %s."


def test_leaves_the_item_as_it_was(attack: Any) -> None:
    before = shipped()
    key = before.key
    carried(attack)
    assert shipped().key == key


def test_never_sends_the_bare_question_where_it_cannot_be_applied(attack: Any) -> None:
    """An attack whose helper is missing sends the bare question (how published tools go wrong)."""
    bare = Item("test", "9", "s", "How?", fields={})
    blank = Item("test", "9", "s", " \n", fields={})
    with pytest.raises(AttackError, match="'9'"):
        sent(attack, blank, 0)
    if attack.name == "direct":
        return
    with contextlib.suppress(AttackError):
        assert sent(attack, bare, 0).turns[-1].text != bare.question


def test_never_drops_an_image_of_the_item(attack: Any) -> None:
    """An image is dropped and the text is sent alone (how published tools go wrong)."""
    red, blue = (shipped(images=(plain(colour),)) for colour in ("red", "blue"))
    with contextlib.suppress(AttackError):
        assert sent(attack, red, 0).images != sent(attack, blue, 0).images


def _bare(word: str) -> str:
    return word.strip(",.")


def test_text_with_braces_and_percents_neither_breaks_nor_rewrites(attack: Any) -> None:
    """An item with {braces} or %s breaks or rewrites the prompt (how published tools go wrong)."""
    names = {"{question}": "lamp", "{masked}": "reed", "%s": "ten"}
    plain = odd = "How is lamp folded from reed in ten words?"
    for marked, word in names.items():
        odd = odd.replace(word, marked)

    def words(question: str, phrase: str) -> list[str]:
        fields = dict.fromkeys(("instruction", "rephrased", "rephrased_sd"), question)
        prompt = carried(attack, question=question, fields=fields | {"key_phrase": phrase})
        said = prompt.turns[-1].text
        if attack.name == "mirror-text":  # words are kept, backwards
            said = said[::-1]
        return sorted(names.get(word, word) for word in map(_bare, said.split()))

    assert words(odd, "{question}") == words(plain, "lamp")


def test_its_identity_is_content_and_can_be_stored(attack: Any, tmp_path: Path) -> None:
    identity = attack.identity()
    assert json.loads(json.dumps(identity)) == identity
    assert identity["version"] == attack.version
    other = tmp_path / "elsewhere"
    other.mkdir()
    assert content_key(made(attack.name, other).identity()) == content_key(identity)
    assert str(tmp_path) not in json.dumps(identity)
    assert attack.label.startswith(attack.name)


def test_refuses_an_option_it_does_not_take(attack: Any) -> None:
    with pytest.raises(OptionError, match="no option 'lantern'"):
        registry.build(ComponentKind.ATTACK, attack.name, {"lantern": 1})


def test_attacks_of_another_package_are_found_by_their_entry_points() -> None:
    assert "mirror-text" in registry.names(ComponentKind.ATTACK)
    assert registry.build(ComponentKind.ATTACK, "mirror-text").name == "mirror-text"
