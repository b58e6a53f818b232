"""Three servers of one model, of which one is killed on the way: what is lost, and the rate.

Each server is a process that answers a few requests at a time, as a GPU does, so that the three of
them are what limits the rate. Usage: python benchmarks/pool.py
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from typing import Final

from aiohttp import web

from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from opensafemlrm.types import Prompt, ResponseStatus, Sampling

SERVERS: Final = 3
SLOTS: Final = 8
"""Requests that a server answers at a time."""
SECONDS: Final = 0.1
"""What each of them takes."""
CONCURRENCY: Final = 60


async def serve() -> None:
    """Answer Chat Completions until the process is killed; print the port first."""
    slots = asyncio.Semaphore(SLOTS)

    async def answer(_: web.Request) -> web.Response:
        async with slots:
            await asyncio.sleep(SECONDS)
        message = {"role": "assistant", "content": "Blue."}
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}]})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def measure(requests: int, killed: int) -> tuple[float, int]:
    """Ask that often, with ``killed`` servers killed at a third of it; return rate and failures."""
    command = [sys.executable, __file__, "--serve"]
    servers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(SERVERS)]
    try:
        return asyncio.run(ask_all(servers, requests, killed))
    finally:
        for server in servers:
            server.kill()
            server.wait()


async def ask_all(
    servers: list[subprocess.Popen[str]], requests: int, killed: int
) -> tuple[float, int]:
    """Return the rate of all requests, and how many failed."""
    ports = [int(server.stdout.readline()) for server in servers if server.stdout]
    urls = tuple(f"http://127.0.0.1:{port}/v1" for port in ports)
    model = OpenAICompatible("bench", base_url=urls, concurrency=CONCURRENCY)
    done = 0

    async def ask(number: int) -> bool:
        nonlocal done
        reply = await model.generate(Prompt.user(f"Question {number}"), Sampling())
        done += 1
        if done == requests // 3:
            for server in servers[:killed]:
                server.kill()
        return reply.status is ResponseStatus.OK

    start = time.perf_counter()
    answered = await asyncio.gather(*map(ask, range(requests)))
    rate = requests / (time.perf_counter() - start)
    await model.aclose()
    return rate, requests - sum(answered)


def main() -> None:
    """Measure whole, then with one server killed, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help="be one of the servers")
    parser.add_argument("--requests", type=int, default=3000)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    whole, _ = measure(options.requests, 0)
    rate, lost = measure(options.requests, 1)
    print(f"{SERVERS} servers: {whole:.0f} requests/s")
    print(f"one killed after a third: {rate:.0f} requests/s, {rate / whole:.2f} of it; {lost} lost")


if __name__ == "__main__":
    main()
