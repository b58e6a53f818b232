"""The one loop that brings a store up to date with a study."""

from opensafemlrm.engine.plan import CellPlan, Plan, Survey
from opensafemlrm.engine.run import run
from opensafemlrm.engine.tally import Tally

__all__ = ["CellPlan", "Plan", "Survey", "Tally", "run"]
