"""A fault inside a component is one sentence: what failed, on which item, in which line."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import engine
from opensafemlrm.cli import main
from opensafemlrm.components import Defense, Model
from opensafemlrm.errors import ComponentError, DatasetError
from opensafemlrm.store import Store
from opensafemlrm.study import Study
from opensafemlrm.types import Item, JudgeRequest, Prompt, Response, Sampling, Verdict
from tests.support import CARD, Listed, Scorer, Scripted, Searches, Wrapped, items, study

HERE = re.escape(__file__)


class BrokenRows(Listed):
    def rows(self) -> Iterator[Item | DatasetError]:
        yield items(1)[0]
        raise KeyError("question")


class BrokenAttack(Wrapped):
    def apply(self, item: Item, seed: int) -> Prompt:
        return Prompt.user(item.fields["lantern"])


class BrokenSearch(Searches):
    async def search(self, item: Item, target: Any, judge: Any, sampling: Sampling) -> Any:
        return [][int(item.id[1:])]


class BrokenModel(Scripted):
    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        raise ZeroDivisionError


class BrokenJudge(Scorer):
    async def judge(self, item: Item, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        raise TypeError("no text")


@dataclass(frozen=True)
class BrokenDefense(Defense):
    name = "broken"
    card = CARD

    async def generate(self, model: Model, prompt: Prompt, sampling: Sampling) -> Response:
        raise RuntimeError("no model")


def run(what: Study, place: Path) -> None:
    with Store.open(place / "store", "create") as store:
        asyncio.run(engine.evaluate(engine.Plan.of(what), store))


ITEM = r" on item 'i\d' of 'listed'"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: replace(study(), datasets=(BrokenRows(),)),
            "'listed' failed: KeyError: 'question'",
        ),
        (lambda: study(attacks=[BrokenAttack()]), f"'wrapped' failed{ITEM}: KeyError: 'lantern'"),
        (lambda: study(attacks=[BrokenSearch()]), f"'searches' failed{ITEM}: IndexError: list"),
        (lambda: study(BrokenModel()), f"'scripted' failed{ITEM}: ZeroDivisionError "),
        (lambda: study(judge=BrokenJudge()), f"'scorer' failed{ITEM}: TypeError: no text"),
        (
            lambda: replace(study(), defenses=(BrokenDefense(),)),
            f"'broken' failed{ITEM}: RuntimeError: no model",
        ),
    ],
    ids=["dataset", "attack", "search", "model", "judge", "defense"],
)
def test_it_names_component_item_file_and_line(
    make: Callable[[], Study], says: str, tmp_path: Path
) -> None:
    what = make()
    if not isinstance(what.datasets[0], BrokenRows):
        what = replace(what, datasets=(Listed(items(2)),))
    with pytest.raises(ComponentError, match=rf"^{says}.*\({HERE}, line \d+\)$") as caught:
        run(what, tmp_path)
    assert "\n" not in str(caught.value)


def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["safemlrm", "judges", "show", "polcy-rubric"])
    with pytest.raises(SystemExit):
        main()
    assert "did you mean policy-rubric" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["safemlrm", "--debug", "judges", "show", "polcy-rubric"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said
    assert "did you mean policy-rubric" in said
    assert ended.value.code == 2
