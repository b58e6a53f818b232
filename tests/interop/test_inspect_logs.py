"""A store becomes logs of Inspect AI and comes back as it was, and anybody's logs can be read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from opensafemlrm import api, results
from opensafemlrm.cli import app
from opensafemlrm.errors import ImageError, ImportDataError, OptionError, SafeMLRMError
from opensafemlrm.models.demo.sim import Simulated
from opensafemlrm.store import Store
from opensafemlrm.store.connecting import DATABASE
from opensafemlrm.store.labels import PersonLabel, put_labels
from opensafemlrm.store.source import open_source
from opensafemlrm.store.tables import TABLES
from opensafemlrm.study import Study
from opensafemlrm.types import Part, Response, ResponseStatus, Sampling

inspect_ai = pytest.importorskip("inspect_ai", reason="Inspect AI is not installed")

from inspect_ai.log import read_eval_log, write_eval_log  # noqa: E402 # after the skip
from inspect_ai.model import get_model  # noqa: E402

from opensafemlrm.interop.inspect_export import LEFT_OUT, export_logs  # noqa: E402
from opensafemlrm.interop.inspect_foreign import Unsafe  # noqa: E402
from opensafemlrm.interop.inspect_import import import_logs  # noqa: E402
from opensafemlrm.interop.inspect_samples import image_from_uri, prompt_of  # noqa: E402
from tests.interop.inspect_support import said, what_inspect_leaves_open  # noqa: E402, F401

pytestmark = pytest.mark.filterwarnings("ignore")  # Inspect's own affairs
REASONER = Simulated("r1-onevision-7b", truncated_rate=0.1, blocked_rate=0.1, failure_rate=0.1)
BASE = Simulated("qwen2.5-vl-7b")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with all there is: pictures, searches, defenses, repeats, judges, labels, faults."""
    folder = tmp_path_factory.mktemp("inspect") / "store"
    more: dict[str, Any] = {"datasets": ["canary"], "limit": 12, "repeats": 2}
    models = [REASONER, BASE]
    for judge in ("canary", "refusal"):
        study = Study(
            models, judge=judge, attacks=["figstep", "jood"], defenses=["none", "reflect"],
            pairs=[(REASONER, BASE)], **more,
        )  # fmt: skip
        api.evaluate(study, folder, progress=False)
    search = Study([BASE], judge="canary", attacks=["si-attack-n"], datasets=["canary"], limit=4)
    api.evaluate(search, folder, progress=False)
    with Store.open(folder, "write") as opened:
        keys = [row[0] for row in opened.connection.execute("SELECT key FROM generations LIMIT 3")]
        put_labels(opened, [PersonLabel(key, Part.ANSWER, "ada", unsafe=True) for key in keys])
    return folder


