"""``safemlrm watch``: a model that is changed behind its name is seen, and its absence is not."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import opensafemlrm as osm
from opensafemlrm.cli import app
from opensafemlrm.watch.state import State
from tests.audit.stores import safemlrm
from tests.cli.chat_server import Body, refused, said, serving, words_of

REFUSAL = "I can't help with that."
ITEMS = 200


class Server:
    """A server whose model can be changed: ``rate`` of its replies comply."""

    def __init__(self) -> None:
        self.rate, self.name, self.is_down = 0.2, "model-v1", False
        self.bodies: list[Body] = []
        self.study = Path()

    def answer(self, body: Body) -> tuple[int, Any]:
        """Answer at random, by the request with its seed, and by the rate of now."""
        if self.is_down:
            return refused("the model is not there", 404)
        asked = f"{words_of(body)} {body.get('seed')}".encode()
        lot = int.from_bytes(hashlib.sha256(asked).digest()[:4], "big") / 2**32
        return said("Of course. First of all." if lot < self.rate else REFUSAL, self.name)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server, and a study that asks it."""
    chat = Server()
    with serving(chat.answer) as (url, bodies):
        chat.bodies, chat.study = bodies, tmp_path / "study.yaml"
        chat.study.write_text(
            f"models: [{{model: openai/watched, base_url: '{url}/v1'}}]\n"
            f"datasets: [canary]\njudge: refusal\nlimit: {ITEMS}\n"
            "sampling: {temperature: 0.7, max_tokens: 100}\n"
        )
        yield chat


def watch(server: Server, *more: object) -> Any:
    server.bodies.clear()
    return safemlrm("watch", server.study, "--store", server.study.parent / "store", *more)


def test_an_unchanged_model_costs_a_tenth_and_one_line(server: Server) -> None:
    first = watch(server)
    assert first.exit_code == 0, first.stderr
    assert len(server.bodies) == ITEMS + 4 * ITEMS // 10
    seeds = [
        {body["seed"] for body in some} for some in (server.bodies[:ITEMS], server.bodies[ITEMS:])
    ]
    assert seeds[0].isdisjoint(seeds[1]), "the replies that the items were chosen by came again"
    for _ in range(3):
        result = watch(server)
        assert result.exit_code == 0, result.stderr
        assert len(server.bodies) == ITEMS // 10
        (line,) = [line for line in result.stderr.splitlines() if "probe" in line]
        assert re.search(r"no change seen in 20 replies \(p = [0-9.]+\)", line)


def test_a_change_is_seen_run_whole_and_ends_with_5_if_it_is_for_the_worse(server: Server) -> None:
    watch(server)
    server.rate = 0.9
    result = watch(server)
    assert result.exit_code == 5, result.stderr
    assert "answers otherwise than before" in result.stderr
    assert "less safe: openai/watched@20" in result.stderr
    assert len(server.bodies) == ITEMS // 10 + ITEMS + 4 * ITEMS // 10
    assert watch(server).exit_code == 0, "the next one is compared with the model of now"
    server.rate = 0.2
    versions = safemlrm("drift", server.study.parent / "store", "--part", "answer")
    assert "Series: openai/watched" in versions.stdout
    assert "first worse" in versions.stdout
    better = watch(server)
    assert better.exit_code == 0, better.stderr
    assert "no model is shown to be less safe" in better.stderr


def test_what_it_saw_is_there_for_programs_too(server: Server) -> None:
    """It was the one command that prints rows, and had them in sentences alone."""
    nothing: dict[str, list[Any]] = {"probe": [], "diff_figures": []}
    assert json.loads(watch(server, "--format", "json").stdout) == nothing
    seen = json.loads(watch(server, "--format", "json").stdout)
    assert [(row["replies"], row["changed"]) for row in seen["probe"]] == [(20, False)]
    server.rate = 0.9
    seen = json.loads(watch(server, "--format", "json").stdout)
    assert [row["changed"] for row in seen["probe"]] == [True]
    assert {row["part"] for row in seen["diff_figures"]} >= {"answer"}
    assert all(row["rate_b"] > row["rate_a"] for row in seen["diff_figures"])


def test_what_the_probe_asks_is_in_no_table(server: Server) -> None:
    """Its items were chosen by their outcome: a rate over them is of nothing."""
    watch(server)
    watch(server)
    store = server.study.parent / "store"
    assert osm.open(store).frame()["sample"].n_unique() == ITEMS
    assert osm.open(store).frame()["repeat"].max() == 0


def test_a_watch_that_is_killed_goes_on_where_it_was(server: Server) -> None:
    watch(server)
    server.is_down = True
    down = watch(server)
    assert down.exit_code == 2
    assert "no change" not in down.stderr
    state = json.loads((server.study.parent / "store/watch/state.json").read_text())
    assert [batch["done"] for batch in state["versions"][0]["batches"]] == [True, False]
    server.is_down, server.rate = False, 0.9
    server.study.write_text(server.study.read_text() + "# the same\n")
    assert watch(server).exit_code == 5


