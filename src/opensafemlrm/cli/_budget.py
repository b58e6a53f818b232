"""What a command may spend: one budget over all that it asks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import ExitCode, say
from opensafemlrm.errors import BudgetSpentError

ADVICE: Final = "everything that came is kept; run the same command to go on"


def budgeted(
    max_requests: int | None, max_cost: float | None, prices: Path | None = None
) -> Callable[[Any], Any]:
    """Return what puts components under one budget, and gives them the prices of a file.

    Raises OptionError, also later for a model without a price.
    """
    limits = lazy.Limits(max_requests, max_cost)
    changes = [] if prices is None else [lazy.Prices.read(prices).over]
    changes += [lazy.budget.Budget(limits).over] if limits.any else []

    return lambda component: functools.reduce(lambda part, over: over(part), changes, component)


def spent(error: BudgetSpentError) -> typer.Exit:
    """Say that a budget is spent, and return how the command ends."""
    say(f"{error}: {ADVICE}")
    return typer.Exit(ExitCode.BUDGET_SPENT)
