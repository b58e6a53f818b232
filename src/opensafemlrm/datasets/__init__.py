"""Benchmarks; ``built_in.toml`` says in which module each of them is."""
