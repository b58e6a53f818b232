"""The store: SQLite and a folder of images, keyed by content.

A *generation* is keyed by its cell (model with revision and sampling, defense, attack with
parameters and version, dataset), its item's content and the repeat; a *verdict* by judge, role,
question and text. Nothing is ever overwritten by something else with the same key, so resuming,
sharing between studies and changing the judge are one operation: making what is missing.
"""

from opensafemlrm.store.connecting import DATABASE
from opensafemlrm.store.database import Cell, Store
from opensafemlrm.store.known import GenerationState
from opensafemlrm.store.records import SampleKey, generation_key

__all__ = [
    "DATABASE",
    "Cell",
    "GenerationState",
    "SampleKey",
    "Store",
    "generation_key",
]
