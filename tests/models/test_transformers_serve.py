"""A server that this project did not write, asked with text and pictures: ``transformers serve``.

The model is a tiny LLaVA made on the spot, which has learnt nothing: what it writes is noise.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import opensafemlrm
from opensafemlrm.cli import app

pytest.importorskip("torch", reason="torch is not installed")

SCRIPT = Path(__file__).parents[2] / "scripts/make_tiny_llava.py"
MAX_SECONDS = 240
STUDY = """\
models:
  - {{model: vllm/./tiny-llava, base_url: "{url}", alias: tiny-llava, system: {system}}}
datasets: [canary]
attacks: [direct, figstep]
judge: rules
sampling: {{max_tokens: 24, top_p: 0.9}}
limit: 2
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of the tiny model, which is ended with the module."""
    folder = tmp_path_factory.mktemp("serve")
    subprocess.run([sys.executable, str(SCRIPT), "tiny-llava"], cwd=folder, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("transformers")
    command = [program, "serve", "./tiny-llava", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        server = subprocess.Popen(
            list(map(str, command)), cwd=folder, env=environment, stdout=log, stderr=log
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(server, f"{address}/health", folder / "log")
            yield f"{address}/v1"
        finally:
            server.kill()
            server.wait()


def _wait(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    for _ in range(MAX_SECONDS):
        assert server.poll() is None, log.read_text(encoding="utf-8")
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(1)
    raise AssertionError(log.read_text(encoding="utf-8"))


@pytest.mark.parametrize("system", ["system", "user"])
def test_doctor_and_run_with_text_and_pictures(tmp_path: Path, url: str, system: str) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.format(url=url, system=system), encoding="utf-8")
    asked = CliRunner().invoke(app, ["doctor", str(study)], catch_exceptions=False)
    assert asked.exit_code == 0, asked.output
    assert "1 model asked, 0 cannot be used" in asked.output
    ended = CliRunner().invoke(
        app, ["run", str(study), "--store", str(tmp_path / "store")], catch_exceptions=False
    )
    assert ended.exit_code == 0, ended.output
    frame = opensafemlrm.open(tmp_path / "store").frame()
    assert set(frame["status"]) <= {"ok", "truncated"}
    assert set(frame["attack"]) == {"direct", "figstep"}
    assert set(frame["response_model"]) == {"./tiny-llava"}
    assert (frame["input_tokens"] > 0).all()
