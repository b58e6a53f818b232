"""``batch: true``: OpenAI's Batch API, on a server that keeps batches as the real one does."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from opensafemlrm import engine, frame
from opensafemlrm.cli._doctor import findings
from opensafemlrm.errors import EndpointDownError, ModelError, OptionError
from opensafemlrm.models.budget import Budget, Limits
from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from opensafemlrm.models.http.batch_files import BatchFile
from opensafemlrm.registry import ComponentKind, build
from opensafemlrm.store import Store
from opensafemlrm.types import Prompt, Response, ResponseStatus, Sampling
from tests.models.batch_server import BatchServer, answer, asked, not_run, reply
from tests.models.scripted import FakeClock, completion, error
from tests.support import items, study


@pytest.fixture
async def server() -> AsyncIterator[BatchServer]:
    batches = BatchServer()
    async with TestServer(batches.app()) as running:
        batches.base_url = str(running.make_url("/v1"))
        yield batches


@pytest.fixture
async def connect(server, tmp_path) -> AsyncIterator[Callable[..., OpenAICompatible]]:
    made: list[OpenAICompatible] = []

    def make(**options: Any) -> OpenAICompatible:
        options = {"base_url": server.base_url, "clock": FakeClock(), **options}
        options = {"model": "m", "batch": True, "batch_folder": tmp_path / "b", **options}
        made.append(OpenAICompatible(**options))
        return made[-1]

    yield make
    for model in made:
        await model.aclose()


async def ask(model: OpenAICompatible, *texts: str, seed: int | None = 0) -> list[Response]:
    asking = (model.generate(Prompt.user(text), Sampling(seed=seed)) for text in texts)
    return list(await asyncio.gather(*asking))


def texts(responses: list[Response]) -> list[str]:
    return [response.text for response in responses]


async def test_what_is_asked_together_is_one_batch_and_each_gets_its_reply(server, connect):
    responses = await ask(connect(), "tea", "milk", "honey")
    assert texts(responses) == ["about tea", "about milk", "about honey"]
    assert len(server.batches) == 1
    assert server.single == 0
    (batch,) = server.batches
    line = server.requests(batch)[0]
    assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
    assert line["body"]["model"] == "m"


async def test_a_parameter_that_a_batch_turns_down_is_left_out_of_the_next(server, connect):
    def line(request: dict[str, Any]) -> dict[str, Any]:
        if "seed" in request["body"]:
            return reply(request, 400, error("Unknown parameter: 'seed'", param="seed"))
        return reply(request, 200, completion({"role": "assistant", "content": "tea"}))

    server.line = line
    responses = await ask(connect(), "a", "b")
    assert texts(responses) == ["tea", "tea"]
    assert [len(server.requests(batch)) for batch in server.batches] == [2, 2]


async def test_a_reasoning_model_is_not_asked_a_day_long_for_what_it_turns_down(server, connect):
    """Each refusal would cost a batch, and with it hours."""
    await ask(connect(model="gpt-5-mini"), "tea")
    (batch,) = server.batches
    body = server.requests(batch)[0]["body"]
    assert body.keys() == {"model", "messages", "max_completion_tokens", "seed"}
    await ask(connect(model="o4-mini", extra_body={"temperature": 1}), "milk")
    *_, batch = server.batches
    assert server.requests(batch)[0]["body"]["temperature"] == 1


async def test_equal_requests_are_different_requests(server, connect):
    """Repeats without a seed have one body, and must not share one reply."""
    counter = itertools.count()
    server.line = lambda request: reply(
        request, 200, completion({"role": "assistant", "content": f"reply {next(counter)}"})
    )
    responses = await ask(connect(), "tea", "tea", "tea", seed=None)
    assert sorted(texts(responses)) == ["reply 0", "reply 1", "reply 2"]


async def test_a_stopped_run_takes_its_replies_from_the_batch_it_had_sent(server, connect):
    """Across days: nothing that is under way is sent and paid for again."""
    server.looks = 10**9
    first = connect()
    run = asyncio.create_task(ask(first, "tea", "milk"))
    await server.is_under_way()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await first.aclose()
    server.left = dict.fromkeys(server.left, 0)
    server.looks = 0
    responses = await ask(connect(), "tea", "milk", "honey")
    assert texts(responses) == ["about tea", "about milk", "about honey"]
    assert [len(server.requests(batch)) for batch in server.batches] == [2, 1]


async def test_a_study_that_was_stopped_goes_on_with_its_batches(server, connect, tmp_path):
    """The whole way: a run that is stopped while a batch is under way, and the same run again."""
    server.looks = 10**9
    what = study(connect(concurrency=10), items(25))
    with Store.open(tmp_path / "store", "create") as store:
        run = asyncio.create_task(engine.evaluate(engine.Plan.of(what), store))
        await server.is_under_way()
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        assert frame.read(store).is_empty()
        server.left, server.looks = dict.fromkeys(server.left, 0), 0
        plan = engine.Plan.of(study(connect(concurrency=10), items(25)))
        await engine.evaluate(plan, store)
        assert frame.read(store)["sample"].n_unique() == 25
    assert plan.cells[0].tally.ok == 25
    sent = [asked(request) for batch in server.batches for request in server.requests(batch)]
    assert len(sent) == len(set(sent)) == 25
    assert list((tmp_path / "b").iterdir()) == []


async def test_what_was_handed_over_is_forgotten_when_the_run_ends(server, connect, tmp_path):
    """A later study that asks the same anew gets replies of its own."""
    model = connect()
    await ask(model, "tea")
    assert len(list((tmp_path / "b").iterdir())) == 1
    await model.aclose()
    assert list((tmp_path / "b").iterdir()) == []
    await ask(connect(), "tea")
    assert len(server.batches) == 2


async def test_replies_that_nobody_has_asked_for_yet_are_kept_for_the_next_run(server, connect):
    server.looks = 10**9
    first = connect()
    run = asyncio.create_task(ask(first, "tea", "milk"))
    await server.is_under_way()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await first.aclose()
    server.left = dict.fromkeys(server.left, 0)
    second = connect()
    assert texts(await ask(second, "tea")) == ["about tea"]
    await second.aclose()
    third = connect()
    assert texts(await ask(third, "milk")) == ["about milk"]
    await third.aclose()
    assert len(server.batches) == 1
    server.looks = 0
    await ask(connect(), "milk")
    assert len(server.batches) == 2


@pytest.mark.parametrize(
    ("line", "status", "code", "transient"),
    [
        (lambda r: not_run(r, "batch_expired"), ResponseStatus.FAILED, "batch_expired", True),
        (lambda r: not_run(r, "bad_line"), ResponseStatus.FAILED, "bad_line", True),
        (lambda r: None, ResponseStatus.FAILED, "batch_incomplete", True),
        (lambda r: reply(r, 429, error()), ResponseStatus.FAILED, "http_429", True),
        (lambda r: reply(r, 400, error()), ResponseStatus.FAILED, "http_400", True),
        (
            lambda r: reply(r, 400, error("no", code="content_filter")),
            ResponseStatus.BLOCKED,
            "content_filter",
            False,
        ),
        (lambda r: reply(r, 200, completion(finish="length")), ResponseStatus.TRUNCATED, None, 0),
        (lambda r: reply(r, 200, {"choices": []}), ResponseStatus.FAILED, "empty_choices", True),
    ],
)
async def test_every_ending_of_a_request_is_its_own_outcome(
    server, connect, line, status, code, transient
):
    server.line = line
    server.ends_as = "expired" if transient else "completed"
    (response,) = await ask(connect(), "tea")
    assert (response.status, response.code, response.transient) == (status, code, bool(transient))


async def test_a_failure_is_final_only_where_the_server_answered_others_of_the_batch(
    server, connect
):
    def line(request):
        tea = "tea" in str(request["body"])
        return reply(request, 400, error()) if tea else answer(request)

    server.line = line
    tea, milk = await ask(connect(), "tea", "milk")
    assert (tea.code, tea.transient, milk.status) == ("http_400", False, ResponseStatus.OK)


async def test_a_request_that_expired_is_sent_again_by_the_next_run(server, connect):
    server.line = lambda request: not_run(request, "batch_expired")
    model = connect()
    await ask(model, "tea")
    await model.aclose()
    server.line = answer
    assert texts(await ask(connect(), "tea")) == ["about tea"]


async def test_a_batch_that_the_server_turns_down_ends_the_run_and_is_not_waited_for_again(
    server, connect
):
    server.ends_as = "failed"
    with pytest.raises(ModelError, match="too many tokens are enqueued"):
        await ask(connect(), "tea")
    server.ends_as = "completed"
    assert texts(await ask(connect(), "tea")) == ["about tea"]


async def test_a_server_that_is_busy_is_asked_again(server, connect):
    server.script = [(503, error()), (429, error(), {"Retry-After": "7"}), None, (500, error())]
    assert texts(await ask(connect(), "tea")) == ["about tea"]


async def test_a_server_that_stays_away_ends_the_run_and_keeps_the_batch(server, connect):
    model = connect(max_retries=2)
    server.script = [None, None, *[(503, error())] * 3]
    with pytest.raises(EndpointDownError, match="batches under way are kept"):
        await ask(model, "tea")
    await model.aclose()
    assert texts(await ask(connect(), "tea")) == ["about tea"]
    assert len(server.batches) == 1


async def test_a_wrong_key_ends_the_run_without_telling_it(server, connect, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody-else")
    server.script = [(401, error("wrong key sk-of-nobody-else"))]
    with pytest.raises(ModelError, match="http_401") as caught:
        await ask(connect(api_key_env="OPENAI_API_KEY"), "tea")
    assert "sk-of" not in str(caught.value)
    assert server.headers[0]["Authorization"] == "Bearer sk-of-nobody-else"


async def test_a_batch_that_is_gone_says_which_note_to_delete(server, connect, tmp_path):
    server.looks = 0
    server.script = [None, None, (404, error("no such batch"))]
    with pytest.raises(ModelError, match=r"http_404.*delete .*\.json to send"):
        await ask(connect(), "tea")


async def test_a_note_that_cannot_be_read_is_an_error_and_not_a_second_bill(connect, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / f"{'0' * 32}.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        await ask(connect(), "tea")


async def test_doctor_does_not_wait_for_a_batch(server, connect, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    model = build(ComponentKind.MODEL, "openai/m", {"batch": True})
    (finding,) = await findings(study(model))
    assert finding.well
    assert (server.single, server.batches) == (2, {})  # a short prompt and a long one


async def test_files_of_your_own_are_left_alone(server, connect, tmp_path):
    folder = tmp_path / "b"
    folder.mkdir()
    own = [folder / "package.json", folder / "results-2024.json"]
    old = folder / f"{'0' * 32}.json"
    for path in (*own, old):
        path.write_text('{"id": "batch_0", "requests": []}')
        os.utime(path, (0, 0))
    await ask(connect(), "tea")
    assert [path.exists() for path in (*own, old)] == [True, True, False]
    assert old.with_suffix(".forgotten").exists()


@pytest.mark.parametrize(
    "answer",
    [{"object": "file"}, {"id": None}, {"id": 7}, [1]],
)
async def test_a_server_that_gives_no_id_ends_the_run_and_nobody_waits(server, connect, answer):
    server.script = [(200, answer)]
    with pytest.raises(ModelError, match="does not speak the Batch API"):
        await asyncio.wait_for(ask(connect(), "tea", "milk"), 5)


@pytest.mark.parametrize("script", [[], [None]])
async def test_an_id_that_repeats_the_key_is_not_noted(
    server, connect, monkeypatch, tmp_path, script
):
    """What is noted stays on disk, for runs to come."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody-else")
    server.script = [*script, (200, {"id": "batch_sk-of-nobody-else"})]
    with pytest.raises(ModelError, match="does not speak the Batch API"):
        await ask(connect(api_key_env="OPENAI_API_KEY"), "tea")
    notes = [path.read_text() for path in (tmp_path / "b").iterdir()]
    assert not [note for note in notes if "sk-of" in note]


