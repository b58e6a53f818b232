"""Judges: ``built_in.toml`` says which is in which module."""
