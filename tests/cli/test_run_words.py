"""What ``safemlrm run`` says at its end: replies and verdicts apart, the same after Ctrl-C."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.cli.test_run_ends import LLM_JUDGE, Reply, fine, run, serving, write_study

REPLIES = re.compile(
    r"replies: (\d+) asked for; (\d+) were in the store, (\d+) made now.*, (\d+) failed.*, "
    r"(\d+) left"
)
VERDICTS = re.compile(r"judged: (\d+) replies before, (\d+) now, (\d+) left to judge")


def numbers(pattern: re.Pattern[str], text: str) -> tuple[int, ...]:
    found = pattern.search(text)
    assert found is not None, text
    return tuple(map(int, found.groups()))


def test_another_judge_reads_what_is_there_and_says_so(tmp_path: Path) -> None:
    """800 stored replies, another judge: "0 were in the store; now 800 ok" read as paid twice."""
    with serving(fine) as (url, asked):
        first = run(write_study(tmp_path, url, "a"))
        assert numbers(REPLIES, first.stderr) == (40, 0, 40, 0, 0)
        assert numbers(VERDICTS, first.stderr) == (0, 40, 0)
        other = run(write_study(tmp_path, url, "a", LLM_JUDGE))
        assert numbers(REPLIES, other.stderr) == (40, 40, 0, 0, 0)
        assert numbers(VERDICTS, other.stderr) == (0, 40, 0)
        assert asked["a"] == 40
        again = run(write_study(tmp_path, url, "a", LLM_JUDGE))
        assert numbers(VERDICTS, again.stderr) == (40, 0, 0)


def test_failures_are_counted_apart_from_what_is_left(tmp_path: Path) -> None:
    def reply(model: str, number: int) -> Reply:
        return (422, "not with this item", "") if number in (3, 7) else fine(model, number)

    with serving(reply) as (url, _):
        first = run(write_study(tmp_path, url, "a"))
        assert numbers(REPLIES, first.stderr) == (40, 0, 38, 2, 0)
        assert numbers(VERDICTS, first.stderr) == (0, 38, 0)


def test_no_cost_is_said_where_no_price_is_known(tmp_path: Path) -> None:
    with serving(fine) as (url, _):
        assert "dollars" not in run(write_study(tmp_path, url, "a")).stderr
        dry = run(write_study(tmp_path, url, "ab"), "--dry-run")
        assert "0.00 US dollars" not in dry.output


def test_an_interrupted_run_and_the_next_one_add_up(tmp_path: Path) -> None:
    """An interrupted run looked complete, and the next one said that half of it was new."""
    hold = threading.Event()

    def slow(model: str, number: int) -> Reply:
        if model == "a" and number > 15:
            hold.wait(60)
        return fine(model, number)

    with serving(slow) as (url, asked):
        study = write_study(tmp_path, url, "a", LLM_JUDGE)
        command = [sys.executable, "-m", "opensafemlrm", "run", str(study)]
        command += ["--store", str(tmp_path / "store")]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            deadline = time.monotonic() + 60
            while (asked["a"] < 16 or asked["judge"] < 15) and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(0.3)  # what was answered comes in
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        hold.set()
    assert process.returncode == 130
    total, had, made, failed, left = numbers(REPLIES, said)
    assert (total, had, failed) == (40, 0, 0)
    assert made == 15
    assert left == 25
    assert "interrupted: everything that came is kept; run the same command to go on" in said
    assert "next: " not in said
    with serving(fine) as (url, asked):
        resumed = run(write_study(tmp_path, url, "a", LLM_JUDGE))
    assert numbers(REPLIES, resumed.stderr) == (40, made, left, 0, 0)
    judged = numbers(VERDICTS, said)[1]
    assert numbers(VERDICTS, resumed.stderr) == (judged, 40 - judged, 0)
    assert asked == {"a": left, "judge": 40 - judged}


def test_no_count_is_negative_where_the_judge_is_turned_down(tmp_path: Path) -> None:
    """It said "-3 replies had them, 3 were judged now, 3 are left to judge"."""

    def reply(model: str, number: int) -> Reply:
        return (400, '{"error": "x"}', "") if model == "judge" else fine(model, number)

    with serving(reply) as (url, _):
        study = write_study(tmp_path, url, "a", LLM_JUDGE)
        study.write_text(study.read_text().replace("limit: 40", "limit: 3"))
        ended = run(study)
    assert ended.exit_code == 2
    assert numbers(VERDICTS, ended.stderr) == (0, 0, 3)
