"""What every judge of the registry owes its users, whichever it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from opensafemlrm import registry
from opensafemlrm.registry import ComponentKind
from opensafemlrm.types import Card

NAMES = sorted(registry.BUILTIN[ComponentKind.JUDGE])
DOCS = Path(__file__).parents[2] / "docs" / "judges.md"


@pytest.mark.parametrize("name", NAMES)
def test_it_declares_what_its_scores_mean(name: str) -> None:
    cls = registry.find(ComponentKind.JUDGE, name)
    assert cls.name == name
    assert re.fullmatch(r"\d+-[A-Z]", cls.version)
    assert isinstance(cls.card, Card)
    assert cls.card.paper
    assert cls.reads
    assert cls.__doc__
    for ends in (cls.scale, cls.thresholds):
        # Panels and cascades take theirs from their members.
        assert isinstance(ends, property) or all(isinstance(end, float) for end in ends)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_in_the_docs(name: str) -> None:
    assert f"`{name}`" in DOCS.read_text(encoding="utf-8")
