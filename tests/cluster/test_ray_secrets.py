"""What Ray keeps of a run holds no secret: its files, its tables, its errors, and what came of it.

The places and ways out are those of `tests/test_secrets.py`; here, workers of Ray ask the server
that repeats all it was sent, and a component prints, logs and raises what is secret.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm.components import Model
from opensafemlrm.datasets.canary import Canary
from opensafemlrm.engine.plan import Plan
from opensafemlrm.errors import ClusterError
from opensafemlrm.judges.canary import CanaryJudge
from opensafemlrm.store import Store
from opensafemlrm.study import Study
from opensafemlrm.types import Card, Prompt, Response, Sampling
from tests.cluster.test_on_ray import pytestmark  # noqa: F401 # with Ray, and its warnings aside
from tests.test_secrets import (
    CREDENTIALS,
    KEY,
    Echo,
    found_in,
    found_under,
    planted,  # noqa: F401 # a fixture
    server,  # noqa: F401 # a fixture
    study_at,
)

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Telltale(Model):
    """Tells what it knows wherever it can."""

    name = "telltale"
    card = Card("Telltale", "this test")
    billed = False
    model: str = "m"

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        del prompt, sampling
        sys.stdout.write(f"{secrets_of_worker()}\n")
        sys.stderr.write(f"{secrets_of_worker()}\n")
        logging.getLogger("telltale").warning(secrets_of_worker())
        raise RuntimeError(secrets_of_worker())


@dataclass(frozen=True)
class Unloadable(Telltale):
    """Cannot be had from what was sent of it."""

    def __reduce__(self) -> Any:
        return tell, ()


def secrets_of_worker() -> str:
    names = ("OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY")
    return f"{[os.environ[name] for name in names]}, Bearer {KEY}, {CREDENTIALS}"


def tell() -> None:
    raise RuntimeError(secrets_of_worker())


def start(ray: Any) -> None:
    """Start Ray on this machine. It gives itself 30 seconds, which a busy one may exceed."""
    options = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    for left in (2, 1, 0):
        try:
            ray.init(address="local", num_cpus=2, **options)
        except Exception as error:  # Ray raises no narrower one
            if not left or "timed out during startup" not in str(error):
                raise
            ray.shutdown()
        else:
            return


@pytest.fixture
def folder_of_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where Ray puts its files; its sockets want a short path."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    # The workers load this file; another package of this environment is called tests, too.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield folder
    shutil.rmtree(folder)


def test_no_secret_is_in_what_ray_or_its_workers_write(
    tmp_path: Path,
    folder_of_ray: Path,
    server: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (folder_of_ray / "tmp").mkdir()  # sockets are made there as well
    monkeypatch.setenv("TMPDIR", str(folder_of_ray / "tmp"))
    monkeypatch.setenv("HTTPS_PROXY", CREDENTIALS.removesuffix("/v1"))
    study, store = study_at(tmp_path, server), tmp_path / "store"
    ended = {
        ("run", study, "--store", store, "--ray", "local", "--workers", "2"): 2,  # no score came
        ("report", store, "--with-examples", "--out", tmp_path / "report"): 0,
        ("table", "coverage", store, "--format", "json"): 0,
        ("export", "frame", store, tmp_path / "frame.parquet"): 0,
    }
    said = ""
    for arguments, code in ended.items():
        command = [sys.executable, "-m", "opensafemlrm", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == code, done.stderr
        said += done.stdout + done.stderr
    assert Echo.asked > 40
    assert found_in(said) == []
    assert found_under(tmp_path, study) == {}
    assert (store / "logs/worker-0.log").exists() or (store / "logs/worker-1.log").exists()
    assert any(folder_of_ray.rglob("gcs_server*")), "Ray wrote elsewhere, so nothing was searched"
    assert found_under(folder_of_ray, study) == {}


@pytest.mark.parametrize("model", [Telltale(), Unloadable()], ids=["telltale", "unloadable"])
def test_no_secret_of_a_component_that_tells_is_kept_by_ray(
    tmp_path: Path,
    folder_of_ray: Path,
    planted: None,  # noqa: F811
    model: Model,
) -> None:
    """What a component prints went into Ray's log as it was, and its errors into Ray's tables."""
    import ray
    from ray._private.state import state
    from ray.experimental import internal_kv

    from opensafemlrm.cluster import Cluster, run_on_ray

    plan = Plan.of(Study([model], [Canary()], CanaryJudge(), limit=4))
    start(ray)
    try:
        with Store.open(tmp_path / "store", "create") as store:
            cluster, logs = Cluster("local", 1), tmp_path / "logs"
            with pytest.raises(ClusterError, match=r"RuntimeError: .*\[secret\]") as caught:
                asyncio.run(run_on_ray(plan, store, cluster, logs=logs))
        kept = [internal_kv._internal_kv_get(key) for key in internal_kv._internal_kv_list(b"")]
        tables = [*map(str, state._get_all_task_events()), str(state.actor_table(None))]
    finally:
        ray.shutdown()
    assert found_in(str(caught.value)) == []
    assert found_in(b"".join(data or b"" for data in kept).decode("latin-1")) == []
    assert "Actor.ready" in "".join(tables)
    assert found_in("".join(tables)) == []
    assert found_under(tmp_path, tmp_path) == found_under(folder_of_ray, tmp_path) == {}
    written = "".join(log.read_text() for log in folder_of_ray.rglob("worker-*"))
    assert "[secret]" in written, "nothing was printed, so nothing was searched"
