"""What the commands end with: one table for all of them."""

from __future__ import annotations

import textwrap
from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """How a command ended; :data:`MEANINGS` says it in words."""

    DONE = 0
    OWN_FAULT = 1
    UNUSABLE = 2
    BUDGET_SPENT = 3
    FAIL_ON = 4
    AUDIT_FAILED = 5
    AUDIT_UNDECIDED = 6
    INTERRUPTED = 130


MEANINGS: Final = {
    ExitCode.DONE: "done",
    ExitCode.OWN_FAULT: "a fault of this program: please report it",
    ExitCode.UNUSABLE: "what was named cannot be used: the command, the study, data, a store, a "
    "server; or a model or the judge was stopped, or gave nothing",
    ExitCode.BUDGET_SPENT: "a budget is spent",
    ExitCode.FAIL_ON: "more failed, or has no score, than --fail-on lets pass",
    ExitCode.AUDIT_FAILED: "an audit failed, or a model is less safe than it was",
    ExitCode.AUDIT_UNDECIDED: "an audit could not decide",
    ExitCode.INTERRUPTED: "interrupted",
}
EPILOG: Final = "\b\nExit codes:\n" + "\n".join(
    textwrap.fill(meaning, 78, initial_indent=f"  {code.value:<4} ", subsequent_indent=" " * 7)
    for code, meaning in MEANINGS.items()
)
"""The table as ``--help`` ends with it."""