@pytest.mark.once
@pytest.mark.parametrize("is_written", [False, True])
def test_a_change_is_told_wherever_a_watch_was_killed(
    server: Server, is_written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that died between noting a comparison and making it lost the change for good."""
    watch(server)
    place = server.study.parent
    shutil.copytree(place / "store", place / "before")
    server.rate = 0.9
    save, left = State.save, 0

    class KilledError(Exception):
        """It goes no further."""

    def dying(state: State, store: Path) -> None:
        nonlocal left
        left -= 1
        if left or is_written:
            save(state, store)
        if not left:
            raise KilledError

    for number in itertools.count(1):
        shutil.rmtree(place / "store")
        shutil.copytree(place / "before", place / "store")
        left = number
        monkeypatch.setattr(State, "save", dying)
        words = ["watch", str(server.study), "--store", str(place / "store")]
        killed = CliRunner().invoke(app, words)
        monkeypatch.setattr(State, "save", save)
        if not isinstance(killed.exception, KilledError):
            assert killed.exit_code == 5
            break
        was_told = "less safe" in killed.stderr
        assert watch(server).exit_code == 5 or was_told
    assert number > 5


def test_a_comparison_that_was_not_reached_is_made_by_the_next_watch(server: Server) -> None:
    watch(server)
    server.rate = 0.9
    assert watch(server).exit_code == 5
    path = server.study.parent / "store/watch/state.json"
    state = json.loads(path.read_text())
    state["versions"][1] |= {"is_compared": False}
    path.write_text(json.dumps(state))
    assert watch(server).exit_code == 5
    assert not server.bodies, "all that it needs was paid for"


def test_versions_that_cannot_be_compared_are_not_called_safe(server: Server) -> None:
    server.study.write_text(server.study.read_text() + "stop: {half_width: 0.2}\n")
    watch(server)
    assert watch(server).exit_code == 0
    server.rate = 0.9
    result = watch(server)
    assert result.exit_code == 6, result.stderr
    assert "less safe" not in result.stderr


def test_a_merged_store_is_not_taken_for_one_that_was_never_watched(server: Server) -> None:
    """Its versions' names were given again, and the replies of the old ones counted for new."""
    watch(server)
    server.rate = 0.9
    watch(server)
    folder = server.study.parent
    merged = safemlrm("merge", folder / "store", "--store", folder / "merged")
    assert f"left behind: {folder}/store/watch" in merged.stderr
    server.bodies.clear()
    result = safemlrm("watch", server.study, "--store", folder / "merged")
    assert result.exit_code == 2
    assert "holds versions of openai/watched" in result.stderr
    assert not server.bodies
    shutil.copytree(folder / "store/watch", folder / "merged/watch", dirs_exist_ok=True)
    again = safemlrm("watch", server.study, "--store", folder / "merged")
    assert again.exit_code == 0
    assert len(server.bodies) == ITEMS // 10, again.stderr


def test_versions_that_the_study_itself_names_are_no_reason_to_refuse(server: Server) -> None:
    """A series of dates has labels like those of a watch."""
    plain = server.study.read_text()
    url = plain.partition("base_url: '")[2].partition("'")[0]
    model = f"{{model: openai/watched, base_url: '{url}'}}"
    dates = f"series: [{{name: weeks, model: {model}, dates: [2026-11-02]}}]\n"
    server.study.write_text(plain + dates)
    store = server.study.parent / "store"
    assert safemlrm("run", server.study, "--store", store).exit_code == 0
    assert "openai/watched@2026-11-02" in osm.open(store).frame()["model"].cast(str).to_list()
    result = watch(server)
    assert result.exit_code == 0, result.stderr


def test_another_name_in_the_replies_is_a_change(server: Server) -> None:
    watch(server)
    server.name = "model-v2"
    result = watch(server)
    assert "calls itself by another name now: model-v2" in result.stderr
    assert len(server.bodies) > ITEMS


def test_the_whole_study_is_run_when_asked_for_or_due(server: Server) -> None:
    watch(server)
    assert watch(server, "--every", "4w").exit_code == 0
    assert len(server.bodies) == ITEMS // 10
    assert watch(server, "--whole").exit_code == 0
    assert len(server.bodies) == ITEMS + 4 * ITEMS // 10
    path = server.study.parent / "store/watch/state.json"
    state = json.loads(path.read_text())
    state["versions"][-1]["begun"] = "2020-01-01T00:00:00Z"
    path.write_text(json.dumps(state))
    assert watch(server, "--every", "4w").exit_code == 0
    assert len(server.bodies) == ITEMS + 4 * ITEMS // 10
    models = osm.open(server.study.parent / "store").frame()["model"].cast(str).unique()
    assert len(models) == 3, "one store, and each version under a name of its own"


def test_a_second_watch_at_the_same_time_says_so(server: Server) -> None:
    from opensafemlrm.errors import StoreError
    from opensafemlrm.store.database import lock_to_write

    error = pytest.raises(StoreError, match="another run is writing to this store")
    with lock_to_write(server.study.parent / "store/watch", existing=False), error:
        watch(server)
    assert not server.bodies


def test_a_study_that_has_nothing_of_the_probe_says_what_to_do(server: Server) -> None:
    first = watch(server)
    assert first.exit_code == 0, first.stderr
    server.study.write_text(server.study.read_text().replace("0.7", "0.5"))
    result = watch(server)
    assert result.exit_code == 2
    assert "--whole" in result.stderr
