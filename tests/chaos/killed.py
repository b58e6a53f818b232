"""Runs a study and dies at the n-th time it passes a point: SIGKILL, with no chance to tidy up.

``python -m tests.chaos.killed POINT N STUDY STORE``. With N = 0 it lives, and prints as JSON how
often it passed each point.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from opensafemlrm import study
from opensafemlrm.engine import Plan, evaluate
from opensafemlrm.files import PARTIAL
from opensafemlrm.judges.canary import CanaryJudge
from opensafemlrm.models.demo.sim import Simulated
from opensafemlrm.store import Store

passed: Counter[str] = Counter()
POINTS = ("reply", "verdict", "commit", "image begun", "row", "verdict row", "image written")


def main(point: str, number: int, study_file: Path, path: Path) -> None:
    def pass_by(name: str) -> None:
        passed[name] += 1
        if name == point and passed[name] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    watch_calls(pass_by)
    with Store.open(path, "create") as store:
        store.connection.set_trace_callback(lambda sql: watch_statement(sql, pass_by))
        asyncio.run(evaluate(Plan.of(study.load(study_file)), store))
    sys.stdout.write(json.dumps(passed))


def watch_calls(pass_by: Any) -> None:
    """Wrap what makes replies, verdicts and image files."""
    generate, judge, replace = Simulated.generate, CanaryJudge.judge, Path.replace

    async def generating(*arguments: Any) -> Any:
        response = await generate(*arguments)
        pass_by("reply")  # it came, and is not stored yet
        return response

    async def judging(*arguments: Any) -> Any:
        verdicts = await judge(*arguments)
        pass_by("verdict")
        return verdicts

    def replacing(source: Path, target: Path) -> Path:
        image = source.name.startswith(PARTIAL)
        if image:
            pass_by("image begun")
        moved = replace(source, target)
        if image:
            pass_by("image written")
        return moved

    for owner, name, wrapped in (
        (Simulated, "generate", generating),
        (CanaryJudge, "judge", judging),
        (Path, "replace", replacing),
    ):
        setattr(owner, name, wrapped)


def watch_statement(sql: str, pass_by: Any) -> None:
    """Pass by the writes: SQLite calls before it carries out a statement."""
    if sql.startswith("INSERT INTO generations"):
        pass_by("row")
    elif sql.startswith("INSERT INTO verdicts"):
        pass_by("verdict row")
    elif sql == "COMMIT":
        pass_by("commit")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
