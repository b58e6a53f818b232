"""``vllm serve`` for a study: started, watched, and gone afterwards, however the study ends."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from opensafemlrm.errors import EndpointDownError, ModelError, OptionError
from opensafemlrm.models.hosted import _supervisor
from opensafemlrm.models.hosted.vllm import VLLM
from opensafemlrm.registry import ComponentKind, build
from opensafemlrm.types import ResponseStatus, Sampling
from tests.models.scripted import HELLO

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="vLLM does not run on Windows")


@pytest.fixture
def pids(tmp_path: Path, monkeypatch) -> Path:
    """Put a fake ``vllm`` on PATH; return the folder in which its processes note their ids."""
    folder = tmp_path / "pids"
    folder.mkdir()
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    script = Path(__file__).with_name("fake_vllm.py")
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{script}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_VLLM_PIDS", str(folder))
    return folder


@pytest.fixture
async def serve(pids, tmp_path, clock) -> AsyncIterator[Callable[..., VLLM]]:
    made: list[VLLM] = []

    def make(**options: object) -> VLLM:
        given = {"serve": True, "serve_log": tmp_path / "vllm.log", "serve_timeout": 30, **options}
        model: VLLM = build(ComponentKind.MODEL, "vllm/org/name", given)
        model._state.clock = clock
        made.append(model)
        return model

    yield make
    for model in made:
        await model.aclose()


def alive(pids: Path) -> list[int]:
    """The processes of the fake that still run (a zombie, which nobody reaps here, does not)."""
    found = []
    for path in pids.iterdir():
        if path.name.isdigit():
            try:
                state = Path(f"/proc/{path.name}/stat").read_text().rpartition(")")[2].split()[0]
            except FileNotFoundError:
                continue
            if state != "Z":
                found.append(int(path.name))
    return found


def all_gone(pids: Path, within: float = 15) -> bool:
    deadline = time.monotonic() + within
    while alive(pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


async def test_it_is_started_once_asked_and_ended(serve, pids, tmp_path):
    model = serve(serve_args=["--max-model-len=100"], revision="abc")
    responses = await asyncio.gather(*(model.generate(HELLO, Sampling()) for _ in range(3)))
    assert {response.status for response in responses} == {ResponseStatus.OK}
    assert len(alive(pids)) == 2
    printed = (tmp_path / "vllm.log").read_text()
    assert "serve org/name --revision abc --max-model-len=100 --host 127.0.0.1" in printed
    assert printed.count("fake vllm") == 1
    await model.aclose()
    assert all_gone(pids, within=1)
    await model.aclose()
    assert (await model.generate(HELLO, Sampling())).status is ResponseStatus.OK


@pytest.mark.parametrize(
    ("options", "told", "expected"),
    [
        ({}, 4, 'org/name --limit-mm-per-prompt {"image": 4} --host'),
        ({"images_per_prompt": 7}, None, '--limit-mm-per-prompt {"image": 7} --host'),
        ({}, None, "org/name --host"),
        (
            {"serve_args": ["--limit-mm-per-prompt.image=2"]},
            4,
            "name --limit-mm-per-prompt.image=2",
        ),
    ],
)
async def test_it_makes_room_for_the_images_of_the_study(serve, tmp_path, options, told, expected):
    model = serve(**options)
    model.set_image_limit(told)
    assert (await model.generate(HELLO, Sampling())).status is ResponseStatus.OK
    printed = (tmp_path / "vllm.log").read_text()
    assert expected in printed
    assert printed.count("--limit-mm") == expected.count("--limit-mm")


async def test_a_port_that_was_taken_is_tried_anew(serve, pids, monkeypatch):
    monkeypatch.setenv("FAKE_VLLM", "taken")
    assert (await serve().generate(HELLO, Sampling())).status is ResponseStatus.OK
    assert len(alive(pids)) == 2


async def test_a_server_that_does_not_start_tells_its_last_words(serve, pids, monkeypatch):
    monkeypatch.setenv("FAKE_VLLM", "crash")
    with pytest.raises(ModelError, match=r"ended before it answered \(exit code 1\)") as caught:
        await serve().generate(HELLO, Sampling())
    assert "no GPU was found" in str(caught.value)
    assert all_gone(pids)


async def test_a_server_that_takes_too_long_is_ended(serve, pids, monkeypatch):
    monkeypatch.setenv("FAKE_VLLM", "mute")
    with pytest.raises(ModelError, match=r"did not answer within 0\.2 s"):
        await serve(serve_timeout=0.2).generate(HELLO, Sampling())
    assert all_gone(pids)


async def test_a_crash_in_the_middle_ends_the_run_and_says_why(serve, pids, monkeypatch):
    """The requests in flight are no replies, and nobody waits through their retries."""
    monkeypatch.setenv("FAKE_VLLM", "die")
    model = serve()
    assert (await model.generate(HELLO, Sampling())).status is ResponseStatus.OK
    with pytest.raises(EndpointDownError, match=r"exit code 3") as caught:
        await model.generate(HELLO, Sampling())
    assert "the device was lost" in str(caught.value)
    assert all_gone(pids, within=2), "its worker has to go with it"


async def test_a_server_that_ignores_the_signal_is_killed(serve, pids, monkeypatch, tmp_path):
    impatient = tmp_path / "keeper.py"
    impatient.write_text(
        inspect.getsource(_supervisor).replace(f"= {_supervisor.PATIENCE}", "= 0.2")
    )
    monkeypatch.setattr("opensafemlrm.models.hosted.vllm_process._SUPERVISOR", impatient)
    monkeypatch.setenv("FAKE_VLLM", "stubborn")
    model = serve()
    asking = asyncio.create_task(model.generate(HELLO, Sampling()))
    while not (pids / "asked").exists():  # noqa: ASYNC110 # another process writes it
        await asyncio.sleep(0.02)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await model.aclose()
    assert all_gone(pids, within=1)


STUDY = """\
models: [{model: vllm/org/name, serve: true}]
datasets: [canary]
judge: canary
limit: 2
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_child_is_left_when_a_signal_ends_the_run(pids, tmp_path, monkeypatch, number):
    monkeypatch.setenv("FAKE_VLLM", "slow")
    study = tmp_path / "study.yaml"
    study.write_text(STUDY)
    command = [sys.executable, "-m", "opensafemlrm", "run", study, "--store", tmp_path / "store"]
    run = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while not (pids / "asked").exists():
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        run.send_signal(number)
        run.wait(20)
    finally:
        run.kill()
    assert all_gone(pids)


async def test_no_program_is_said_with_what_to_do(serve, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ModelError, match="no program 'vllm' on PATH; install vLLM"):
        await serve().generate(HELLO, Sampling())


def test_arguments_of_a_server_that_is_not_started_are_refused():
    with pytest.raises(OptionError, match="set serve as well"):
        build(ComponentKind.MODEL, "vllm/m", {"serve_args": ["--x"]})
