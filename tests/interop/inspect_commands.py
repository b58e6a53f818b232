"""Runs the lines of its input in one process, as commands of Inspect AI, Scout and ours.

A process of its own: commands of Inspect patch asyncio, and one for each line would take minutes.
Prints, for each line, JSON of the line and of what it printed; stops at the first that fails.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import typer.main
from click.testing import CliRunner
from inspect_ai._cli.main import inspect
from inspect_ai.model._providers.mockllm import MockLLM
from inspect_scout._cli.main import scout

from opensafemlrm.cli import app

COMMANDS: dict[str, Any] = {
    "inspect": inspect,
    "safemlrm": typer.main.get_command(app),
    "scout": scout,
}


async def count(*_: Any, **__: Any) -> int:
    return 1


def run(text: str) -> str:
    """What a line prints."""
    program, *words = shlex.split(text)
    arguments = [path for word in words for path in (sorted(map(str, Path().glob(word))) or [word])]
    result = CliRunner().invoke(COMMANDS[program], arguments, catch_exceptions=False)
    if result.exit_code:
        sys.exit(f"{text}: {result.output}")
    return result.output


if __name__ == "__main__":
    MockLLM.count_tokens = count  # by a file that it fetches, and tests have no network
    for line in sys.stdin.read().splitlines():
        sys.stdout.write(json.dumps([line, run(line)]) + "\n")