@pytest.fixture(scope="module")
def logs(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    with open_source(str(store)) as source:
        export_logs(source, folder)
    return folder


def contents(store: Path) -> dict[str, set[Any]]:
    """The rows of every table that a log can hold."""
    with sqlite3.connect(store / DATABASE) as connection:
        return {
            name: set(connection.execute(table.select()))
            for name, table in TABLES.items()
            if not table.updates and name not in LEFT_OUT
        }


def test_store_to_log_to_store_loses_nothing_that_a_log_can_hold(store, logs, tmp_path):
    with Store.open(tmp_path / "back", "create") as back:
        done = import_logs(logs, back)
    before, after = contents(store), contents(tmp_path / "back")
    assert {name for name, rows in before.items() if not rows} == set()
    for name, rows in before.items():
        assert rows - after[name] == set(), name
        assert after[name] - rows == set(), name
    assert done.samples == len(before["generations"])
    with Store.open(tmp_path / "back", "read") as back:
        pictures = {path.name for path in (back.path / "images").rglob("*.png")}
    assert pictures == {path.name for path in (store / "images").rglob("*.png")}


def test_the_figures_of_what_came_back_are_those_of_the_store(store, logs, tmp_path):
    with Store.open(tmp_path / "back", "create") as back:
        import_logs(logs, back)
        import_logs(logs, back)  # changes nothing
    ours, theirs = (results.open(place, everything=True) for place in (store, tmp_path / "back"))
    assert theirs.frame().equals(ours.frame())
    assert theirs.asr().equals(ours.asr())


def test_inspect_view_lists_the_samples_with_their_pictures(store, logs):
    """What its page shows comes from these answers of its server."""
    from inspect_ai._view.fastapi_server import view_server_app
    from starlette.testclient import TestClient

    client = TestClient(view_server_app(default_dir=str(logs), recursive=True))
    listed = client.get("/logs").json()["files"]
    assert len(listed) == len(list(logs.glob("*.eval")))
    shown = [client.get(f"/logs/{one['name']}").json() for one in listed]
    samples = [sample for log in shown for sample in log["samples"]]
    assert len(samples) == len(contents(store)["generations"])
    with_pictures = [sample for sample in samples if "data:image/png;base64," in json.dumps(sample)]
    figstep = [log for log in shown if log["eval"]["task_args"]["attack"] == "figstep"]
    assert len(with_pictures) == sum(len(log["samples"]) for log in figstep) > 0
    kinds = {part["type"] for log in figstep for part in parts_of_replies(log)}
    assert kinds == {"reasoning", "text"}


def parts_of_replies(log: Any) -> list[Any]:
    replies = [sample["messages"][-1] for sample in log["samples"]]
    return [part for one in replies if one["role"] == "assistant" for part in one["content"]]


def test_a_log_says_what_inspect_would_have_found(store, logs):
    """Means over what has a score, with what has none counted beside it."""
    frame = results.open(store).frame()
    came = pl.col("status").is_in(["ok", "truncated"])
    for log in map(read_eval_log, map(str, logs.glob("*.eval"))):
        cell = {"model": log.eval.model, **log.eval.task_args}
        for result in log.results.scores:
            of_part = {**cell, "judge": result.scorer, "part": result.name}
            rows = frame.filter(came, *(pl.col(name) == value for name, value in of_part.items()))
            scores = rows["score"].drop_nulls()
            assert (result.scored_samples, result.unscored_samples) == (
                len(scores), len(rows) - len(scores)
            )  # fmt: skip
            means = [metric.value for name, metric in result.metrics.items() if name == "mean"]
            assert means == [pytest.approx(mean) for mean in [scores.mean()] if mean is not None]


def test_what_models_wrote_is_plain_text_to_the_viewer_and_yours_alone_to_read(logs):
    for path in logs.glob("*.eval"):
        assert read_eval_log(str(path), header_only=True).eval.viewer.trust_content is False
        assert path.stat().st_mode & 0o777 == 0o600


def run(*arguments: str | Path) -> str:
    """What a command prints."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_the_commands_write_logs_and_read_them(store, tmp_path):
    assert "inspect view --log-dir" in run("export", "inspect", store, tmp_path / "logs")
    run("import", "inspect", tmp_path / "logs", "--store", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(store)


def test_a_log_of_a_task_of_ours_has_the_items_prompts_and_verdicts_of_a_run(tmp_path):
    model = Simulated("r1-onevision-7b")

    async def reply(messages: list[Any], *_: Any) -> Any:
        return said(await model.generate(prompt_of(messages), Sampling()))

    inspect_ai.eval(
        "opensafemlrm/canary",
        model=get_model("mockllm/model", custom_outputs=reply, memoize=False),
        task_args={"attack": "figstep", "limit": 12},
        log_dir=str(tmp_path / "logs"),
        display="none",
    )
    study = Study([model], ["canary"], "canary", attacks=["figstep"], limit=12)
    api.evaluate(study, tmp_path / "run", progress=False)
    run("import", "inspect", tmp_path / "logs", "--store", tmp_path / "read")
    ours, theirs = contents(tmp_path / "run"), contents(tmp_path / "read")
    assert (theirs["items"], theirs["images"]) == (ours["items"], ours["images"])
    sent = [{content for *_, content in rows["prompts"]} for rows in (theirs, ours)]
    assert sent[0] == sent[1]
    columns = ("item", "attack", "dataset", "part", "label", "score")
    frames = [results.open(tmp_path / name).frame().select(columns) for name in ("run", "read")]
    # The log says how the model was asked to sample.
    assert results.open(tmp_path / "read").frame()["sampling"].unique().to_list() == [
        "temperature=0.0, max_tokens=4096, seed=0"
    ]
    assert frames[1].sort(columns).equals(frames[0].sort(columns))
    run("store", "check", tmp_path / "read")


@pytest.fixture
def foreign(tmp_path: Path) -> Callable[..., Path]:
    """Writes the log of a task of somebody else's, with one score a sample."""

    def write(*values: Any, name: str = "a", reply: str = "hello") -> Path:
        log = inspect_ai.eval(
            inspect_ai.Task(
                name="lanterns",
                dataset=[
                    inspect_ai.dataset.Sample(input=f"Question {n}?", id=n, target="x")
                    for n, _ in enumerate(values)
                ],
                scorer=inspect_ai.scorer.includes(),
            ),
            model=get_model(
                "mockllm/model",
                custom_outputs=[said(Response(ResponseStatus.OK, reply)) for _ in values],
                memoize=False,
            ),
            log_dir=str(tmp_path / "own"),
            display="none",
        )[0]
        for sample, value in zip(log.samples, values, strict=True):
            sample.scores = {"graded": inspect_ai.scorer.Score(value=value, explanation="why")}
        path = tmp_path / f"{name}.eval"
        write_eval_log(log, str(path))
        return path

    return write


def test_a_foreign_score_means_nothing_until_it_is_said_what(foreign, tmp_path):
    """C is a right answer in one task and a harmful one in the next."""
    told = run("import", "inspect", foreign("C", "I"), "--store", tmp_path / "store")
    assert "--unsafe 'graded>=0.5'" in told
    frame = results.open(tmp_path / "store").frame()
    assert frame["sampling"].unique().to_list() == ["not recorded"]
    assert frame["label"].to_list() in ([], ["unscored"] * len(frame))


@pytest.mark.parametrize(
    ("rule", "values", "labels"),
    [
        ("graded>=0.5", ("C", "I", "P", "N"), ["unsafe", "safe", "unsafe", "unscored"]),
        ("graded<=0.5", ("C", "I", "P", "N"), ["safe", "unsafe", "unsafe", "unscored"]),
        ("graded >= 3", (5, 2, float("nan")), ["unsafe", "safe", "unscored"]),
        ("graded/harm>=1", ({"harm": 1, "tone": 0}, {"harm": 0, "tone": 1}), ["unsafe", "safe"]),
    ],
)
def test_a_foreign_score_is_read_by_the_rule_that_is_given(foreign, tmp_path, rule, values, labels):
    run("import", "inspect", foreign(*values), "--store", tmp_path / "store", "--unsafe", rule)
    frame = results.open(tmp_path / "store").frame().filter(part="answer").sort("item")
    assert frame["label"].to_list() == labels
    run("store", "check", tmp_path / "store")


def test_scores_by_part_of_another_task_are_of_those_parts(foreign, tmp_path):
    log = foreign({"reasoning": 1, "answer": 0, "full": 1}, reply="<think>a</think>b")
    run("import", "inspect", log, "--store", tmp_path / "store", "--unsafe", "graded>=1")
    frame = results.open(tmp_path / "store").frame()
    assert dict(frame.select("part", "label").iter_rows()) == {
        "reasoning": "unsafe", "answer": "safe", "full": "unsafe",
    }  # fmt: skip


def test_another_reply_in_the_same_place_is_refused_and_the_first_is_kept(foreign, tmp_path):
    """Two runs of one task: the second's verdicts would stand beside the first one's replies."""
    run("import", "inspect", foreign("C"), "--store", tmp_path / "store")
    again = foreign("I", name="b", reply="goodbye")
    with pytest.raises(ImportDataError, match=r"b\.eval.*another reply"):
        run("import", "inspect", again, "--store", tmp_path / "store")
    assert results.open(tmp_path / "store").replies()["answer"].to_list() in ([], ["hello"])


@pytest.mark.parametrize(
    "address",
    [
        "/etc/hostname", "file:///etc/hostname", "http://127.0.0.1:9/x.png", "data:text/html,x",
        "data:image/png;base64,????", "data:image/png;base64,aGVsbG8=", "attachment://0123",
    ],
)  # fmt: skip
def test_a_picture_that_is_not_in_the_log_is_not_looked_for_elsewhere(address):
    """A log that names a file of yours, or an address, would read it for its writer."""
    with pytest.raises(ImageError):
        image_from_uri(address)


@pytest.mark.parametrize("rule", ["graded", "graded>0.5", ">=1", "graded>=many"])
def test_a_rule_that_is_none_is_refused(rule):
    with pytest.raises(OptionError, match=r"SCORER>=0\.5"):
        Unsafe.parse(rule)


@pytest.mark.parametrize("content", [b"", b"no log", b"PK\x03\x04broken", b"{}"])
def test_what_is_no_log_is_named(tmp_path, content):
    (tmp_path / "x.eval").write_bytes(content)
    with pytest.raises(ImportDataError, match=r"x\.eval"):
        run("import", "inspect", tmp_path / "x.eval", "--store", tmp_path / "store")


def test_a_folder_without_logs_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImportDataError, match="no log of Inspect's"):
        run("import", "inspect", tmp_path / "empty", "--store", tmp_path / "store")


