"""What of a run had to be stopped, and why: a model, the judge, or all of it by its budget.

Nothing here cancels anybody. Whatever is stopped is given no more samples; those that are under way
go on to their end, so that what was paid for is in the store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from opensafemlrm.errors import (
    BudgetSpentError,
    JudgeError,
    JudgeStoppedError,
    MissingExtraError,
    ModelError,
    SafeMLRMError,
    StoppedError,
)

UNUSABLE: Final = (ModelError, JudgeError, MissingExtraError)
"""Errors that say that a model, a judge or what a defense or an attack asks is of no use."""


@dataclass(slots=True)
class Stops:
    """The models of a run that were stopped, and what ended it for all of them."""

    models: dict[str, SafeMLRMError] = field(default_factory=dict)
    """By label."""
    judge: JudgeStoppedError | None = None
    budget: BudgetSpentError | None = None

    @property
    def ends_run(self) -> bool:
        """Whether no model is to be asked any more."""
        return self.judge is not None or self.budget is not None

    def note(self, error: SafeMLRMError, model: str) -> None:
        """Note what ended a sample of ``model``; raise it where it is nobody's to be stopped."""
        if isinstance(error, BudgetSpentError):
            self.budget = self.budget or error
        elif isinstance(error, JudgeStoppedError):
            self.judge = self.judge or error
        elif isinstance(error, UNUSABLE):
            self.models.setdefault(model, error)
        else:
            raise error

    def raise_error(self) -> None:
        """Raise StoppedError for models and the judge, BudgetSpentError for a budget alone."""
        if self.models or self.judge is not None:
            raise StoppedError(self.models, self.judge, self.budget)
        if self.budget is not None:
            raise self.budget
