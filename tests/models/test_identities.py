"""Replies that are in a store stay: no model's identity, label or key has changed.

``data/identities.json`` was recorded at commit daaae00. A new kind of model adds an entry; an entry
changes only where the catalogue gives a model the prompt that it lacked (R1-Onevision), or reads
its replies in another format, which is part of no key.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import registry
from opensafemlrm.registry import ComponentKind
from opensafemlrm.types import content_key

RECORDED = json.loads((Path(__file__).parent / "data" / "identities.json").read_text("utf-8"))


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded["label"])
def test_a_model_is_known_as_it_was(recorded: dict[str, Any]) -> None:
    model = registry.build(ComponentKind.MODEL, recorded["name"], recorded["options"])
    identity = model.identity()
    assert identity == recorded["identity"]
    assert content_key(identity).hex() == recorded["key"]
    assert model.label == recorded["label"]
    assert str(model.reasoning_format) == recorded["format"]


def test_every_kind_of_model_is_recorded() -> None:
    recorded = {entry["identity"]["name"] for entry in RECORDED}
    missing = set(registry.built_in(ComponentKind.MODEL)) - recorded
    assert missing == set()
