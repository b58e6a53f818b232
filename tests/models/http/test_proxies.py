"""Requests through proxies: which one is taken, and what it is told and not told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import trustme
from yarl import URL

from opensafemlrm.errors import ModelError
from opensafemlrm.models.hosted.anthropic import Anthropic
from opensafemlrm.models.hosted.google import Google
from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from opensafemlrm.models.hosted.vllm import VLLM
from opensafemlrm.models.http.proxies import proxy_for
from opensafemlrm.models.http.transport import (
    CertificateError,
    ConnectError,
    ProxyLoginError,
    Timeouts,
    Transport,
)
from tests.models.network import (
    BODY,
    HOST,
    KEY,
    LOGIN,
    PASSWORD,
    USER,
    http_proxy,
    post,
    reply,
    server,
    socks_proxy,
    tls,
)
from tests.models.scripted import ask


class TestProxies:
    """Through a proxy; none is told a key, and no message tells its password."""

    @pytest.fixture(params=["http", "https", "socks5h"])
    def kind(self, request):
        return request.param

    def through(self, kind: str, target: int, authority: trustme.CA) -> Any:
        """A proxy of a kind to one port of this machine."""
        if kind == "socks5h":
            return socks_proxy(target, (USER, PASSWORD))
        return http_proxy(target, tls=tls(authority, "127.0.0.1") if kind == "https" else None)

    async def test_a_tunnel_is_asked_for_and_the_key_goes_through_it(
        self, connect, authority, trusted, kind
    ):
        async with (
            server(tls=tls(authority, HOST)) as seen,
            self.through(kind, seen.port, authority) as proxy,
        ):
            via = connect(f"{kind}://{LOGIN}@127.0.0.1:{proxy.port}")
            for _ in range(2):
                assert (await post(via, f"https://{HOST}/v1")).body == BODY
        assert seen.connections == 1
        assert KEY in seen.heads[0]
        assert KEY not in proxy.everything
        assert PASSWORD not in seen.everything
        if kind == "socks5h":
            assert (proxy.heads, proxy.logins) == ([HOST], [(USER, PASSWORD)])
        else:
            assert proxy.heads[0].startswith(f"CONNECT {HOST}:443 ")
            assert "Proxy-Authorization: Basic " in proxy.heads[0]

    async def test_it_is_so_in_the_engines_event_loop(self, authority, trusted, kind):
        """The engine runs on uvloop, whose TLS is another."""

        async def once() -> bytes | None:
            async with (
                server(tls=tls(authority, HOST)) as seen,
                self.through(kind, seen.port, authority) as proxy,
            ):
                address = URL(f"{kind}://{LOGIN}@127.0.0.1:{proxy.port}")
                via = Transport({}, Timeouts(total=5.0), address)
                answer = await post(via, f"https://{HOST}/v1")
                await via.aclose()
                return answer.body

        uvloop = pytest.importorskip("uvloop", reason="Windows has no uvloop")

        def run() -> bytes | None:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(once())

        assert await asyncio.to_thread(run) == BODY

    @pytest.mark.parametrize("kind", ["http", "socks5h"])
    async def test_the_servers_certificate_is_checked_through_it(self, connect, authority, kind):
        make = http_proxy if kind == "http" else socks_proxy
        async with server(tls=tls(authority, HOST)) as seen, make(seen.port) as proxy:
            with pytest.raises(CertificateError):
                await post(connect(f"{kind}://127.0.0.1:{proxy.port}"), f"https://{HOST}/")
        assert seen.heads == []

    async def test_a_proxy_that_is_down_is_no_connection(self, connect, kind):
        with pytest.raises(ConnectError, match=r"through the proxy 127\.0\.0\.1:1") as caught:
            await post(connect(f"{kind}://{LOGIN}@127.0.0.1:1"), f"https://{HOST}/")
        assert PASSWORD not in str(caught.value)

    @pytest.mark.parametrize(("status", "error"), [(407, ProxyLoginError), (502, ConnectError)])
    async def test_a_proxy_that_refuses_is_no_connection(self, connect, status, error):
        async with http_proxy(1, status) as proxy:
            with pytest.raises(error, match=str(status)) as caught:
                await post(connect(f"http://{LOGIN}@127.0.0.1:{proxy.port}"), f"https://{HOST}/")
        assert PASSWORD not in str(caught.value)
        assert USER not in str(caught.value)

    @pytest.mark.parametrize("more", [{"refusal": 5}, {"login": ("other", "one")}])
    async def test_a_socks_proxy_that_refuses_is_no_connection(self, connect, more):
        async with socks_proxy(1, **more) as proxy:
            with pytest.raises(ConnectError, match="through the proxy") as caught:
                await post(connect(f"socks5h://{LOGIN}@127.0.0.1:{proxy.port}"), f"http://{HOST}/")
        assert PASSWORD not in str(caught.value)

    async def test_socks5_looks_the_name_up_here(self, connect):
        async with server() as seen, socks_proxy(seen.port) as proxy:
            via = connect(f"socks5://127.0.0.1:{proxy.port}")
            assert (await post(via, "http://localhost/v1")).body == BODY
        assert proxy.heads == ["127.0.0.1"]

    async def test_without_tls_the_proxy_gets_the_whole_address(self, connect):
        async with server() as seen, http_proxy(seen.port) as proxy:
            via = connect(f"http://127.0.0.1:{proxy.port}")
            assert (await post(via, f"http://{HOST}/v1")).body == BODY
        assert proxy.heads[0].startswith(f"POST http://{HOST}/v1 ")

    @pytest.mark.parametrize("vendor", [OpenAICompatible, Anthropic, Google])
    async def test_no_vendors_key_goes_to_the_proxy(self, monkeypatch, authority, trusted, vendor):
        async def answer(writer, number):
            writer.write(reply(b"{}", "400 Bad"))

        monkeypatch.setenv("MY_KEY", KEY)
        async with server(answer, tls(authority, HOST)) as seen, http_proxy(seen.port) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://{LOGIN}@127.0.0.1:{proxy.port}")
            model = vendor("m", base_url=f"https://{HOST}/v1", api_key_env="MY_KEY")
            assert (await ask(model)).code == "http_400"
            await model.aclose()
        assert KEY in seen.heads[0]
        assert KEY not in proxy.everything

    @pytest.mark.parametrize("scheme", ["http", "socks5h"])
    async def test_a_key_is_not_shown_to_a_proxy_without_tls(self, monkeypatch, scheme):
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("HTTP_PROXY", f"{scheme}://{LOGIN}@127.0.0.1:1")
        model = OpenAICompatible(
            "m", base_url=f"http://{HOST}/v1", api_key_env="OPENAI_API_KEY", insecure=True
        )
        with pytest.raises(ModelError, match=f"put {HOST} into NO_PROXY") as caught:
            await ask(model)
        assert PASSWORD not in str(caught.value)

    @pytest.mark.parametrize("scheme", ["https", "http"])
    async def test_a_proxy_that_wants_a_password_ends_the_run_with_what_to_set(
        self, monkeypatch, scheme
    ):
        async with http_proxy(1, 407) as proxy:
            monkeypatch.setenv("ALL_PROXY", f"127.0.0.1:{proxy.port}")
            model = VLLM("m", base_url=f"{scheme}://{HOST}/v1")
            with pytest.raises(
                ModelError, match=r"set HTTPS_PROXY .* to http://USER:PASSWORD@HOST"
            ):
                await ask(model)
            await model.aclose()


@pytest.mark.parametrize(
    ("url", "settings", "proxy"),
    [
        ("https://api.test/v1", {}, None),
        ("https://api.test/v1", {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
        ("https://api.test/v1", {"https_proxy": "https://p:3128"}, "https://p:3128"),
        ("https://api.test/v1", {"HTTPS_PROXY": "p:3128"}, "http://p:3128"),
        ("https://api.test/v1", {"HTTP_PROXY": "http://p:3128"}, None),
        ("https://api.test/v1", {"ALL_PROXY": "socks5h://p:1080"}, "socks5h://p:1080"),
        ("http://api.test/v1", {"ALL_PROXY": "p:1", "HTTP_PROXY": "q:2"}, "http://q:2"),
        ("https://api.test/v1", {"ALL_PROXY": "p:1", "NO_PROXY": "other.test, api.test"}, None),
        ("https://api.test/v1", {"ALL_PROXY": "p:1", "NO_PROXY": ".test"}, None),
        ("https://api.test/v1", {"ALL_PROXY": "p:1", "NO_PROXY": "*"}, None),
        ("https://api.test:8443/v1", {"ALL_PROXY": "p:1", "NO_PROXY": "api.test:8443"}, None),
        ("https://api.test/v1", {"ALL_PROXY": "p:1", "NO_PROXY": "api.test:8443"}, "http://p:1"),
        ("http://10.1.2.3/v1", {"ALL_PROXY": "p:1", "NO_PROXY": "x, 10.0.0.0/8"}, None),
        ("http://11.1.2.3/v1", {"ALL_PROXY": "p:1", "NO_PROXY": "10.0.0.0/8,a/b"}, "http://p:1"),
        ("http://localhost:8000/v1", {"ALL_PROXY": "p:1"}, None),
        ("http://127.0.0.1:8000/v1", {"ALL_PROXY": "p:1"}, None),
        ("http://[::1]:8000/v1", {"ALL_PROXY": "p:1"}, None),
    ],
)
def test_the_proxy_is_the_one_that_the_environment_names(monkeypatch, url, settings, proxy):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    chosen = proxy_for(URL(url))
    assert chosen == (None if proxy is None else URL(proxy))


@pytest.mark.parametrize("setting", ["ftp://p:21", "http://", f"http://{LOGIN}@p:99999999", "://"])
async def test_a_proxy_that_cannot_be_used_is_said_before_anything_is_sent(monkeypatch, setting):
    """Never the direct way in its place."""
    monkeypatch.setenv("HTTPS_PROXY", setting)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(ModelError, match=r"set HTTPS_PROXY .*its present value cannot") as caught:
        await ask(OpenAICompatible("m"))
    assert PASSWORD not in str(caught.value)
