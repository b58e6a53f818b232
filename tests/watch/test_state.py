"""What a watch knows of itself, in a file that anybody may have changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm.errors import OptionError, StoreError
from opensafemlrm.watch.state import State, age

VERSION = {"begun": "2026-11-01T00:00:00Z", "batches": [{"first": 0, "count": 3}]}


def read(store: Path, **changes: Any) -> State:
    (store / "watch").mkdir()
    (store / "watch/state.json").write_text(json.dumps({"versions": [VERSION], **changes}))
    return State.load(store)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, format=1).versions[0].batches[0].count == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"versions": []},
        {"format": 99},
        {"versions": [{**VERSION, "items": {"ab": ["zz"]}}]},
        {"versions": [{**VERSION, "batches": [{"first": 0, "count": 0}]}]},
        {"versions": [{**VERSION, "batches": [{"first": 0, "count": 1, "p_value": 2}]}]},
        {"more": 1},
    ],
)
def test_what_was_changed_or_is_of_a_later_version_is_said(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    """It ended in a traceback, or was written over."""
    with pytest.raises(StoreError, match="was changed, or a later version of this project wrote"):
        read(tmp_path, **changes)


@pytest.mark.parametrize("text", ["99999999999999w", "9" * 5000 + "d", "0d", "4", "w", "-1d", ""])
def test_a_time_that_is_none_is_said(text: str) -> None:
    with pytest.raises(OptionError, match="a time is written as 4w or 30d"):
        age(text)


def test_the_longest_time_there_is_can_be_counted_back() -> None:
    assert datetime.now(UTC) - age("99999w") > datetime.min.replace(tzinfo=UTC)
