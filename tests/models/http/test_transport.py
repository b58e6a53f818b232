"""Requests reach the server they are for, and end in a whole reply or an error that says why."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import json
import socket
import tracemalloc
import zlib

import aiohttp
import pytest
from yarl import URL

from opensafemlrm.errors import ModelError
from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from opensafemlrm.models.http import transport
from opensafemlrm.models.http.transport import (
    BadHTTPError,
    CertificateError,
    ConnectError,
    DisconnectedError,
    ReadTimeoutError,
    Reply,
    Transport,
    TransportError,
)
from opensafemlrm.types import ResponseStatus
from tests.models.network import BODY, KEY, post, reply, server, tls
from tests.models.scripted import FakeClock, ask, completion


class TestRequests:
    async def test_requests_one_after_another_share_a_connection(self, connect):
        via = connect()
        async with server() as seen:
            for size in (2, 200_000, 5_000_000):
                answer = await post(via, f"http://127.0.0.1:{seen.port}/v1/x?q=a%20b", b"x" * size)
                assert (answer.status, answer.body) == (200, BODY)
        assert seen.connections == 1
        assert [len(body) for body in seen.bodies] == [2, 200_000, 5_000_000]
        assert seen.heads[0].startswith("POST /v1/x?q=a%20b HTTP/1.1\r\n")
        assert f"Authorization: {KEY}\r\n" in seen.heads[0]
        assert "Content-Type: application/json\r\n" in seen.heads[0]

    async def test_headers_are_found_in_any_case(self, connect):
        async def limited(writer, number):
            writer.write(reply(b"", "429 Slow", b"ReTRY-after: 7"))

        async with server(limited) as seen:
            answer = await post(connect(), f"http://127.0.0.1:{seen.port}/")
        assert (answer.status, answer.headers.get("Retry-After")) == (429, "7")

    async def test_a_redirect_is_not_followed(self, connect):
        """The key must not go to whatever host a server names."""
        async with server() as other:
            there = b"Location: http://127.0.0.1:%d/" % other.port

            async def redirect(writer, number):
                writer.write(reply(b"", "307 There", there))

            async with server(redirect) as seen:
                answer = await post(connect(), f"http://127.0.0.1:{seen.port}/")
            assert (answer.status, other.connections) == (307, 0)


class TestBrokenReplies:
    @pytest.mark.parametrize(
        ("raw", "error"),
        [
            (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", BadHTTPError),
            (b"HTTP/2 200\r\n\r\n", BadHTTPError),
            (reply().replace(b"\r\n", b"\r\nContent-Length: 3\r\n", 1), BadHTTPError),
            (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", BadHTTPError),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", BadHTTPError),
            (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", BadHTTPError),
            (reply(b"abc", "200 OK", b"Content-Encoding: br"), BadHTTPError),
            (reply(b"abc", "200 OK", b"Content-Encoding: gzip"), TransportError),
            (b"", DisconnectedError),
            (reply()[:-5], DisconnectedError),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n",
                DisconnectedError,
            ),
        ],
    )
    async def test_what_is_no_whole_reply_is_a_typed_error(self, connect, raw, error):
        """Published mistake: a cut reply becomes the answer."""

        async def broken(writer, number):
            writer.write(raw)
            return True

        async with server(broken) as seen:
            with pytest.raises(error) as caught:
                await post(connect(), f"http://127.0.0.1:{seen.port}/?code={KEY}")
            assert KEY not in str(caught.value)
            assert seen.connections == 1

    @pytest.mark.parametrize(
        "raw",
        [
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\n" + reply(),
            reply(gzip.compress(BODY, mtime=0), "200 OK", b"Content-Encoding: gzip"),
            b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\n" + BODY,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"%x;x=y\r\n%b\r\n0\r\nA: b\r\n\r\n" % (len(BODY), BODY),
        ],
    )
    async def test_every_framing_that_servers_use_is_read(self, connect, raw):
        async def odd(writer, number):
            writer.write(raw)
            return True

        async with server(odd) as seen:
            assert (await post(connect(), f"http://127.0.0.1:{seen.port}/")).body == BODY


class TestTooLarge:
    """A hostile server cannot fill the memory: 64 MB a reply, whatever it sends."""

    @pytest.fixture(autouse=True)
    def little_memory(self):
        tracemalloc.start()
        yield
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 64e6

    async def ask(self, via: Transport, head: bytes, piece: bytes, times: int = 3000) -> Reply:
        async def endless(writer, number):
            writer.write(b"HTTP/1.1 200 OK\r\n" + head)
            for _ in range(times):
                writer.write(piece)
                await writer.drain()
            return True

        async with server(endless) as seen:
            return await via.request("POST", URL(f"http://127.0.0.1:{seen.port}/"), b"{}")

    @pytest.mark.parametrize(
        ("head", "piece"),
        [
            (b"Content-Length: 99999999999\r\n\r\n", b" " * 2**16),
            (b"\r\n", b" " * 2**16),
            (b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 2**16 + b"\r\n"),
        ],
    )
    async def test_an_endless_body_is_given_up(self, connect, head, piece):
        assert (await self.ask(connect(), head, piece)).body is None

    async def test_a_body_that_unfolds_is_given_up(self, connect):
        packing = zlib.compressobj(wbits=31)
        bomb = b"".join(packing.compress(b"\0" * 2**20) for _ in range(256)) + packing.flush()
        head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
        assert (await self.ask(connect(), head, bomb, 1)).body is None

    @pytest.mark.parametrize(
        ("head", "piece"),
        [
            (b"", b"X: " + b"y" * 1000 + b"\r\n"),
            (b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 2**16),
            (b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"X: " + b"y" * 1000 + b"\r\n"),
        ],
    )
    async def test_an_endless_head_chunk_or_trailer_ends_in_an_error(self, connect, head, piece):
        with pytest.raises(TransportError):
            await self.ask(connect(), head, piece)

    async def test_the_largest_reply_allowed_fits(self, connect):
        size = transport.MAX_REPLY_BYTES
        answer = await self.ask(
            connect(), b"Content-Length: %d\r\n\r\n" % size, b" " * 2**16, size // 2**16
        )
        assert answer.body is not None
        assert len(answer.body) == size


class TestConnections:
    @pytest.mark.parametrize(
        "url",
        ["http://127.0.0.1:1/", "http://nowhere.invalid/", "http://a..b/", f"http://{'a' * 70}.b/"],
    )
    async def test_nobody_there_is_no_connection(self, connect, url):
        with pytest.raises(ConnectError):
            await post(connect(), url)

    async def test_an_address_that_drops_packets_is_given_up_soon(self, connect, monkeypatch):
        monkeypatch.setattr(transport, "CONNECT_TIMEOUT", 0.3)
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(0)
            address = listening.getsockname()
            waiting = [socket.socket() for _ in range(4)]
            for each in waiting:  # the queue is full, and nobody takes from it
                each.setblocking(False)
                each.connect_ex(address)
            with pytest.raises(ConnectError, match=r"no connection within 0\.3 s"):
                await post(connect(), f"http://127.0.0.1:{address[1]}/")
            for each in waiting:
                each.close()

    async def test_a_server_that_never_greets_is_no_connection(self, connect, monkeypatch):
        monkeypatch.setattr(transport, "CONNECT_TIMEOUT", 0.3)
        with (
            socket.create_server(("127.0.0.1", 0)) as silent,
            pytest.raises(ConnectError, match="no connection within"),
        ):
            await post(connect(), f"https://127.0.0.1:{silent.getsockname()[1]}/")

    @pytest.mark.parametrize("timeouts", [{"total": 0.1}, {"total": 5.0, "read": 0.1}])
    async def test_a_server_that_never_replies_is_a_read_timeout(self, connect, timeouts):
        async def hang(writer, number):
            await asyncio.sleep(10)

        async with server(hang) as seen:
            with pytest.raises(ReadTimeoutError):
                await post(connect(**timeouts), f"http://127.0.0.1:{seen.port}/")

    async def test_each_of_many_requests_has_a_time_of_its_own(self, connect):
        """One timer serves them all: it ends those that are due, and leaves the younger alone."""

        async def third_is_slow(writer, number):
            await asyncio.sleep(10 if number == 3 else 0.0)
            writer.write(reply())

        via = connect(total=0.4)
        async with server(third_is_slow) as seen:
            url = f"http://127.0.0.1:{seen.port}/"
            for _ in range(2):
                assert (await post(via, url)).status == 200
            late = asyncio.create_task(post(via, url))
            await asyncio.sleep(0.2)
            after = [asyncio.create_task(post(via, url)) for _ in range(2)]
            with pytest.raises(ReadTimeoutError):
                await late
            assert [(await task).status for task in after] == [200, 200]
            assert (await post(via, url)).status == 200

    async def test_a_reply_before_the_request_was_read_ends_the_connection(self, connect):
        """What is left of a large body would be read as the next request."""
        ended = asyncio.Event()

        heads = []

        async def hasty(reader, writer):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(reply(b"", "413 Too Large"))
            await ended.wait()
            writer.close()

        via = connect()
        async with await asyncio.start_server(hasty, "127.0.0.1", 0, limit=2**12) as listening:
            url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
            for _ in range(2):
                assert (await post(via, url, b"x" * 20_000_000)).status == 413
            ended.set()
        assert len(heads) == 2

    async def test_a_dropped_idle_connection_is_asked_again_once(self, connect):
        """The server closes an idle connection in the moment in which it is used."""

        async def drop_second(writer, number):
            if number == 2:
                return True
            writer.write(reply())
            return None

        via = connect()
        async with server(drop_second) as seen:
            for _ in range(3):
                assert (await post(via, f"http://127.0.0.1:{seen.port}/")).status == 200
        assert (len(seen.heads), seen.connections) == (5, 3)

    async def test_a_new_connection_that_is_dropped_is_not_asked_again(self, connect):
        async def drop(writer, number):
            return True

        async with server(drop) as seen:
            with pytest.raises(DisconnectedError):
                await post(connect(), f"http://127.0.0.1:{seen.port}/")
        assert len(seen.heads) == 1

    async def test_a_form_is_not_sent_twice(self, connect):
        async def drop_second(writer, number):
            if number == 2:
                return True
            writer.write(reply())
            return None

        via = connect()
        async with server(drop_second) as seen:
            url = URL(f"http://127.0.0.1:{seen.port}/")
            assert (await via.request("GET", url)).status == 200
            with pytest.raises(DisconnectedError):
                await via.request("POST", url, aiohttp.FormData({"purpose": "batch"}))
        assert len(seen.heads) == 2

    async def test_what_nobody_asked_for_is_not_taken_for_the_next_reply(self, connect):
        """The reply to one item stored as the reply to another."""

        is_sent = asyncio.Event()

        async def answer_twice(writer, number):
            writer.write(reply(b"mine"))
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.write(reply(b"stray"))
            is_sent.set()

        via = connect()
        async with server(answer_twice) as seen:
            for _ in range(2):
                assert (await post(via, f"http://127.0.0.1:{seen.port}/")).body == b"mine"
                await is_sent.wait()
                is_sent.clear()
                await asyncio.sleep(0.04)
        assert seen.connections == 2

    async def test_an_old_idle_connection_is_not_trusted(self, connect, monkeypatch):
        """A router forgets a silent connection: what is sent on it goes nowhere."""
        monkeypatch.setattr(transport, "_MAX_IDLE", 0.01)
        via = connect()
        async with server() as seen:
            for _ in range(2):
                await post(via, f"http://127.0.0.1:{seen.port}/")
                await asyncio.sleep(0.05)
        assert seen.connections == 2

    async def test_a_request_given_up_takes_its_connection_with_it(self, connect):
        """A late reply would be the next request's."""
        replies = [b"late", b"fresh"]

        async def answer_late(writer, number):
            body = replies.pop(0)
            await asyncio.sleep(0.1 if body == b"late" else 0)
            writer.write(reply(body))

        via = connect()
        async with server(answer_late) as seen:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(post(via, f"http://127.0.0.1:{seen.port}/"), 0.03)
            await asyncio.sleep(0.1)
            assert (await post(via, f"http://127.0.0.1:{seen.port}/")).body == b"fresh"


