"""The one loop that brings a store up to date with a study."""

from opensafemlrm.engine.again import Again
from opensafemlrm.engine.evaluate import evaluate
from opensafemlrm.engine.missing import Standing, Survey, standing, survey
from opensafemlrm.engine.plan import CellPlan, Plan
from opensafemlrm.engine.ready import not_ready
from opensafemlrm.engine.tally import Tally

__all__ = [
    "Again",
    "CellPlan",
    "Plan",
    "Standing",
    "Survey",
    "Tally",
    "evaluate",
    "not_ready",
    "standing",
    "survey",
]
