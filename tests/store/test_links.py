"""What looks after a store follows no link out of it, and touches no file that is not its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm.errors import StoreError
from opensafemlrm.models.http import batch_files
from opensafemlrm.store import DATABASE
from opensafemlrm.store.maintenance import migrate, repair, vacuum
from tests.store.test_maintenance import bring_up_to_date


@pytest.fixture
def store(tmp_path: Path) -> Path:
    bring_up_to_date(tmp_path / "store")
    return tmp_path / "store"


@pytest.mark.parametrize("look_after", [repair, vacuum, migrate])
def test_a_database_behind_a_link_is_left_alone(
    store: Path, tmp_path: Path, look_after: Callable[[Path], Any]
) -> None:
    """A repair would have put the new database where the link led."""
    real = (store / DATABASE).rename(tmp_path / "of somebody else")
    (store / DATABASE).symlink_to(real)
    before = real.read_bytes()
    with pytest.raises(StoreError, match="this is a link"):
        look_after(store)
    assert real.read_bytes() == before
    assert (store / DATABASE).is_symlink()


def test_images_behind_links_are_neither_moved_nor_written(store: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / f"{'a' * 64}.png").write_bytes(b"my own")
    (store / "images").mkdir(exist_ok=True)
    (store / "images/aa").symlink_to(mine)
    (store / "images/bb").mkdir()
    (store / "images/bb" / f"{'b' * 64}.png").symlink_to(mine / f"{'a' * 64}.png")
    repair(store)
    vacuum(store)
    assert [file.read_bytes() for file in mine.iterdir()] == [b"my own"]
    assert (store / "images/bb" / f"{'b' * 64}.png").is_symlink()


def test_a_link_among_the_notes_of_batches_is_left_alone(tmp_path: Path) -> None:
    """Files older than a month were deleted, whoever had put them there."""
    mine = tmp_path / "mine.json"
    mine.write_text('{"id": "mine", "requests": []}')
    folder = tmp_path / "batches"
    folder.mkdir()
    (folder / f"{'a' * 32}.json").symlink_to(mine)
    (folder / "package.json").write_text("{}")
    assert batch_files.load(folder) == []
    assert sorted(file.name for file in folder.iterdir()) == [f"{'a' * 32}.json", "package.json"]
    assert mine.exists()