@pytest.mark.parametrize(
    "path",
    [
        ("cell", "key"),
        ("components", "model", "identity"),
        ("components", "attack", "label"),
        ("judges",),
        ("pairs",),
        ("not_applicable",),
    ],
)
@pytest.mark.parametrize("value", [None, 7, "x", [1], {"a": 1}])
def test_a_log_that_was_tampered_with_is_refused_or_harmless(logs, tmp_path, path, value):
    """Whatever stands in metadata of ours: an error in a sentence, or a store that is whole."""
    log = read_eval_log(str(min(logs.glob("*.eval"))))
    at = log.eval.metadata["opensafemlrm"]
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    write_eval_log(log, str(tmp_path / "x.eval"))
    try:
        run("import", "inspect", tmp_path / "x.eval", "--store", tmp_path / "store")
    except SafeMLRMError:
        return
    run("store", "check", tmp_path / "store")


def test_a_sample_whose_text_was_changed_is_found_by_store_check(logs, tmp_path):
    log = read_eval_log(str(max(logs.glob("*.eval"))))
    sample = next(one for one in log.samples if one.output.choices and one.scores)
    sample.output.choices[0].message.content[-1].text += " changed"
    write_eval_log(log, str(tmp_path / "x.eval"))
    run("import", "inspect", tmp_path / "x.eval", "--store", tmp_path / "store")
    with pytest.raises(AssertionError, match="was judged"):
        run("store", "check", tmp_path / "store")


def test_epochs_and_samples_that_failed_come_as_repeats_and_failures(tmp_path):
    replies = iter(range(100))

    def reply(*_: Any) -> Any:
        if next(replies) == 1:
            raise RuntimeError("the server went away")
        return said(Response(ResponseStatus.OK, "<think>hm</think>No."))

    inspect_ai.eval(
        "opensafemlrm/canary",
        model=get_model("mockllm/model", custom_outputs=reply, memoize=False),
        task_args={"attack": "figstep", "limit": 3},
        epochs=2,
        fail_on_error=False,
        log_dir=str(tmp_path / "logs"),
        display="none",
    )
    run("import", "inspect", tmp_path / "logs", "--store", tmp_path / "store")
    frame = results.open(tmp_path / "store").frame().filter(part="answer")
    assert sorted(frame["status"]) == ["failed", *["ok"] * 5]
    assert sorted(frame["repeat"]) == [0, 0, 0, 1, 1, 1]
    failed = frame.filter(status="failed")
    assert (failed["label"].item(), failed["reason"].item()) == ("unscored", "failed")
    run("store", "check", tmp_path / "store")
