"""The one loop that brings a store up to date with a study."""

from opensafemlrm.engine.plan import CellPlan, Plan, Survey, Tally
from opensafemlrm.engine.run import run

__all__ = ["CellPlan", "Plan", "Survey", "Tally", "run"]
