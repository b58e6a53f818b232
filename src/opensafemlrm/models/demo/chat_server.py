"""Models behind an OpenAI-compatible server: the part that all bundled servers share.

``POST /v1/chat/completions`` takes text and ``image_url`` parts (data URIs only: nothing is ever
fetched) and answers with what the model gives in the same process. ``stop`` is kept to, and as in
vLLM a reply that was begun goes on with ``continue_final_message`` (and ``add_generation_prompt``
false). ``GET /v1/models`` lists the models, ``GET /stats`` counts requests.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from aiohttp import web

from opensafemlrm import images
from opensafemlrm.components import Model
from opensafemlrm.errors import ImageError
from opensafemlrm.types import Capability, Image, Prompt, Response, ResponseStatus, Sampling, Turn

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
_ROLES: Final = frozenset({"system", "developer", "user", "assistant"})
_SHUTDOWN_SECONDS: Final = 5.0
_DEFAULTS: Final = Sampling()


class RequestError(Exception):
    """A request that gets an error as its answer, in the shape of OpenAI's API."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(slots=True)
class ChatServer:
    """The handlers, and what they count.

    ``models`` are by the names that clients ask for. ``counted`` gives the name that a model's
    requests are counted under. ``disturb`` is called with the server for each request, and may
    raise RequestError.
    """

    models: Mapping[str, Model]
    owner: str
    counted: Callable[[str], str] = str
    disturb: Callable[[ChatServer], None] = lambda _: None
    reasoning_parser: bool = False
    requests: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    received: int = 0
    in_flight: int = 0
    in_flight_peak: int = 0

    def app(self) -> web.Application:
        """Build the application."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_errors_as_json])
        app.router.add_get("/v1/models", self.list_models)
        app.router.add_post("/v1/chat/completions", self.complete)
        app.router.add_get("/stats", self.stats)
        app.on_cleanup.append(self._close)
        return app

    async def list_models(self, _: web.Request) -> web.Response:
        """Answer with the names of the models."""
        owned = {"object": "model", "owned_by": self.owner}
        return _json({"object": "list", "data": [{"id": name, **owned} for name in self.models]})

    async def stats(self, _: web.Request) -> web.Response:
        """Answer with what was counted."""
        return _json(
            {
                "received": self.received,
                "requests": self.requests,
                "errors": self.errors,
                "in_flight": self.in_flight,
                "in_flight_peak": self.in_flight_peak,
            }
        )

    async def complete(self, request: web.Request) -> web.Response:
        """Answer with a reply of the model that the request names."""
        self.received += 1
        self.in_flight += 1
        self.in_flight_peak = max(self.in_flight_peak, self.in_flight)
        try:
            self.disturb(self)
            body = _body(await request.read())
            name = self._name(body)
            self.requests[self.counted(name)] += 1
            model = self.models[name]
            prompt, sampling = _prompt(body, model), _sampling(body)
            response = await model.generate(prompt, sampling)
            message = _message(response.text, prompt) if self.reasoning_parser else None
            return _completion(name, response, self.owner, message)
        except RequestError as error:
            self.errors[error.code] += 1
            raise
        finally:
            self.in_flight -= 1

    async def _close(self, _: web.Application) -> None:
        for model in self.models.values():
            await model.aclose()

    def _name(self, body: Mapping[str, Any]) -> str:
        name = body.get("model")
        if not isinstance(name, str):
            raise RequestError(400, "invalid_request", "the field 'model' must be a string")
        if name not in self.models:
            known = ", ".join(self.models)
            raise RequestError(
                404, "model_not_found", f"there is no model {name[:100]!r}; known: {known}"
            )
        return name


async def start(
    app: web.Application, host: str = "127.0.0.1", port: int = 0
) -> tuple[web.AppRunner, int]:
    """Start serving and return the runner and the port (a free one for ``port=0``).

    Stop with ``await runner.cleanup()``. Raises OSError where the port is taken.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner, int(runner.addresses[0][1])


