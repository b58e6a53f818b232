"""What becomes of a request by the words of the error that a provider sends, in any shape."""

from __future__ import annotations

from typing import Any

import pytest

from opensafemlrm.errors import EndpointDownError, ModelError
from opensafemlrm.types import ResponseStatus
from tests.models import error_bodies
from tests.models.scripted import ask


def script(case: tuple[Any, ...]) -> tuple[int, Any, dict[str, str]]:
    status, body = case[:2]
    return status, body.encode() if isinstance(body, str) else body, {}


def words_of(case: tuple[Any, ...]) -> str:
    return str(case[1])


@pytest.mark.parametrize("case", error_bodies.NO_CREDIT.values(), ids=error_bodies.NO_CREDIT)
async def test_money_that_is_spent_stops_the_model_in_any_words(server, connect, case):
    """Published mistake: 56 of 60 samples ended as failures for good, and the exit code was 0."""
    server.always = script(case)
    with pytest.raises(ModelError, match="credit, budget or quota is used up") as caught:
        await ask(connect())
    assert not isinstance(caught.value, EndpointDownError)
    assert len(server.bodies) == 1
    # Later on, one harmless request has to fail in the same way first.
    server.always, model = None, connect()
    await ask(model)
    server.always = script(case)
    with pytest.raises(ModelError, match="used up"):
        await ask(model)
    assert len(server.bodies) == 4


@pytest.mark.parametrize("case", error_bodies.LATER.values(), ids=error_bodies.LATER)
async def test_what_a_server_can_be_made_to_take_is_asked_once_and_never_final(
    server, connect, case
):
    model = connect()
    await ask(model)
    server.script = [script(case)]
    response = await ask(model)
    assert (response.status, response.code) == (ResponseStatus.FAILED, case[2])
    assert (response.transient, response.retries, len(server.bodies)) == (True, 0, 2)


@pytest.mark.parametrize("case", error_bodies.SOON.values(), ids=error_bodies.SOON)
async def test_what_may_pass_is_asked_again_whatever_its_status(server, connect, case):
    server.always = script(case)
    response = await ask(connect(max_retries=2))
    assert (response.status, response.code) == (ResponseStatus.FAILED, case[2])
    assert (response.transient, response.retries) == (True, 2)


@pytest.mark.parametrize("case", error_bodies.BLOCKED.values(), ids=error_bodies.BLOCKED)
async def test_a_filter_is_a_block_with_its_code_and_its_words(server, connect, case):
    """Published mistake: GLM's filter was a failure without a word, Gemini's "no message"."""
    server.script = [script(case)]
    response = await ask(connect())
    assert (response.status, response.code) == (ResponseStatus.BLOCKED, case[2])
    assert response.detail
    assert response.detail != "no message"
    assert "planted words" not in repr(response)
    assert (response.text, len(server.bodies)) == ("", 1)


@pytest.mark.parametrize("case", error_bodies.NOT_BLOCKED.values(), ids=error_bodies.NOT_BLOCKED)
async def test_what_a_body_repeats_of_the_request_is_not_the_servers_word(server, connect, case):
    model = connect()
    await ask(model)
    server.script = [script(case)]
    response = await ask(model)
    assert (response.status, response.code) == (ResponseStatus.FAILED, f"http_{case[0]}")
    assert "sensitive" not in (response.detail or "")


@pytest.mark.parametrize("case", error_bodies.OF_THE_WORLD.values(), ids=error_bodies.OF_THE_WORLD)
async def test_what_is_of_the_account_or_the_server_is_never_final(server, connect, case):
    """Spent money in words of its own was 3 samples' failure for good, a setting a filter's block.

    The server answers others, before and after.
    """
    model = connect(max_retries=0)
    await ask(model)
    server.script = [script(case)]
    response = await ask(model)
    assert (response.status, response.transient) == (ResponseStatus.FAILED, True)
    assert response.detail != "no message"
    assert (await ask(model)).status is ResponseStatus.OK


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid one.",
                          "details": [{"reason": "API_KEY_INVALID"}]}}], "missing or wrong"),
        (403, {"error": {"message": "Your account was suspended for violating our usage policies"}},
         "missing or wrong"),
        (400, {"error": {"message": "foo/bar is not a valid model ID", "code": 400}}, "this model"),
        (400, {"error": {"code": "1211", "message": "模型不存在,请检查模型代码"}}, "this model"),
        (400, {"message": "The provided model identifier is invalid."}, "this model"),
        (404, {"error": "model 'llama9' not found"}, "this model"),
        (400, {"error": "No models loaded"}, "this model"),
        (400, {"error": "模型未找到"}, "this model"),
        (400, {"error": {"message": "Model Not Exist", "type": "invalid_request_error"}},
         "this model"),
        (403, {"error": {"message": "API key flagged: sensitive scopes missing"}},
         "missing or wrong"),
        (403, {"error": {"message": "Your API key was reported as leaked."}}, "missing or wrong"),
        (403, {"message": "The security token included in the request is invalid."},
         "missing or wrong"),
        (403, {"error": {"message": "Forbidden"}}, "or the account may not be used so"),
        (200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}, "base_url"),
    ],
)  # fmt: skip
async def test_a_wrong_key_model_or_address_stops_at_once_whatever_its_status(
    server, connect, status, body, said
):
    """Published mistake: a wrong key was 20 nameless errors, a wrong address 207 requests."""
    server.always = (status, body, {})
    with pytest.raises(ModelError, match=said) as caught:
        await ask(connect())
    assert "no message" not in str(caught.value)
    assert len(server.bodies) == (1 if "Forbidden" not in str(body) else 2)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "said so"}},
        {"error": "said so"},
        {"error": ["said so"]},
        [{"error": {"message": "said so"}}],
        {"detail": "said so"},
        {"detail": [{"loc": ["body"], "msg": "said so"}]},
        {"message": "said so"},
        {"errors": [{"code": 7003, "message": "said so"}]},
        {"errors": {"a": 1, "message": "said so"}},
        {"error": '{"error": {"message": "said so"}}'},
        {"error": {"message": "upstream: {'error': {'message': 'said so', 'param': None}}"}},
        {"fault": {"faultstring": "said so"}},
        {"title": "said so", "status": 422},
        {"Error": {"Message": "said so"}},
        "said so",
        '"said so"',
        "<html><style>p {}</style><p>said so</p></html>",
    ],
)
async def test_the_servers_words_are_found_in_every_shape(server, connect, body):
    server.script = [script((422, body))]
    response = await ask(connect())
    assert (response.code, response.status) == ("http_422", ResponseStatus.FAILED)
    assert "said so" in (response.detail or "")


@pytest.mark.parametrize("size", [10_000, 100_000])
@pytest.mark.parametrize("piece", ["<script ", "{", "[{", "tokens exceed ", "a" * 50 + " ", "' {"])
async def test_a_hostile_body_is_read_in_bounds(server, connect, piece, size):
    server.script = [(422, {"error": {"message": piece * (size // len(piece))}}, {})]
    response = await ask(connect())
    assert response.status is ResponseStatus.FAILED
    assert len(response.detail or "") <= 300
