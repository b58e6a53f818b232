"""A model server that is started for the study, and ended with it, however it ends."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from yarl import URL

from opensafemlrm.errors import EndpointDownError, ModelError
from opensafemlrm.models.http.transport import Timeouts, Transport, TransportError
from opensafemlrm.types import Response

_SUPERVISOR: Final = Path(__file__).with_name("_supervisor.py")
_STARTS: Final = 3
"""Starts that are tried, if another program takes the port in between."""
_LOOK_EVERY: Final = 0.25
_LAST_LINES: Final = 15
_TAKEN: Final = ("address already in use", "errno 98", "errno 48")
_MOMENT: Final = 1.0


@dataclass(frozen=True, slots=True)
class Command:
    """What is started: a program that takes ``--host`` and ``--port``."""

    program: str
    arguments: tuple[str, ...]
    model: str
    """The name that the server has to offer."""
    label: str
    log: Path | None
    """Where all that it prints is kept; a new file of its own if not given."""
    timeout: float
    """Seconds until it has to answer."""


def find_program(program: str, label: str) -> str:
    """Return the path of a program. Raises ModelError where it is not there."""
    path = shutil.which(program)
    if path is None:
        raise ModelError(
            f"{label}: there is no program {program!r} on PATH; install vLLM (in an environment of "
            "its own, if you like) and give `program: path/to/vllm`"
        )
    return path


class Server:
    """One server that runs, and belongs to one event loop."""

    def __init__(self, command: Command, port: int, log: Path) -> None:
        self._command, self._log, self._port = command, log, port
        self._from = log.stat().st_size
        self._supervisor: asyncio.subprocess.Process | None = None
        self._ended: asyncio.Task[int] | None = None

    @classmethod
    async def start(cls, command: Command) -> Server:
        """Start it and return when it answers. Raises ModelError, with the end of its log."""
        program = find_program(command.program, command.label)
        log = command.log or _new_log()
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch(mode=0o600)
        for start in range(_STARTS):
            server = cls(command, _free_port(), log)
            try:
                await server._run(program)
                if await server._answers():
                    return server
            except BaseException:
                await server.stop()
                raise
            if start == _STARTS - 1 or not server._port_was_taken():
                raise ModelError(server._describe("ended before it answered"))
        raise AssertionError("unreachable: the last start returns or raises")

    @property
    def base_url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}/v1"

    async def while_up(self, request: Coroutine[Any, Any, Response]) -> Response:
        """Return what ``request`` returns. Raises EndpointDownError if the server ends before."""
        if self._ended is None:
            request.close()
            raise RuntimeError("the server was not started")
        task = asyncio.ensure_future(request)
        try:
            await asyncio.wait({task, self._ended}, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and _was_lost(task):
                # A dying server drops its connections a moment before it is gone.
                await asyncio.wait({self._ended}, timeout=_MOMENT)
            if self._ended.done() and (not task.done() or _was_lost(task)):
                raise EndpointDownError(self._describe("ended while the study ran"))
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def stop(self) -> None:
        """End it, and return when it and all that it started are gone."""
        if self._supervisor is None or self._ended is None:
            return
        if self._supervisor.stdin is not None:
            self._supervisor.stdin.close()
        await self._ended

    async def _run(self, program: str) -> None:
        arguments = (*self._command.arguments, "--host", "127.0.0.1", "--port", str(self._port))
        self._supervisor = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(_SUPERVISOR),
            str(self._log),
            program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
            # With it the server would want a key of us, though nobody else reaches it.
            env={name: value for name, value in os.environ.items() if name != "VLLM_API_KEY"},
        )
        self._ended = asyncio.create_task(self._supervisor.wait())

    async def _answers(self) -> bool:
        """Wait until it offers the model; say whether it did before it ended."""
        ended = self._ended
        deadline = asyncio.get_running_loop().time() + self._command.timeout
        transport = Transport({}, Timeouts(total=5))
        try:
            while ended is not None and not ended.done():
                if await self._offers_model(transport):
                    return not ended.done()
                if asyncio.get_running_loop().time() > deadline:
                    raise ModelError(
                        self._describe(f"did not answer within {self._command.timeout:g} s")
                    )
                await asyncio.wait({ended}, timeout=_LOOK_EVERY)
        finally:
            await transport.aclose()
        return False

    async def _offers_model(self, transport: Transport) -> bool:
        # /health alone could be that of a stranger who took the port.
        try:
            health = await transport.request("GET", URL(f"http://127.0.0.1:{self._port}/health"))
            if health.status != 200:
                return False
            reply = await transport.request("GET", URL(f"{self.base_url}/models"))
            offered = orjson.loads(reply.body or b"")
            return self._command.model in [model["id"] for model in offered["data"]]
        except (TransportError, ValueError, TypeError, KeyError):
            return False

    def _port_was_taken(self) -> bool:
        return any(sign in self._printed().casefold() for sign in _TAKEN)

    def _printed(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._from)
            return log.read().decode("utf-8", "replace")

    def _describe(self, what: str) -> str:
        lines: Sequence[str] = self._printed().splitlines()[-_LAST_LINES:]
        code = self._ended.result() if self._ended is not None and self._ended.done() else None
        with_code = "" if code is None else f" (exit code {code})"
        printed = "\n    ".join(lines) or "(nothing)"
        return (
            f"{self._command.label}: {self._command.program} {what}{with_code}. What is done is "
            f"kept. All that it printed is in {self._log}; the last lines:\n    {printed}"
        )


def _was_lost(task: asyncio.Task[Response]) -> bool:
    if task.cancelled() or task.exception() is not None:
        return not task.cancelled() and isinstance(task.exception(), EndpointDownError)
    return task.result().code in ("connection", "disconnected")


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _new_log() -> Path:
    handle, path = tempfile.mkstemp(prefix="safemlrm-vllm-", suffix=".log")
    os.close(handle)
    return Path(path)
