"""What the tests of this folder injected, counted and said at the end."""

from __future__ import annotations

from collections import Counter

import pytest

_INJECTED: Counter[str] = Counter()


@pytest.fixture
def injected() -> Counter[str]:
    return _INJECTED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, count in sorted(_INJECTED.items()):
        terminalreporter.write_line(f"{count:>7,}  {name}")
