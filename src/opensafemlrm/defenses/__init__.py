"""Defenses at inference time, each a wrapper from model to model: one file each, plus one row."""
