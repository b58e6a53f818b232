"""Model organisms: tiny models trained in the open on harmless data.

The recipe, the gates and the results stand in ``docs/organism.md``. What runs the shipped models,
:mod:`opensafemlrm.models.demo.organism`, needs nothing of this package.
"""
