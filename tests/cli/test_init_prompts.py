"""The questions of ``safemlrm init``, answered at a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import yaml

from tests.cli.test_first_steps import server

__all__ = ["server"]
SECONDS = 60


def at_terminal(path: Path, answers: list[tuple[str, str]]) -> tuple[int, str]:
    """Run init at a terminal of its own; give each answer once its question is there."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "opensafemlrm", "init", str(path)]
    shown, answered, deadline = "", 0, time.monotonic() + SECONDS
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        try:
            while time.monotonic() < deadline:
                if select.select([ours], [], [], 0.2)[0]:
                    try:
                        shown += os.read(ours, 4096).decode()
                    except OSError:  # the other end is closed
                        break
                for question, answer in answers[:1]:
                    if question in shown[answered:]:
                        answered = len(shown)
                        os.write(ours, f"{answer}\n".encode())
                        answers = answers[1:]
        finally:
            os.close(ours)
            process.kill() if time.monotonic() >= deadline else process.wait(SECONDS)
    return process.returncode, shown


def test_bad_answers_are_asked_again_with_what_would_do(tmp_path: Path, server: str) -> None:
    """`localhost:8391` ended in "base_url must look like https://HOST/v1"."""
    path = tmp_path / "study.yaml"
    host = server.removeprefix("http://").removesuffix("/v1")
    code, shown = at_terminal(
        path,
        [
            ("]: ", "2 1"),
            ("]: ", host),
            (f"[{server}]: ", ""),
            ("for a pair give the reasoning model, then its base", "99"),
            ("numbers from 1 to ", "2 1"),
        ],
    )
    assert code == 0, shown
    assert f"press Enter for {server}" in shown
    assert "an address has no blank in it" in shown
    assert "http://2 1" not in shown
    names = re.findall(r"^ +[12]  (\S+)", shown.replace("\r", ""), re.MULTILINE)
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    labels = [f"vllm/{name}" for name in reversed(names[:2])]
    assert [model["model"] for model in written["models"]] == labels
    assert written["pairs"] == [labels]


def test_a_server_that_is_not_there_is_asked_for_again(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    code, shown = at_terminal(
        path,
        [
            ("Address of your server", "http://127.0.0.1:9/v1"),
            ("Check that the server runs", "sim"),
        ],
    )
    assert code == 0, shown
    assert "http://127.0.0.1:9/v1 does not answer" in shown
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["pairs"] != "auto"
