"""Reading what a page is made of from a store: all of it, or a selection."""

from __future__ import annotations

import json

import polars as pl

from opensafemlrm import frame as frames
from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.analysis.coverage import not_applicable
from opensafemlrm.models.demo.organism import Organism
from opensafemlrm.report.page.findings import Findings
from opensafemlrm.selection import EVERYTHING, Selection
from opensafemlrm.store.answers import correct_answers
from opensafemlrm.store.named import read_table
from opensafemlrm.store.ratings import people_labels
from opensafemlrm.store.requests import requests
from opensafemlrm.store.series import series
from opensafemlrm.store.source import Source
from opensafemlrm.store.stops import stops


def read_findings(
    source: Source, max_unscored: float = MAX_UNSCORED, selection: Selection = EVERYTHING
) -> Findings:
    """Read what a page is made of.

    Raises StoreError where the store cannot be read, UnknownNameError where it has no component of
    a name in ``selection``.
    """
    frame, pairs = frames.read(source), frames.pairs(source)
    chosen = selection.of_frame(frame, pairs)
    return Findings(
        chosen.rows(frame),
        pairs,
        not_applicable(chosen.rows(frames.not_applicable(source))),
        chosen.rows(frames.calibrations(source)),
        people_labels(source),
        correct_answers(source),
        [(model, form) for model, form in frames.formats(source) if chosen.has("model", model)],
        max_unscored,
        chosen.of_requests(requests(source)),
        chosen.rows(stops(source)),
        chosen.rows(series(source)),
        chosen,
        _organisms(source, frame),
    )


def _organisms(source: Source, frame: pl.DataFrame) -> frozenset[str]:
    """Return which models of the tidy table are organisms."""
    components = read_table(source, "components", id="key", kind="kind", identity="identity")
    keys = [
        key.hex().upper()
        for key, identity in components.filter(kind="model").select("id", "identity").iter_rows()
        if json.loads(identity).get("name") == Organism.name
    ]
    models = frame.filter(pl.col("model_key").cast(pl.String).is_in(keys))["model"]
    return frozenset(models.cast(pl.String).unique())
