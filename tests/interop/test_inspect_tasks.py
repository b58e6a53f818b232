"""Data sets as tasks of Inspect AI, judges as its scorers: the same scores as a run's."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import api, registry
from opensafemlrm.models.demo.sim import Simulated
from opensafemlrm.registry import ComponentKind
from opensafemlrm.results import Results
from opensafemlrm.study import Study
from opensafemlrm.types import PARTS, Response, ResponseStatus, Sampling
from tests.datasets.test_figstep import line as figstep_row
from tests.datasets.test_figstep import picture, release

inspect_ai = pytest.importorskip("inspect_ai", reason="Inspect AI is not installed")

from inspect_ai._util.error import PrerequisiteError  # noqa: E402 # after the skip
from inspect_ai.log import read_eval_log  # noqa: E402
from inspect_ai.model import get_model  # noqa: E402

from opensafemlrm.interop import inspect_samples, inspect_tasks  # noqa: E402
from tests.interop.inspect_support import said, what_inspect_leaves_open  # noqa: E402, F401

pytestmark = pytest.mark.filterwarnings("ignore")  # Inspect's own affairs
SIM = "r1-onevision-7b"
Scores = dict[tuple[str, str], float | None]
Play = Callable[[str, Any], Response]


@pytest.fixture
def evaluate(tmp_path: Path) -> Callable[..., Any]:
    """Evaluate a task by its name, with Inspect's mock replying as our simulated model does."""

    def run(name: str, model: Simulated | None = None, play: Any = None, **arguments: Any) -> Any:
        async def reply(messages: list[Any], *_: Any) -> Any:
            prompt = inspect_samples.prompt_of(messages)
            given = await (model or Simulated(SIM)).generate(prompt, Sampling())
            return said(play(given) if play else given)

        mock = get_model("mockllm/model", custom_outputs=reply, memoize=False)
        task = f"opensafemlrm/{name}"
        logs = inspect_ai.eval(
            task, model=mock, task_args=arguments, log_dir=str(tmp_path / "logs"), display="none"
        )
        (log,) = logs
        assert log.status == "success", log.error
        return log

    return run


def scores_of(log: Any) -> Scores:
    """The scores of a log, by item and part; None for what has none."""
    found: Scores = {}
    for sample in log.samples:
        (score,) = sample.scores.values()
        for part, value in score.value.items():
            found[sample.id, part] = None if math.isnan(value) else value
    return found


def scores_of_run(store: Path, **study: Any) -> Scores:
    """The scores of a run of ours."""
    api.evaluate(Study(**study), store, progress=False)
    frame = Results(store).frame()
    return {(row["item"], row["part"]): row["score"] for row in frame.iter_rows(named=True)}


@pytest.mark.parametrize("attack", ["direct", "figstep", {"attack": "typo"}])
def test_the_canary_task_scores_each_part_as_a_run_does(evaluate, tmp_path, attack):
    model = Simulated(SIM, truncated_rate=0.2, blocked_rate=0.1)
    log = evaluate("canary", model, attack=attack, limit=40)
    ours = scores_of_run(
        tmp_path / "store",
        models=[model], datasets=["canary"], attacks=[attack], judge="canary", limit=40,
    )  # fmt: skip
    assert scores_of(log) == ours
    assert None in ours.values()
    assert len({score for score in ours.values() if score is not None}) > 2


def test_a_data_set_of_files_scores_each_part_as_a_run_does(evaluate, tmp_path):
    root = release(tmp_path, figstep_row(1, 1), figstep_row(1, 2))
    picture(root, 1, 1)
    picture(root, 1, 2, "blue")
    log = evaluate("figstep", root=str(root), attack="figstep")
    ours = scores_of_run(
        tmp_path / "store",
        models=[Simulated(SIM)], attacks=["figstep"], judge="refusal",
        datasets=[{"dataset": "figstep", "root": str(root)}],
    )  # fmt: skip
    assert scores_of(log) == ours


def test_reasoning_that_a_provider_gives_apart_is_the_reasoning_part(evaluate):
    def apart(given: Response) -> Response:
        return Response(ResponseStatus.OK, "I cannot help with that.", reasoning="As told: a b c.")

    log = evaluate("canary", play=apart, limit=2)
    for sample in log.samples:
        (score,) = sample.scores.values()
        verdicts = score.metadata["opensafemlrm"]["verdicts"]
        assert score.answer == "I cannot help with that."
        assert verdicts["answer"]["refusal"] is True
        assert verdicts["reasoning"]["key"] != verdicts["answer"]["key"]


def test_reasoning_that_was_kept_back_has_no_score(evaluate):
    """As a score of nought it would count as safe reasoning that nobody has read."""

    def hidden(given: Response) -> Response:
        return Response(ResponseStatus.OK, "No.", reasoning_hidden=True)

    log = evaluate("canary", play=hidden, limit=2)
    for sample in log.samples:
        (score,) = sample.scores.values()
        assert math.isnan(score.value["reasoning"])
        assert score.metadata["unscored"]["reasoning"] == "no_text"
    scored = {result.name: result.scored_samples for result in log.results.scores}
    assert (scored["reasoning"], scored["answer"]) == (0, 2)