@pytest.mark.parametrize("errors", [[], "no", {"data": "no"}, {"data": ["no"]}])
async def test_a_batch_that_failed_in_odd_words_ends_the_run(server, connect, errors):
    server.script = [None, None, (200, {"id": "b", "status": "failed", "errors": errors})]
    with pytest.raises(ModelError, match="did not say why"):
        await asyncio.wait_for(ask(connect(), "tea"), 5)


async def test_a_batch_that_cannot_be_noted_is_not_sent(server, connect, monkeypatch):
    def full(_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(BatchFile, "save", full)
    with pytest.raises(ModelError, match=r"cannot be noted.*nothing was sent.*No space left"):
        await asyncio.wait_for(ask(connect(), "tea"), 5)
    assert server.files == {}


async def test_a_batch_whose_id_cannot_be_noted_is_found_again(server, connect, monkeypatch):
    """The disk was full when the batch was on the server: it was paid for, and its id nowhere."""
    save = BatchFile.save

    def full_once_it_is_sent(file: BatchFile) -> None:
        if file.id:
            raise OSError("No space left on device")
        save(file)

    with monkeypatch.context() as patched:
        patched.setattr(BatchFile, "save", full_once_it_is_sent)
        with pytest.raises(ModelError, match="which the server has as batch_1"):
            await asyncio.wait_for(ask(connect(), "tea"), 5)
    assert texts(await ask(connect(), "tea")) == ["about tea"]
    assert list(server.batches) == ["batch_1"]


@pytest.fixture
async def forgetful(monkeypatch, tmp_path) -> AsyncIterator[BatchServer]:
    """A server whose first answers to a new batch are lost."""
    batches = BatchServer()
    create, replies = batches.create, [502]

    async def create_and_lose(request: web.Request) -> web.Response:
        made = await create(request)
        return web.json_response({}, status=replies.pop()) if replies else made

    monkeypatch.setattr(batches, "create", create_and_lose)
    async with TestServer(batches.app()) as running:
        batches.base_url = str(running.make_url("/v1"))
        yield batches


async def test_a_batch_whose_answer_was_lost_is_not_made_twice(forgetful, connect):
    """The connection broke after the server had taken it, and it was paid for twice."""
    for number in range(150):  # of others, and before it
        forgetful.batches[f"old-{number}"] = {"id": f"old-{number}", "metadata": None}
    model = connect(base_url=forgetful.base_url)
    assert texts(await ask(model, "tea")) == ["about tea"]
    assert len(forgetful.batches) == 151


async def test_a_batch_of_a_run_that_broke_off_is_looked_for_by_the_next(forgetful, connect):
    model = connect(base_url=forgetful.base_url, max_retries=0)
    with pytest.raises(EndpointDownError):
        await ask(model, "tea")
    await model.aclose()
    assert texts(await ask(connect(base_url=forgetful.base_url), "tea")) == ["about tea"]
    assert len(forgetful.batches) == 1


async def test_a_batch_that_was_never_made_is_made_by_the_next_run(server, connect):
    server.script = [(502, {}), (502, {})]
    with pytest.raises(EndpointDownError):
        await ask(connect(max_retries=0), "tea")
    server.script = []
    assert texts(await ask(connect(), "tea")) == ["about tea"]
    assert len(server.batches) == 1


@pytest.mark.parametrize("status", [None, "paused", ["completed"], {"a": 1}, 7, "in progress"])
async def test_a_state_that_says_nothing_ends_the_run_in_the_end(server, connect, status):
    server.script = [None, None, *[(200, {"id": "b", "status": status})] * 40]
    with pytest.raises(ModelError, match="which the Batch API does not know"):
        await asyncio.wait_for(ask(connect(), "tea", "milk"), 5)


CONTENTS = [b"no", b"[1]", b'{"custom_id": ["a"]}\nno', b"\xff\xfe", b'{"custom_id": {}}']
CONTENTS += [b"null\n", b'"x"', b"{" * 5_000, b"\0\0"]


@pytest.mark.parametrize("content", CONTENTS)
async def test_a_file_of_replies_of_any_shape_ends_every_waiter(server, connect, content):
    state = {"id": "b", "status": "completed", "output_file_id": "odd"}
    server.files["odd"] = content
    server.script = [None, None, (200, state)]
    results = await asyncio.wait_for(
        asyncio.gather(ask(connect(), "tea", "milk"), return_exceptions=True), 5
    )
    if isinstance(results[0], BaseException):
        assert isinstance(results[0], ModelError)
    else:
        assert {response.code for response in results[0]} == {"batch_incomplete"}


ODD_LINES: list[dict[str, Any]] = [
    {"response": "no"}, {"response": {}, "error": 7}, {"response": {"status_code": "200"}},
    {"response": {"status_code": 200, "body": []}}, {"response": None, "error": {"code": []}},
    {"response": {"status_code": 200, "body": {"choices": {}}}}, {"response": [], "error": []},
    {"response": {"status_code": None, "body": None}}, {}, {"response": {"status_code": 10**30}},
]  # fmt: skip


@pytest.mark.parametrize("line", ODD_LINES)
async def test_a_reply_of_any_shape_ends_its_waiter_and_no_other(server, connect, line):
    def odd(request: dict[str, Any]) -> dict[str, Any]:
        line_of = {"response": None, **line, "custom_id": request["custom_id"]}
        return line_of if asked(request) == "tea" else answer(request)

    server.line = odd
    tea, milk = await asyncio.wait_for(ask(connect(), "tea", "milk"), 5)
    assert tea.status is ResponseStatus.FAILED
    assert milk.text == "about milk"


def test_batches_are_refused_where_there_are_none():
    with pytest.raises(OptionError, match="has no option 'batch'"):
        build(ComponentKind.MODEL, "anthropic/m", {"batch": True})
    plain, batched = (build(ComponentKind.MODEL, "openai/m", {"batch": on}) for on in (False, True))
    assert plain.identity() == batched.identity()


def ten_tokens(request: dict[str, Any]) -> dict[str, Any]:
    return reply(request, 200, completion(usage={"prompt_tokens": 3, "completion_tokens": 10}))


async def test_a_batch_holds_no_more_than_what_is_left_of_the_budget(server, connect):
    """All of a batch was sent before anything was counted: 1,000 requests on a budget of ten."""
    server.line = ten_tokens
    budget = Budget(Limits(cost=250))
    model = budget.over(connect(price=(0, 1_000_000)))
    asking = (model.generate(Prompt.user(f"tea {n}"), Sampling(max_tokens=100)) for n in range(5))
    assert [response.status for response in await asyncio.gather(*asking)] == [
        ResponseStatus.OK
    ] * 5
    assert [len(server.requests(batch)) for batch in server.batches] == [2, 2, 1]
    assert budget.cost == pytest.approx(50)


async def test_a_request_that_the_budget_may_not_reach_is_not_sent_in_a_batch(server, connect):
    server.line = ten_tokens
    budget = Budget(Limits(cost=105))
    model = budget.over(connect(price=(0, 1_000_000)))
    asking = (model.generate(Prompt.user(f"tea {n}"), Sampling(max_tokens=100)) for n in range(3))
    came = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(result).__name__ for result in came] == ["Response", *["BudgetSpentError"] * 2]
    assert "100.00 that one more request of a batch may cost" in str(came[1])
    assert len(server.batches) == 1
