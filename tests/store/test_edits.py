"""Stores that another hand has changed: a check finds every edit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from opensafemlrm.store.checking import check
from tests.store.edits import EDITS, edit
from tests.store.test_maintenance import bring_up_to_date


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole")
    bring_up_to_date(path)
    return path


@pytest.mark.parametrize("name", EDITS)
def test_every_edit_is_found(whole: Path, tmp_path: Path, name: str) -> None:
    """A check that calls a store whole is believed."""
    path = shutil.copytree(whole, tmp_path / "copy")
    edit(path, name)
    assert [finding for finding in check(path) if finding.problem]
