"""What commands use of the package and of slow libraries, each loaded when it is first used.

So ``--help`` answers at once, and no function begins with imports. Write ``lazy.Table`` for what
the block below imports; type checkers read it, and at run time each name is looked up in it.
"""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    import sqlite3

    import polars as pl
    import yaml

    from opensafemlrm import (
        api,
        derivation,
        engine,
        frame,
        reasoning,
        registry,
        results,
        scaffold,
        strict_yaml,
        study,
        text_file,
        watch,
    )
    from opensafemlrm.analysis import calibration, changes, probes
    from opensafemlrm.analysis.agreement import judge_pairs, panels, rater_pairs
    from opensafemlrm.analysis.alarms import sent_otherwise
    from opensafemlrm.analysis.asr import asr
    from opensafemlrm.analysis.blindspots import consistency
    from opensafemlrm.analysis.label_plan import label_plan, to_label
    from opensafemlrm.analysis.power import power_note
    from opensafemlrm.analysis.tax import tax
    from opensafemlrm.attacks.edits import Edit
    from opensafemlrm.audit import files as audit_files
    from opensafemlrm.audit import policy as audit_policy
    from opensafemlrm.audit import record as audit_record
    from opensafemlrm.audit.decide import Outcome
    from opensafemlrm.audit.scope import check_names
    from opensafemlrm.audit.tables import tables as audit_tables
    from opensafemlrm.built_in import COMPOSED, ComponentKind, built_in, classes
    from opensafemlrm.cli import _doctor as doctor
    from opensafemlrm.cli._contact_sheet import sheet as contact_sheet
    from opensafemlrm.cluster import Cluster
    from opensafemlrm.components import Dataset, Defense, Judge, Search, models_in
    from opensafemlrm.datasets import hub, taxonomy
    from opensafemlrm.datasets.audit import Audit as DatasetAudit
    from opensafemlrm.datasets.audit import audit as audit_dataset
    from opensafemlrm.datasets.audit import near_duplicates
    from opensafemlrm.datasets.guess import guess as guess_mapping
    from opensafemlrm.datasets.source import HubDataset
    from opensafemlrm.engine import CellPlan, Plan, Standing, Tally
    from opensafemlrm.engine.labelled import LabelledText, judge_texts
    from opensafemlrm.engine.stored import Judged, judge_replies
    from opensafemlrm.export import write_frame
    from opensafemlrm.faults import fault_of
    from opensafemlrm.files import make_folder, read_as, write_atomic
    from opensafemlrm.interop import label_exchange
    from opensafemlrm.interop.every_eval_ever import export_results
    from opensafemlrm.interop.hub_dataset import export_dataset
    from opensafemlrm.interop.opensafemlrm import import_results, results_at
    from opensafemlrm.interop.replies_in import check_replies, put_replies
    from opensafemlrm.interop.reply_files import replies_in_files
    from opensafemlrm.interop.reply_mapping import read_mapping
    from opensafemlrm.judges.panel import Cascade, Panel, members_in
    from opensafemlrm.models import budget, catalog
    from opensafemlrm.models.budget import Limits
    from opensafemlrm.models.demo import server as demo_server
    from opensafemlrm.models.hosted.listing import served_models
    from opensafemlrm.models.prices import Prices
    from opensafemlrm.report import Column, Form, Table, WhenConstant, outcomes, rates, render_all
    from opensafemlrm.report import labels as label_tables
    from opensafemlrm.report.blindspots import GROUPED as GROUPED_BLINDSPOTS
    from opensafemlrm.report.blindspots import blindspot_tables
    from opensafemlrm.report.changes import FIGURES as CHANGED_FIGURES
    from opensafemlrm.report.changes import change_tables
    from opensafemlrm.report.citations import citations, data_licence
    from opensafemlrm.report.drift import drift_tables
    from opensafemlrm.report.fitting import fitted
    from opensafemlrm.report.notes import finished, measured_notes
    from opensafemlrm.report.plain import as_json, as_lines
    from opensafemlrm.results import Results
    from opensafemlrm.scaffold import study_schema
    from opensafemlrm.store import Store, maintenance
    from opensafemlrm.store import labels as stored_labels
    from opensafemlrm.store.checking import Finding as StoreFinding
    from opensafemlrm.store.checking import check as check_store
    from opensafemlrm.store.connecting import DATABASE
    from opensafemlrm.store.database import lock_to_write
    from opensafemlrm.store.known import failure_codes
    from opensafemlrm.store.merge import merge as merge_stores
    from opensafemlrm.store.named import named_cells, sampling_text
    from opensafemlrm.store.ratings import people_labels, ratings
    from opensafemlrm.store.schema import VERSION as SCHEMA_VERSION
    from opensafemlrm.store.sink import Sink, is_sink
    from opensafemlrm.store.source import Source, open_source
    from opensafemlrm.study import Study
    from opensafemlrm.study_file import SpecError
    from opensafemlrm.subset import Subset
    from opensafemlrm.view import scales
    from opensafemlrm.view.browse import Browser
    from opensafemlrm.view.filters import VERDICTS, Filters
    from opensafemlrm.view.index import Index
    from opensafemlrm.view.pages import Pages
    from opensafemlrm.view.sample import Sample, images_of, read_sample
    from opensafemlrm.view.server import serve as serve_pages
    from opensafemlrm.watch import probe
    from opensafemlrm.watch import state as watch_state

else:

    def __getattr__(name: str) -> Any:
        """Return what the block above imports under a name."""
        if name not in (known := _imports()):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, attribute = known[name]
        loaded = importlib.import_module(module)
        if attribute and not hasattr(loaded, attribute):
            return importlib.import_module(f"{module}.{attribute}")
        return getattr(loaded, attribute) if attribute else loaded


@cache
def _imports() -> dict[str, tuple[str, str]]:
    """Return by its name what the block imports: a module, and which of its names, or none."""
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {
        alias.asname or alias.name: (node.module or "", alias.name)
        if isinstance(node, ast.ImportFrom)
        else (alias.name, "")
        for node in nodes
        for alias in node.names
    }
