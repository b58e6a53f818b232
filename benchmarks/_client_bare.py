"""The limit: the same requests over the same HTTP client, with nothing around them.

Bodies are ready before the clock starts, replies are parsed and thrown away, nothing depends on
anything: as many loops as there are connections, half for the model, half for the judge.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator

import aiohttp
import orjson
import uvloop
from _measure import Measurement, arguments, png, question
from _mock_server import REPLY

from opensafemlrm.judges.policy_rubric import RUBRIC


def model_bodies(images: int) -> list[bytes]:
    """Return a request for each image."""
    bodies = []
    for number in range(images):
        uri = f"data:image/png;base64,{base64.b64encode(png(number)).decode()}"
        parts = [
            {"type": "image_url", "image_url": {"url": uri}},
            {"type": "text", "text": question(number)},
        ]
        bodies.append(_body("bench", [{"role": "user", "content": parts}]))
    return bodies


def judge_bodies() -> list[bytes]:
    """Return a request for reasoning, answer and whole reply."""
    content = json.loads(b"0".join(REPLY))["choices"][0]["message"]["content"]
    thought, _, answer = content.removeprefix("<think>").partition("</think>")
    prompts = [RUBRIC.prompt(question(0), text) for text in (thought, answer, content)]
    return [
        _body("judge", [{"role": turn.role, "content": turn.text} for turn in prompt.turns])
        for prompt in prompts
    ]


def _body(model: str, messages: list[dict[str, object]]) -> bytes:
    return orjson.dumps(
        {"model": model, "messages": messages, "temperature": 0, "max_tokens": 1024, "seed": 0}
    )


async def send(session: aiohttp.ClientSession, url: str, bodies: Iterator[bytes]) -> None:
    """Send bodies, shared with the other loops, until there are no more."""
    for body in bodies:
        async with session.post(url, data=body) as reply:
            orjson.loads(await reply.read())


async def main() -> None:
    """Send everything."""
    asked = arguments()
    models, judges = model_bodies(asked.images), judge_bodies()
    generations = (models[i % len(models)] for i in range(asked.items))
    judgements = (judges[i % 3] for i in range(3 * asked.items))
    headers = {"Content-Type": "application/json"}
    measurement = Measurement()
    async with asyncio.TaskGroup() as group:
        for path, bodies in (("model", generations), ("judge", judgements)):
            url = f"http://127.0.0.1:{asked.port}/{path}/v1/chat/completions"
            connector = aiohttp.TCPConnector(limit=asked.concurrency)
            session = aiohttp.ClientSession(connector=connector, headers=headers)
            group.create_task(_send_all(session, url, bodies, asked.concurrency))
    measurement.report()


async def _send_all(
    session: aiohttp.ClientSession, url: str, bodies: Iterator[bytes], concurrency: int
) -> None:
    async with session:
        await asyncio.gather(*(send(session, url, bodies) for _ in range(concurrency)))


if __name__ == "__main__":
    uvloop.run(main())
