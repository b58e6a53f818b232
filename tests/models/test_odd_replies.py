"""Replies that old, cut-price or misconfigured servers send: read where they can be, else said."""

from __future__ import annotations

import gzip

import pytest

from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from opensafemlrm.types import Prompt, Response, ResponseStatus, Sampling, Turn
from tests.chaos.faults import HurriedClock, completion
from tests.models.network import reply, server

PROMPT = Prompt((Turn("user", ("Which colour is snow?",)),))
BODY = completion("white")
OTHER = b'{"index": 1, "message": {"content": "black"}, "finish_reason": "stop"}, '
READ = {
    "line feeds alone": reply(BODY).replace(b"\r\n", b"\n"),
    "packed in two members": reply(
        gzip.compress(BODY[:20], mtime=0) + gzip.compress(BODY[20:], mtime=0),
        "200 OK",
        b"Content-Encoding: gzip",
    ),
    "encoded as it is": reply(BODY, "200 OK", b"Content-Encoding: identity"),
    "transferred as it is": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n" + BODY,
    "another choice first": reply(BODY.replace(b'"choices": [', b'"choices": [' + OTHER)),
}


async def asked(raw: bytes, *, closes: bool = True, seconds: float = 30.0) -> tuple[Response, int]:
    """What became of a request that a server answers with ``raw``, and how often it was sent."""

    async def answer(writer, number):
        writer.write(raw)
        return closes

    async with server(answer) as seen:
        url = f"http://127.0.0.1:{seen.port}/v1"
        model = OpenAICompatible(
            "m", base_url=url, clock=HurriedClock(), max_retries=2, timeout=seconds
        )
        response = await model.generate(PROMPT, Sampling())
        await model.aclose()
    return response, len(seen.heads)


@pytest.mark.parametrize("how", READ)
async def test_an_odd_reply_is_read_at_the_first_try(how: str) -> None:
    response, tries = await asked(READ[how])
    assert (response.status, response.text, tries) == (ResponseStatus.OK, "white", 1)


async def test_line_feeds_and_tabs_within_a_text_of_json_are_read() -> None:
    """Six tries were paid for, and each time the whole answer was there."""
    response, tries = await asked(reply(BODY.replace(b"white", b"white\n\tas snow")))
    assert (response.status, response.text, tries) == (ResponseStatus.OK, "white\n\tas snow", 1)
    assert "not strict" in str(response.detail)


async def test_not_modified_is_no_redirect() -> None:
    response, _ = await asked(b"HTTP/1.1 304 Not Modified\r\n\r\n")
    assert response.status is ResponseStatus.FAILED
    assert response.code == "http_304"
    assert "redirect" not in str(response.detail)


@pytest.mark.parametrize("raw", [b"\x15\x03\x03\x00\x02\x02\x0a", b""])
async def test_a_port_that_speaks_tls_is_told_from_a_server_that_is_down(raw: bytes) -> None:
    """http:// to a port of https ends in an alert, or in a closed connection."""
    response, _ = await asked(raw)
    assert response.status is ResponseStatus.FAILED
    assert "https://" in str(response.detail)


async def test_a_reply_that_was_begun_is_not_asked_for_again_unseen() -> None:
    """It may be paid for: only a connection that was dropped before the reply is no try."""
    replies = iter([reply(BODY), reply(BODY)[:-9], reply(BODY)])

    async def answer(writer, number):
        raw = next(replies)
        writer.write(raw)
        return raw != reply(BODY)

    async with server(answer) as seen:
        url = f"http://127.0.0.1:{seen.port}/v1"
        model = OpenAICompatible("m", base_url=url, clock=HurriedClock())
        first = await model.generate(PROMPT, Sampling())
        second = await model.generate(PROMPT, Sampling())
        await model.aclose()
    assert (first.retries, second.retries) == (0, 1)
    assert second.text == "white"
    assert len(seen.heads) == 3


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" + BODY[:5] + b"\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + BODY,
        b"HTTP/1.1 503 Busy\r\nContent-Length: 5000\r\n\r\n{",
    ],
)
async def test_a_reply_that_never_ends_takes_one_timeout_and_is_asked_for_by_the_next_run(
    raw: bytes,
) -> None:
    """It took six, and each of the six may have been paid for."""
    response, tries = await asked(raw, closes=False, seconds=0.3)
    assert (response.status, response.code, tries) == (ResponseStatus.FAILED, "unfinished", 1)
    assert response.transient
    assert "began, and did not end within 0.3 s" in str(response.detail)


async def test_a_server_that_says_nothing_at_all_is_asked_again() -> None:
    response, tries = await asked(b"", closes=False, seconds=0.1)
    assert (response.code, tries) == ("timeout", 3)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        # RFC 9112, 6.3: both are an error; a body of either length may be another's.
        (b"Transfer-Encoding: identity\r\nContent-Length: %d" % len(BODY), "Transfer-Encoding"),
        (b"Transfer-Encoding: gzip", "transferred as 'gzip'"),
        (b"Transfer-Encoding: chunked, identity", "transferred as 'chunked, identity'"),
    ],
)
async def test_a_transfer_that_cannot_be_read_is_said(head: bytes, said: str) -> None:
    response, _ = await asked(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + BODY)
    assert (response.status, response.code) == (ResponseStatus.FAILED, "bad_http")
    assert said in str(response.detail)


@pytest.mark.parametrize("key", ["", "sk-proj-Zk39fJq0aMxWv7TbRu52LpYe81HsDc64NgQo"])
async def test_a_reply_nested_too_deeply_is_said_with_a_key_and_without(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the search for keys noticed it, which a model without a key does without."""
    monkeypatch.setenv("OPENAI_API_KEY", key)
    nested = b'{"text": ' * 700 + b'""' + b"}" * 700
    body = BODY.replace(b'"content":', b'"reasoning": ' + nested + b', "content":')
    response, _ = await asked(reply(body))
    assert (response.status, response.code) == (ResponseStatus.FAILED, "bad_shape")
    assert "too deeply" in str(response.detail)
