"""Defenses at inference time, each a wrapper from model to model (``built_in.toml``)."""
