"""What the commands share: where they write, and how they say that something went wrong."""

from __future__ import annotations

import sys

from opensafemlrm.text import for_terminal


def say(message: str = "") -> None:
    """Print a line for the person who is watching; results alone go to standard output."""
    sys.stderr.write(for_terminal(message) + "\n")


def fail(message: str) -> None:
    """Print an error."""
    say(f"error: {message}")
