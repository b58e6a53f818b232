"""Jailbreak methods as measuring instruments: ``built_in.toml`` says which is in which module."""
