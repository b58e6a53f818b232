"""The wire gives whole replies or typed errors, whatever a server sends and in whatever pieces."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import shutil
import ssl
import subprocess
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from opensafemlrm.models.http import wire as _wire
from opensafemlrm.models.http.proxied import Proxied
from opensafemlrm.models.http.wire import (
    BadHTTPError,
    DisconnectedError,
    Incoming,
    Reply,
    UnreachableError,
    Wire,
    WireError,
)

MOST = 10_000
BODY = b'{"choices": [{"message": {"content": "tea \xc3\xa9"}}]}'


def sized(body: bytes = BODY, status: str = "200 OK", *fields: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status.encode(), b"content-LENGTH:  %d " % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(body: bytes = BODY, size: int = 7, trailers: bytes = b"") -> bytes:
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    framed = b"".join(b"%X;x=y\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + framed + b"0\r\n" + trailers + b"\r\n"


def to_the_end(body: bytes = BODY) -> bytes:
    return b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\n" + body


def packed(encoding: bytes, body: bytes) -> bytes:
    return sized(body, "200 OK", b"Content-Encoding: " + encoding)


WHOLE = {
    "sized": sized(),
    "chunked": chunked(),
    "chunked with trailers": chunked(trailers=b"X-Checksum: 1\r\nX-More: 2\r\n"),
    "to the end": to_the_end(),
    "after interim replies": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\n"
    + sized(),
    "gzip": packed(b"gzip", gzip.compress(BODY)),
    "deflate": packed(b"deflate", zlib.compress(BODY)),
    "identity": packed(b"identity", BODY),
}


def read(raw: bytes, cuts: list[int], most: int = MOST) -> Reply:
    """What comes of ``raw``, cut in pieces, before the connection ends."""
    incoming = Incoming(most)
    places = sorted({cut % (len(raw) + 1) for cut in cuts})
    for start, end in zip([0, *places], [*places, len(raw)], strict=True):
        reply = incoming.feed(raw[start:end])
        if reply is not None:
            return reply
    return incoming.end()


@given(form=st.sampled_from(sorted(WHOLE)), cuts=st.lists(st.integers(0, 10_000), max_size=12))
def test_a_reply_is_the_same_in_whatever_pieces_it_comes(form, cuts):
    assert read(WHOLE[form], cuts)[:2] == (200, BODY)


@given(form=st.sampled_from(sorted(set(WHOLE) - {"to the end"})), cut=st.integers(0, 10_000))
def test_a_reply_that_breaks_off_is_never_taken_for_a_whole_one(form, cut):
    """Published mistake: a cut reply becomes the answer."""
    raw = WHOLE[form]
    with pytest.raises(DisconnectedError):
        read(raw[: cut % len(raw)], [])


@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(lambda tail: b"HTTP/1.1 200 OK\r\n" + tail, st.binary(max_size=300)),
        st.builds(
            lambda tail: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + tail,
            st.binary(max_size=300),
        ),
    ),
    st.lists(st.integers(0, 300), max_size=4),
)
def test_nonsense_is_a_typed_error_and_nothing_else(raw, cuts):
    try:
        reply = read(raw, cuts)
    except WireError:
        return
    assert 200 <= reply.status < 1000


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n Content-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
        packed(b"br", BODY),
        packed(b"gzip", BODY),
        packed(b"gzip", gzip.compress(BODY)[:-4]),
    ],
)
def test_what_is_not_a_reply_in_http_is_said_to_be_none(raw):
    with pytest.raises(BadHTTPError):
        read(raw, [])


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFF\r\n",
        chunked(b"x" * (MOST + 1), size=1000),
        to_the_end(b"x" * (MOST + 1)),
        packed(b"gzip", gzip.compress(b"x" * 1_000_000)),
    ],
)
def test_a_reply_that_is_or_unfolds_too_large_is_not_read(raw):
    assert read(raw, []).body is None


@pytest.mark.parametrize(
    ("raw", "reusable"),
    [
        (sized(), True),
        (chunked(), True),
        (sized(BODY, "200 OK", b"Connection: close"), False),
        (sized(BODY, "200 OK", b"Connection: keep-alive, Close"), False),
        (sized() + b"HTTP/1.1 200 OK\r\n", False),
        (chunked() + b"x", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        # Two lengths that differ: nobody knows where the next reply begins.
        (chunked().replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n", 1), False),
    ],
)
def test_a_connection_is_used_again_only_where_the_end_of_the_reply_is_sure(raw, reusable):
    incoming = Incoming(MOST)
    assert incoming.feed(raw) is not None
    assert incoming.reusable is reusable


def test_fields_of_the_head_are_found_in_any_case():
    reply = read(sized(b"", "429 Too Many", b"ReTRY-after: 7"), [])
    assert reply.headers.get("Retry-After") == "7"


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(handler: Handler, seconds: float = 5.0) -> AsyncIterator[tuple[Wire, list[bytes]]]:
    """A wire to a server that gives each connection to ``handler``, and the heads it was sent."""
    heads: list[bytes] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                heads.append(head)
                await handler(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wire = Wire(URL(f"http://127.0.0.1:{port}/v1/x?q=a%20b"), {"X-Key": "k"}, seconds, MOST)
    try:
        yield wire, heads
    finally:
        await wire.aclose()
        await wire.aclose()
        server.close()
        await server.wait_closed()


async def test_requests_one_after_another_share_a_connection():
    connections = set()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        writer.write(sized())

    async with served(answer) as (wire, heads):
        for _ in range(3):
            assert (await wire.post(b"x" * 200_000)).body == BODY
    assert len(connections) == 1
    assert heads[0].startswith(b"POST /v1/x?q=a%20b HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-Key: k\r\n" in heads[0]


async def test_an_idle_connection_that_the_server_closed_is_not_used_again():
    async def answer_and_close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sized())
        writer.close()

    async with served(answer_and_close) as (wire, heads):
        for _ in range(3):
            assert (await wire.post(b"x")).status == 200
            await asyncio.sleep(0.02)
    assert len(heads) == 3


async def test_an_old_idle_connection_is_not_trusted(monkeypatch):
    """A router forgets a silent connection: what is sent on it goes nowhere, and nobody says so."""
    connections = set()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        writer.write(sized())

    monkeypatch.setattr(_wire, "KEPT_IDLE", 0.0)
    async with served(answer) as (wire, _):
        for _ in range(2):
            await wire.post(b"x")
            await asyncio.sleep(0.002)
    assert len(connections) == 2


async def test_what_nobody_asked_for_is_not_taken_for_the_next_reply():
    """The reply to one item stored as the reply to another."""

    async def answer_twice(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sized(b"mine"))
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(sized(b"stray"))

    async with served(answer_twice) as (wire, _):
        assert (await wire.post(b"x")).body == b"mine"
        await asyncio.sleep(0.06)
        assert (await wire.post(b"x")).body == b"mine"


async def test_a_request_given_up_takes_its_connection_with_it():
    """A late reply would be the next request's."""
    replies = [b"late", b"fresh"]

    async def answer_late(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = replies.pop(0)
        await asyncio.sleep(0.1 if body == b"late" else 0)
        writer.write(sized(body))

    async with served(answer_late) as (wire, _):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wire.post(b"x"), 0.03)
        await asyncio.sleep(0.1)
        assert (await wire.post(b"x")).body == b"fresh"


