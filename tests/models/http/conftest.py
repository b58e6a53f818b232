"""Fixtures of the transport tests: an authority, none of this machine's settings, connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trustme
from yarl import URL

from opensafemlrm.models.http.transport import Timeouts, Transport
from tests.models.network import KEY


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Transport]]:
    made: list[Transport] = []

    def make(proxy: str | None = None, **timeouts: float) -> Transport:
        limits = Timeouts(**{"total": 5.0, **timeouts})
        made.append(Transport({"Authorization": KEY}, limits, URL(proxy) if proxy else None))
        return made[-1]

    yield make
    for each in made:
        await each.aclose()
        await each.aclose()
