"""Which proxy the environment names for an address: ``HTTP(S)_PROXY``, ``ALL_PROXY``, ``NO_PROXY``.

The names mean what they mean to curl, in either case. Where none is set, the system's settings hold
(macOS, Windows). Addresses of this machine are never reached through a proxy.
"""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.request import getproxies, proxy_bypass

from yarl import URL

_SCHEMES: Final = ("http", "https", "socks4", "socks5", "socks5h")


def proxy_for(url: URL) -> URL | None:
    """Return the proxy for ``url``. Raises ValueError for a setting that cannot be used.

    With ``socks5h`` the proxy looks up the host's name, with ``socks5`` this machine does.
    """
    if is_loopback(url) or _is_exempt(url):
        return None
    settings = getproxies()
    setting = settings.get(url.scheme) or settings.get("all")
    if not setting:
        return None
    try:
        proxy = URL(setting if "://" in setting else f"http://{setting}")
    except ValueError:
        proxy = URL()
    if proxy.scheme not in _SCHEMES or not proxy.host:
        # The setting is not shown: it may hold a password.
        raise ValueError(
            f"set {url.scheme.upper()}_PROXY (or ALL_PROXY) to SCHEME://HOST:PORT, with one of the "
            f"schemes {', '.join(_SCHEMES)}; its present value cannot be used"
        )
    return proxy


def is_loopback(url: URL) -> bool:
    """Return whether ``url`` stays on this machine."""
    host = url.host or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_exempt(url: URL) -> bool:
    """Return whether ``NO_PROXY`` names the host: by name, suffix, port, address or network."""
    host = url.host or ""
    if proxy_bypass(f"{host}:{url.port}"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    entries = (entry.strip() for entry in getproxies().get("no", "").split(","))
    return any(_contains(entry, address) for entry in entries if "/" in entry)


def _contains(network: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
