"""Figures: pure functions from the tidy frame to typed results."""
