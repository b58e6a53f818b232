"""What the tests of `make chaos` injected: counted, and said at the end in one table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

_INJECTED: defaultdict[str, Counter[str]] = defaultdict(Counter)
"""By the test's file."""
_BESIDE = {
    "test_disk.py": "disks full or read-only, files damaged, two runs at once: one a test",
    "test_transport.py": "replies, connections and certificates that are wrong: one a test",
    "test_proxies.py": "proxies of every kind, and settings of them: one a test",
}
"""What is injected test by test, also by tests of other folders that `make chaos` runs."""


@pytest.fixture
def injected(request: pytest.FixtureRequest) -> Counter[str]:
    return _INJECTED[request.path.name]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _INJECTED:
        return
    tests: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                name = Path(report.fspath).name
                tests[name] += report.when == "call"
                seconds[name] += report.duration  # type: ignore[assignment] # of seconds
    for line in _table(tests, seconds):
        terminalreporter.write_line(line)


def _table(tests: Counter[str], seconds: Counter[str]) -> Iterator[str]:
    yield "| part | tests | seconds | injected |"
    yield "|---|---|---|---|"
    for name in sorted(tests):
        what = [f"{count:,} {what}" for what, count in sorted(_INJECTED[name].items())]
        what += [_BESIDE[name]] if name in _BESIDE else []
        yield f"| {name} | {tests[name]} | {seconds[name]:.0f} | {'; '.join(what)} |"
    yield f"| all | {tests.total()} | {seconds.total():.0f} | |"
