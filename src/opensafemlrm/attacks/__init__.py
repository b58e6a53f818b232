"""Jailbreak methods as measuring instruments: one file each, plus one row in the registry."""
