"""Benchmarks: one file each, plus one row in the registry."""
