"""The data set and the attack keep the contract of their kinds."""

from __future__ import annotations

from pathlib import Path

import pytest
from tea_garden.attack import MirrorText
from tea_garden.dataset import TeaGarden

from opensafemlrm.testing import Check, checks


@pytest.mark.parametrize("check", checks("dataset"))
def test_the_tea_garden(check: Check, tmp_path: Path) -> None:
    check(lambda place: TeaGarden(), tmp_path)


@pytest.mark.parametrize("by_words", [False, True])
@pytest.mark.parametrize("check", checks("attack"))
def test_mirror_text(check: Check, by_words: bool, tmp_path: Path) -> None:
    check(lambda place: MirrorText(by_words), tmp_path)
