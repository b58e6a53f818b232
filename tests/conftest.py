"""A skip that nobody has explained fails the run, and the longest files come first.

``make test`` runs ``pytest --part base``, ``make test-extras`` runs ``pytest --part extras``. With
``--part`` every skip has to give a reason that ``tests/allowed_skips.toml`` lists for that part;
pytest alone skips as it always does.
"""

from __future__ import annotations

import functools
import os
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import typer.main
import typer.testing
from hypothesis import settings

# How long an example takes says nothing of what is tested, and on a busy machine nothing at all.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")

ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.toml")

LONGEST_FILES = (
    "cluster/test_ray_secrets.py",
    "browser/test_report.py",
    "interop/test_inspect_tasks.py",
    "interop/test_inspect_document.py",
    "browser/test_audit.py",
    "models/test_reply_memory.py",
    "test_docs.py",
    "browser/test_view.py",
    "test_untrusted.py",
    "test_filters.py",
    "test_notebook.py",
    "cli/test_watch.py",
    "report/test_page.py",
    "audit/test_rules.py",
    "view/test_view.py",
    "cluster/test_on_ray.py",
    "report/test_tables_findings.py",
    "test_selection.py",
    "report/test_latex.py",
    "report/test_charts.py",
    "models/test_hf.py",
    "test_secrets.py",
    "test_scaffold.py",
    "cli/test_demo.py",
    "view/test_hostile.py",
    "interop/test_inspect_logs.py",
    "analysis/test_simulated.py",
    "store/test_checksums.py",
    "cli/test_shards.py",
    "analysis/test_columns.py",
    "view/test_findable.py",
    "chaos/test_kill.py",
    "chaos/test_kill_points.py",
    "chaos/test_disk.py",
    "chaos/test_faults.py",
    "cluster/test_driver.py",
    "store/test_holdings.py",
    "cli/test_drift.py",
    "cli/test_run_outages.py",
    "cli/test_budgets.py",
    "cli/test_calibrate.py",
    "models/test_transformers_serve.py",
)
"""Begun first, so that no worker is left with a long file when the others have finished."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--part",
        choices=("base", "extras"),
        help="fail on a skip that tests/allowed_skips.toml does not list for this part",
    )


def pytest_configure(config: pytest.Config) -> None:
    # Building all commands takes 50 ms of CPU: once a worker, not at each command that a test runs.
    # Whoever parses with `typer.main.get_command` has commands of his own: what parses without the
    # group around it leaves a help option behind that knows no -h.
    setattr(typer.testing, "_get_command", functools.cache(typer.main.get_command))  # noqa: B010
    # Tables are as wide as COLUMNS says. Whoever imports readline, as pytest does, sets it for
    # child processes behind os.environ's back, and workers inherit it.
    os.environ.pop("COLUMNS", None)
    os.unsetenv("COLUMNS")
    # Workers of pytest-xdist send their reports to the controller, which counts them all.
    if config.getoption("part") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkipGuard(config.getoption("part")), "skip-guard")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("part"):
        many = Counter(item.path for item in items)
        place = {ALLOWED_SKIPS.parent / name: at for at, name in enumerate(LONGEST_FILES)}
        last = len(place)
        items.sort(key=lambda item: (place.get(item.path, last), -many[item.path], item.path))


class SkipGuard:
    """Counts the reasons of all skips; those that are not listed fail the run."""

    def __init__(self, part: str) -> None:
        entries = tomllib.loads(ALLOWED_SKIPS.read_text(encoding="utf-8"))["skip"]
        self.allowed = tuple(e["reason"] for e in entries if part in e["parts"])
        self.reasons: Counter[str] = Counter()

    @property
    def unexplained(self) -> list[str]:
        return [reason for reason in self.reasons if not reason.startswith(self.allowed)]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._count(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._count(report)

    def _count(self, report: Any) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            _, _, reason = report.longrepr
            self.reasons[reason.removeprefix("Skipped: ")] += 1

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Any:
        if self.unexplained and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return (yield)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for reason, count in sorted(self.reasons.items()):
            mark = "NOT ALLOWED" if reason in self.unexplained else "allowed"
            terminalreporter.write_line(f"skipped {count} ({mark}): {reason}")
        if self.unexplained:
            terminalreporter.write_line(
                "A skip that is not allowed fails this run: make the test run here, or list its "
                "reason in tests/allowed_skips.toml and say why it may be skipped.",
                red=True,
            )
