"""Safety evaluation of multi-modal large reasoning models."""