async def test_a_server_that_hangs_runs_into_the_timeout():
    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async with served(hang, seconds=0.05) as (wire, _):
        with pytest.raises(TimeoutError):
            await wire.post(b"x")


async def test_nobody_there_and_no_tls_there_are_said_to_be_unreachable():
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        for url in (f"https://127.0.0.1:{port}/v1", "http://127.0.0.1:1/v1"):
            with pytest.raises(UnreachableError):
                await Wire(URL(url), {}, 5.0, MOST).post(b"x")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, signed by nobody."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("makes a certificate with the openssl command, which is not installed")
    path = tmp_path / "both.pem"
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    out = ["-keyout", str(path), "-out", str(tmp_path / "cert.pem")]
    named = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([openssl, *made, *out, *named], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (tmp_path / "cert.pem").read_bytes())
    return path


async def test_only_a_certificate_that_is_trusted_is_talked_to(certificate, monkeypatch):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\nx"):
                writer.write(sized())
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        url = URL(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        with pytest.raises(ssl.SSLCertVerificationError):
            await Wire(url, {}, 5.0, MOST).post(b"x")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        wire = Wire(url, {}, 5.0, MOST)
        for _ in range(2):
            assert (await wire.post(b"x")).body == BODY
        await wire.aclose()


@pytest.mark.parametrize(
    ("sent", "outcome"),
    [
        (sized(BODY, "429 Slow", b"Retry-After: 3"), (429, BODY)),
        (chunked(), (200, BODY)),
        (to_the_end(b"x" * (MOST + 1)), (200, None)),
        (b"", DisconnectedError),
        (sized()[:-5], DisconnectedError),
        (b"SSH-2.0\r\n\r\n", BadHTTPError),
        (None, TimeoutError),
    ],
)
async def test_through_a_proxy_requests_end_as_they_do_without_one(sent, outcome):
    heads = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            await reader.read(1 if sent is not None else -1)
            writer.write(sent or b"")
        writer.close()

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        wire = Proxied(URL("http://api.example.test/v1"), {}, 0.5, MOST, address)
        try:
            if isinstance(outcome, tuple):
                reply = await wire.post(b"x")
                assert reply[:2] == outcome
                assert reply.headers.get("retry-after") == ("3" if reply.status == 429 else None)
            else:
                with pytest.raises(outcome):
                    await wire.post(b"x")
        finally:
            await wire.aclose()
    assert heads[0].startswith(b"POST http://api.example.test/v1 HTTP/1.1\r\n")