def serve(
    app: web.Application,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is in flight and return.

    ``on_ready`` is called with the base URL for clients once requests are taken. Raises OSError
    where the port is taken.
    """

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        # Where loops have no signal handlers, an interrupt ends asyncio.run instead.
        with contextlib.suppress(NotImplementedError):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop.set)
        runner, bound = await start(app, host, port)
        try:
            if on_ready is not None:
                on_ready(f"http://{f'[{host}]' if ':' in host else host}:{bound}/v1")
            await stop.wait()
        finally:
            await runner.cleanup()

    asyncio.run(run())


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except RequestError as error:
        return _error(error.status, error.code, error.message)
    except web.HTTPException as error:
        return _error(error.status, "invalid_request", error.reason)


def _error(status: int, code: str, message: str) -> web.Response:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    response = _json({"error": {"message": message, "type": kind, "code": code, "param": None}})
    response.set_status(status)
    if status == 429:
        response.headers["Retry-After"] = "0"
    return response


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def _body(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, "invalid_json", f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise RequestError(400, "invalid_request", "the body must be a JSON object")
    if body.get("stream"):
        raise RequestError(400, "unsupported", "streaming is not supported; leave out 'stream'")
    return body


def _sampling(body: Mapping[str, Any]) -> Sampling:
    limit = body.get("max_completion_tokens", body.get("max_tokens")) or _DEFAULTS.max_tokens
    seed = body.get("seed")
    if not isinstance(limit, int) or limit < 1:
        raise RequestError(400, "invalid_request", "'max_tokens' must be a positive integer")
    if seed is not None and not isinstance(seed, int):
        raise RequestError(400, "invalid_request", "'seed' must be an integer or null")
    temperature, top_p = body.get("temperature"), body.get("top_p")
    for name, value in (("temperature", temperature), ("top_p", top_p)):
        if value is not None and (not isinstance(value, int | float) or value < 0):
            raise RequestError(400, "invalid_request", f"{name!r} must be a number from 0 on")
    return Sampling(float(temperature or 0.0), limit, seed, top_p, _stop(body))


def _stop(body: Mapping[str, Any]) -> tuple[str, ...] | None:
    stop = body.get("stop") or None
    texts = [stop] if isinstance(stop, str) else stop
    if texts is None:
        return None
    if not isinstance(texts, list) or not all(text and isinstance(text, str) for text in texts):
        raise RequestError(400, "invalid_request", "'stop' must be a text or a list of texts")
    return tuple(texts)


def _prompt(body: Mapping[str, Any], model: Model) -> Prompt:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestError(400, "invalid_request", "'messages' must be a list that is not empty")
    turns = tuple(_turn(message, number) for number, message in enumerate(messages))
    if not body.get("continue_final_message"):
        # An assistant's last message is said to its end, as the template of a chat has it.
        return Prompt(turns, is_complete=turns[-1].role == "assistant")
    if body.get("add_generation_prompt", True):
        raise RequestError(
            400,
            "invalid_request",
            "'continue_final_message' and 'add_generation_prompt' exclude each other",
        )
    prompt = Prompt(turns)
    if not prompt.is_prefilled:
        raise RequestError(
            400, "invalid_request", "'continue_final_message' needs an assistant's last message"
        )
    if Capability.PREFILL not in model.capabilities:
        raise RequestError(400, "unsupported", f"{model.label} cannot go on from a begun reply")
    return prompt


def _turn(message: Any, number: int) -> Turn:
    where = f"'messages[{number}]'"
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise RequestError(400, "invalid_request", f"{where} needs a role: {sorted(_ROLES)}")
    content = message.get("content")
    if isinstance(content, str):
        return Turn(message["role"], (content,))
    if not isinstance(content, list):
        raise RequestError(400, "invalid_request", f"{where} needs text or a list of parts")
    return Turn(message["role"], tuple(_part(part, where) for part in content))


def _part(part: Any, where: str) -> str | Image:
    match part:
        case {"type": "text", "text": str(text)}:
            return text
        case {"type": "image_url", "image_url": {"url": str(uri)}}:
            return _image(uri, where)
    raise RequestError(400, "invalid_request", f"{where} has a part that is no text and no image")


def _image(uri: str, where: str) -> Image:
    header, comma, data = uri.partition(",")
    if not (comma and header.startswith("data:image/") and header.endswith(";base64")):
        raise RequestError(
            400, "invalid_image", f"{where}: images must be base64 data URIs; nothing is fetched"
        )
    try:
        return images.from_bytes(base64.b64decode(data, validate=True))
    except (ImageError, binascii.Error) as error:
        raise RequestError(400, "invalid_image", f"{where}: {error}") from error


def _completion(
    name: str, response: Response, owner: str, message: dict[str, str | None] | None
) -> web.Response:
    if response.status is ResponseStatus.BLOCKED:
        raise RequestError(400, "content_filter", response.detail or "blocked")
    if response.status is ResponseStatus.FAILED:
        code = response.code or "failed"
        raise RequestError(503 if response.transient else 400, code, response.detail or code)
    usage = response.usage
    tokens = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": (usage.input_tokens or 0) + (usage.output_tokens or 0),
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
    message = message or {"role": "assistant", "content": response.text}
    digest = hashlib.sha256(response.text.encode()).hexdigest()[:16]
    return _json(
        {
            "id": f"chatcmpl-{owner}-{digest}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": name,
            "choices": [{"index": 0, "message": message, "finish_reason": response.finish_reason}],
            "usage": tokens,
        }
    )


def _message(text: str, prompt: Prompt) -> dict[str, str | None]:
    """Split the reasoning off, as a server's reasoning parser does."""
    begun = prompt.turns[-1].text if prompt.is_prefilled else ""
    if not (
        text.startswith("<think>") or (begun.startswith("<think>") and "</think>" not in begun)
    ):
        return {"role": "assistant", "content": text}
    reasoning, end, answer = text.removeprefix("<think>").partition("</think>")
    # Like vLLM: where the end tag never came, everything is reasoning and there is no content.
    return {
        "role": "assistant",
        "content": answer if end else None,
        "reasoning_content": reasoning,
    }
