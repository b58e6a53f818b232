"""Plain echo: a model that repeats what it is told, ``plain-echo/ANY``."""

from __future__ import annotations

from dataclasses import dataclass

from opensafemlrm.components import Model
from opensafemlrm.types import Prompt, Response, ResponseStatus, Sampling


@dataclass(frozen=True, slots=True)
class PlainEcho(Model):
    """Repeat the user's last words."""

    name = "plain-echo"
    billed = False

    model: str

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        """Return the reply; a request that fails is `Response.failed`, not an exception."""
        return Response(ResponseStatus.OK, prompt.turns[-1].text, finish_reason="stop")
