"""Ray is an extra: without it one line says so, and nothing else ever loads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.cluster.local import study_text

HIDDEN = "import sys; sys.modules['ray'] = None; from opensafemlrm.cli import main; main()"


def command(*arguments: str, hidden: bool = True) -> subprocess.CompletedProcess[str]:
    start = ["-c", HIDDEN] if hidden else ["-m", "opensafemlrm"]
    return subprocess.run(
        [sys.executable, *start, *arguments], capture_output=True, text=True, check=False
    )


def test_without_ray_one_line_says_how_to_install_it(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(study_text(4))
    said = command("run", str(study), "--store", str(tmp_path / "store"), "--ray", "local")
    assert said.returncode == 2
    assert said.stderr.splitlines() == [
        "error: running on a cluster (Ray) needs an extra; in your clone: pip install '.[ray]'"
    ]
    assert not (tmp_path / "store").exists()


def test_neither_the_package_nor_a_run_in_one_process_loads_ray(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(study_text(4))
    code = (
        "import sys, opensafemlrm, opensafemlrm.cluster\n"
        f"sys.argv = ['safemlrm', 'run', {str(study)!r}, '--store', {str(tmp_path / 's')!r}]\n"
        "from opensafemlrm.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"


def test_a_run_says_where_its_results_are_to_go(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(study_text(4))
    for arguments in ((), ("--parquet-out", str(tmp_path / "sink"))):
        said = command("run", str(study), *arguments, hidden=False)
        assert said.returncode == 2
        assert "--ray" in said.stderr