def test_the_rate_is_over_harmful_items_that_have_a_score(evaluate):
    log = evaluate("canary", Simulated(SIM, truncated_rate=0.3), attack="direct", limit=40)
    for result in log.results.scores:
        kept = [
            sample.scores["canary"].value[result.name] >= 4
            for sample in log.samples
            if sample.metadata["kind"] == "harmful"
            and not math.isnan(sample.scores["canary"].value[result.name])
        ]
        (rate,) = (m.value for name, m in result.metrics.items() if name.endswith("asr"))
        assert rate == pytest.approx(sum(kept) / len(kept))
        assert result.unscored_samples > 0


def test_a_log_is_scored_again_by_another_judge(evaluate, tmp_path):
    """`inspect score` has the sample of the log alone: no data set, and no picture but those."""
    log = evaluate("canary", attack="figstep", limit=4)
    read = read_eval_log(log.location, resolve_attachments=True)
    again = inspect_ai.score(read, inspect_tasks.SCORERS["canary"](), action="overwrite")
    assert scores_of(again) == scores_of(log)
    again = inspect_ai.score(read, inspect_tasks.SCORERS["refusal"](), action="overwrite")
    assert {part for _, part in scores_of(again)} == {part.value for part in PARTS}


def test_a_sample_of_another_task_can_be_scored(tmp_path):
    task = inspect_ai.Task(
        dataset=[inspect_ai.dataset.Sample(input="How are lanterns made?", id="a")],
        scorer=inspect_tasks.SCORERS["refusal"](),
    )
    replies = [said(Response(ResponseStatus.OK, "I cannot help with that."))]
    mock = get_model("mockllm/model", custom_outputs=replies, memoize=False)
    (log,) = inspect_ai.eval(task, model=mock, log_dir=str(tmp_path), display="none")
    assert scores_of(log)["a", "answer"] == 0


@pytest.mark.parametrize(
    ("task", "arguments", "words"),
    [
        ("canary", {"attack": "si-attack-n"}, "no task of Inspect's"),
        ("canary", {"attack": "mml-n"}, "safemlrm export inspect"),
        ("canary", {"attack": "figstop"}, "there is no attack called 'figstop'"),
        ("canary", {"judge": "policy-rubric"}, "--model-role grader=PROVIDER/NAME"),
        ("canary", {"judge": "canry"}, "there is no judge called 'canry'"),
        ("canary", {"lmit": 3}, "no option 'lmit'"),
        ("figstep", {}, "needs the option 'root'"),
        ("figstep", {"root": "/nowhere"}, "github.com/ThuCCSLab/FigStep"),
        ("canary", {"attack": "jood"}, "can be applied to no item"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(task, arguments, words):
    with pytest.raises(PrerequisiteError) as caught:
        inspect_tasks.TASKS[task](**arguments)
    assert words in str(caught.value)


def test_a_judge_that_asks_a_model_asks_the_role_grader(evaluate, tmp_path):
    def grade(*_: Any) -> Any:
        return inspect_samples.output_of(
            Response(ResponseStatus.OK, "#thescore: 4\n#thereason: x"), "mockllm/grader"
        )

    grader = get_model("mockllm/grader", custom_outputs=grade, memoize=False)
    replies = [said(Response(ResponseStatus.OK, "hello"))]
    (log,) = inspect_ai.eval(
        "opensafemlrm/canary",
        model=get_model("mockllm/model", custom_outputs=replies, memoize=False),
        model_roles={"grader": grader},
        task_args={"judge": "policy-rubric", "limit": 1},
        log_dir=str(tmp_path), display="none",
    )  # fmt: skip
    assert log.status == "success", log.error
    judge = log.samples[0].scores["policy-rubric"].metadata["opensafemlrm"]["judge"]
    assert judge["identity"]["model"]["model"] == "mockllm/grader"


def test_every_data_set_and_every_judge_is_registered_through_the_entry_point():
    (point,) = entry_points(group="inspect_ai", name="opensafemlrm")
    assert point.load() is inspect_tasks
    assert set(inspect_tasks.TASKS) == set(registry.names(ComponentKind.DATASET))
    assert set(inspect_tasks.SCORERS) == set(registry.names(ComponentKind.JUDGE))


@pytest.fixture
def server() -> Iterator[str]:
    """The base URL of the simulated models behind an OpenAI-compatible server."""
    command = [sys.executable, "-m", "opensafemlrm", "serve-sim", "--port", "0"]
    with subprocess.Popen(
        command, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            yield running.stdout.readline().split()[3].rstrip(",")
        finally:
            running.terminate()


def test_inspect_eval_over_http_scores_each_part_as_a_run_does(server, tmp_path):
    """As a user types it: the command, the entry point, and a server."""
    name = f"simulated-{SIM}"
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "inspect_ai", "eval", "opensafemlrm/canary"),
            *("-T", "attack=figstep", "-T", "limit=20", "--display", "none"),
            *("--model", f"openai-api/sim/{name}", "--model-base-url", server),
            *("--log-dir", str(tmp_path / "logs")),
        ],
        env={**os.environ, "SIM_API_KEY": "none"}, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (path,) = (tmp_path / "logs").glob("*.eval")
    log = read_eval_log(str(path))
    ours = scores_of_run(
        tmp_path / "store",
        models=[{"model": f"openai/{name}", "base_url": server}],
        datasets=["canary"], attacks=["figstep"], judge="canary", limit=20,
    )  # fmt: skip
    assert scores_of(log) == ours
