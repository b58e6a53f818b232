"""Which models an OpenAI-compatible server lists: ``GET /v1/models``."""

from __future__ import annotations

from typing import Final

import orjson

from opensafemlrm.errors import ModelError
from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from opensafemlrm.models.hosted.vllm import VLLM
from opensafemlrm.models.http.endpoint import secrets_of
from opensafemlrm.models.http.transport import Timeouts, TransportError

_SECONDS: Final = 20.0
_NONE: Final = "-"
"""Stands for a model, where only the address matters."""


async def served_models(base_url: str, api_key_env: str | None = None) -> tuple[str, list[str]]:
    """Return the address that answers, with its ``/v1``, and the names of its models.

    Raises ModelError where address or key are missing or wrong, or where there is no such list.
    """
    kind = VLLM if api_key_env is None and not _is_openai(base_url) else OpenAICompatible
    tried = [base_url] if base_url.rstrip("/").endswith("/v1") else [base_url, f"{base_url}/v1"]
    status = 0
    for address in tried:
        try:
            model = kind(_NONE, base_url=address, api_key_env=api_key_env)
        except ValueError as error:
            raise ModelError(_by_address(error)) from error
        (endpoint,) = model.endpoints()
        path = endpoint.url.path.removesuffix(model.codec.path(_NONE))
        transport = endpoint.open(Timeouts(total=_SECONDS))
        try:
            reply = await transport.request("GET", endpoint.url.with_path(f"{path}/models"))
        except TransportError as error:
            reason = secrets_of([endpoint])[0](_by_address(error))
            raise ModelError(
                f"{base_url} does not answer: {reason}. Check that the server runs, and its address"
            ) from error
        finally:
            await transport.aclose()
        if reply.status in (401, 403):
            raise ModelError(
                f"{base_url} wants a key ({reply.status}): put it into an environment variable, "
                "and name that with --api-key-env"
            )
        names = _names(reply.body) if reply.status == 200 else None
        if names is not None:
            return address.rstrip("/"), names
        status = reply.status
    raise ModelError(
        f"{base_url} has no list of models (it answers {status}): an address mostly ends in /v1"
    )


def _by_address(error: Exception) -> str:
    """Return an error over the address, which is no option here."""
    text = str(error).replace("base_url", "the address")
    return text.replace("in api_key_env", "with --api-key-env")


def _is_openai(base_url: str) -> bool:
    return base_url.startswith("https://api.openai.com/")


def _names(body: bytes | None) -> list[str] | None:
    try:
        listed = orjson.loads(body or b"")["data"]
        names = [row["id"] for row in listed]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return [name for name in names if isinstance(name, str) and name.isprintable()]