class TestCertificates:
    @pytest.mark.parametrize(
        ("name", "more", "reason"),
        [
            ("elsewhere.test", {}, "not valid for '127.0.0.1'$"),
            ("127.0.0.1", {"not_after": datetime.datetime(2020, 1, 1)}, "expired$"),
        ],
    )
    async def test_a_certificate_that_is_wrong_is_not_talked_to(
        self, connect, authority, trusted, name, more, reason
    ):
        async with server(tls=tls(authority, name, **more)) as seen:
            with pytest.raises(CertificateError, match=reason):
                await post(connect(), f"https://127.0.0.1:{seen.port}/")
        assert seen.heads == []

    async def test_an_unknown_authority_is_not_trusted_and_the_advice_names_the_setting(
        self, connect, authority, monkeypatch, caplog
    ):
        async with server(tls=tls(authority, "127.0.0.1")) as seen:
            with pytest.raises(CertificateError, match="set SSL_CERT_FILE to a file that holds"):
                await post(connect(), f"https://127.0.0.1:{seen.port}/")
            monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
            with pytest.raises(CertificateError, match=r"SSL_CERT_FILE names /nowhere\.pem, which"):
                await post(connect(), f"https://127.0.0.1:{seen.port}/")
        assert seen.heads == []
        assert caplog.records == []

    async def test_an_authority_of_ones_own_is_trusted(self, connect, authority, trusted):
        via = connect()
        async with server(tls=tls(authority, "127.0.0.1")) as seen:
            for _ in range(2):
                assert (await post(via, f"https://127.0.0.1:{seen.port}/")).body == BODY
        assert seen.connections == 1

    async def test_an_untrusted_certificate_ends_the_run_with_the_advice(self, authority):
        async with server(tls=tls(authority, "127.0.0.1")) as seen:
            model = OpenAICompatible("m", base_url=f"https://127.0.0.1:{seen.port}/v1")
            with pytest.raises(ModelError, match=r"cannot be trusted.*SSL_CERT_FILE"):
                await ask(model)
            await model.aclose()


async def test_a_dropped_idle_connection_costs_no_retry():
    async def drop_second(writer, number):
        if number == 2:
            return True
        writer.write(reply(json.dumps(completion()).encode()))
        return None

    async with server(drop_second) as seen:
        clock = FakeClock()
        model = OpenAICompatible("m", base_url=f"http://127.0.0.1:{seen.port}/v1", clock=clock)
        responses = [await ask(model) for _ in range(2)]
        await model.aclose()
    assert [(r.status, r.retries) for r in responses] == [(ResponseStatus.OK, 0)] * 2
    assert clock.slept == []
