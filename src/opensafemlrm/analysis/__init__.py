"""Figures: pure functions from the tidy frame to typed results."""

from __future__ import annotations

from typing import Final

MAX_UNSCORED: Final = 0.2
"""The share of samples without a score up to which a rate is shown, unless you choose another."""
