"""A server that keeps batches as OpenAI's does."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.models.scripted import completion, error


class BatchServer:
    """Files and batches by OpenAI's reference. A batch ends after it was looked at ``looks``
    times; ``line`` makes the line that answers a request, ``None`` for none.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.left: dict[str, int] = {}
        self.looks = 2
        self.numbers = itertools.count()
        self.ends_as = "completed"
        self.line: Callable[[dict[str, Any]], dict[str, Any] | None] = answer
        self.script: list[Any] = []
        self.base_url = ""
        self.headers: list[dict[str, str]] = []
        self.single = 0
        self.looked = asyncio.Event()

    async def is_under_way(self) -> None:
        """Return when a client has looked at a batch: then it has noted it."""
        await self.looked.wait()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**28, middlewares=[self.scripted])
        app.router.add_post("/v1/files", self.upload)
        app.router.add_get("/v1/files/{id}/content", self.content)
        app.router.add_post("/v1/batches", self.create)
        app.router.add_get("/v1/batches", self.list_batches)
        app.router.add_get("/v1/batches/{id}", self.look)
        app.router.add_post("/v1/chat/completions", self.complete)
        return app

    @web.middleware
    async def scripted(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.headers.append(dict(request.headers))
        if self.script and (act := self.script.pop(0)) is not None:
            return web.json_response(act[1], status=act[0], headers=act[2] if act[2:] else {})
        response: web.StreamResponse = await handler(request)
        return response

    async def complete(self, _: web.Request) -> web.Response:
        self.single += 1
        return web.json_response(completion())

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        name = f"file-{next(self.numbers)}"
        self.files[name] = form["file"].file.read()  # type: ignore[union-attr] # it is a file
        return web.json_response({"id": name, "object": "file"})

    async def create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        assert (asked["endpoint"], asked["completion_window"]) == ("/v1/chat/completions", "24h")
        name = f"batch_{next(self.numbers)}"
        self.batches[name] = {"id": name, "status": "validating", **asked}
        self.left[name] = self.looks
        return web.json_response(self.batches[name])

    async def list_batches(self, request: web.Request) -> web.Response:
        names = list(self.batches)[::-1]
        after = request.query.get("after")
        names = names[names.index(after) + 1 :] if after else names
        page = names[: int(request.query["limit"])]
        return web.json_response({"object": "list", "data": [self.batches[n] for n in page]})

    async def look(self, request: web.Request) -> web.Response:
        batch = self.batches.get(request.match_info["id"])
        if batch is None:
            return web.json_response(error("no such batch"), status=404)
        self.looked.set()
        name = batch["id"]
        self.left[name] -= 1
        if self.left[name] < 0 and batch["status"] in ("validating", "in_progress"):
            self._end(batch)
        elif self.left[name] >= 0:
            batch["status"] = "in_progress"
        return web.json_response(batch)

    def _end(self, batch: dict[str, Any]) -> None:
        batch["status"] = self.ends_as
        if self.ends_as == "failed":
            batch["errors"] = {"data": [{"code": "x", "message": "too many tokens are enqueued"}]}
            return
        lines = [self.line(request) for request in self.requests(batch["id"])]
        for field, failed in (("output_file_id", False), ("error_file_id", True)):
            some = [one for one in lines if one and (one["response"] is None) is failed]
            if some:
                name = f"file-{next(self.numbers)}"
                # In any order: what belongs together is told by custom_id alone.
                self.files[name] = "\n".join(json.dumps(one) for one in some[::-1]).encode()
                batch[field] = name

    async def content(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["id"]])

    def requests(self, batch: str) -> list[dict[str, Any]]:
        lines = self.files[self.batches[batch]["input_file_id"]].splitlines()
        return [json.loads(line) for line in lines]


def asked(request: dict[str, Any]) -> str:
    return request["body"]["messages"][-1]["content"]


def answer(request: dict[str, Any]) -> dict[str, Any]:
    body = completion({"role": "assistant", "content": f"about {asked(request)}"})
    return reply(request, 200, body)


def reply(request: dict[str, Any], status: int, body: Any) -> dict[str, Any]:
    response = {"status_code": status, "request_id": "r", "body": body}
    return {"id": "l", "custom_id": request["custom_id"], "response": response, "error": None}


def not_run(request: dict[str, Any], code: str) -> dict[str, Any]:
    why = {"code": code, "message": "the window is over"}
    return {"id": "l", "custom_id": request["custom_id"], "response": None, "error": why}
