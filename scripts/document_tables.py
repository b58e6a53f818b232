"""Write docs/tables.md: what every column of every table holds.

    python scripts/document_tables.py

The texts are those of the analyses (``COLUMNS``); a test holds the document to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from opensafemlrm.analysis import (
    agreement,
    asr,
    blindspots,
    calibration,
    changes,
    comprehension,
    corrected,
    correction,
    cost,
    coverage,
    defense,
    drift,
    grouped,
    label_plan,
    overrefusal,
    probes,
    tax,
)
from opensafemlrm.store import stops

HEAD = """\
# Tables

`safemlrm table NAME STORE` prints a table; `--format csv` and `--format json` give you every
column, unrounded: rates are fractions from 0 to 1, what was not measured is empty or null. In
Python the same tables are polars frames (`opensafemlrm.open(STORE).asr()` and so on).

CSV and JSON leave out `judge` and `sampling` where all rows have the same, `simulated` where no
model is, and `cell` where the names tell all rows apart.

Written by `python scripts/document_tables.py` from `src/opensafemlrm/analysis/`.
"""
TABLES: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    ("asr", "Attack success rates.", asr.COLUMNS),
    ("tax", "The reasoning tax: reasoning models beside their bases.", tax.COLUMNS),
    (
        "blindspots",
        "Scenarios against the base (`blindspots`) and against the model's other scenarios "
        "(`rest`): each table has its own of these columns.",
        blindspots.COLUMNS,
    ),
    (
        "blindspots (consistency)",
        "How alike rankings of the scenarios are, where there are several.",
        blindspots.CONSISTENCY_COLUMNS,
    ),
    (
        "blindspots --group-models … --group-bases …",
        "Several models over several bases.",
        grouped.COLUMNS,
    ),
    ("correction", "Unsafe reasoning that ends in a safe answer.", correction.COLUMNS),
    ("overrefusal", "Benign items that were refused.", overrefusal.COLUMNS),
    (
        "overrefusal (balance)",
        "Safety beside helpfulness, where a dataset has harmful and benign items.",
        overrefusal.BALANCE_COLUMNS,
    ),
    ("defense", "What defenses change, and what they cost.", defense.COLUMNS),
    ("calibrated", "Rates corrected by people's labels.", corrected.COLUMNS),
    ("calibrated (calibrated_tax)", "The tax corrected by them.", corrected.TAX_COLUMNS),
    (
        "comprehension",
        "ASR over the replies that understood the request.",
        comprehension.COLUMNS,
    ),
    (
        "comprehension (comprehension_tax)",
        "The tax in the parts of comprehension and willingness.",
        comprehension.TAX_COLUMNS,
    ),
    ("cost", "Requests, tokens and time.", cost.COLUMNS),
    ("coverage (replies)", "How every reply ended.", coverage.REPLY_COLUMNS),
    ("coverage (verdicts)", "How every verdict ended.", coverage.VERDICT_COLUMNS),
    (
        "coverage (not_applicable)",
        "What was not sent, because an attack or a defense could not be applied.",
        coverage.NOT_APPLICABLE_COLUMNS,
    ),
    ("diff (diff_cells)", "Cells of two results, or of two studies.", changes.CELL_COLUMNS),
    ("diff (diff_figures)", "What changed of their rates, item by item.", changes.FIGURE_COLUMNS),
    ("diff (diff_verdicts)", "Verdicts that differ.", changes.FLIP_COLUMNS),
    ("stopping", "Where a rule of the study ended a scenario.", stops.COLUMNS),
    (
        "drift",
        "`safemlrm drift`, `table drift`: from which version of a series on replies are worse, and "
        "what was forgotten.",
        drift.COLUMNS,
    ),
    ("drift (trend)", "The versions of a series in their order.", drift.TREND_COLUMNS),
    ("scores", "Score distributions: a file of the report, no command.", coverage.SCORE_COLUMNS),
    (
        "calibrate (confusion)",
        "`safemlrm calibrate`: the judge's labels against people's.",
        calibration.CONFUSION_COLUMNS,
    ),
    ("calibrate (measures)", "Measures of the judge.", calibration.MEASURE_COLUMNS),
    ("calibrate (sweep)", "The judge at other thresholds.", calibration.SWEEP_COLUMNS),
    (
        "calibrate (reliability)",
        "What people say of the texts that got each score.",
        calibration.RELIABILITY_COLUMNS,
    ),
    ("calibrate --retest (retest)", "The same texts, judged twice.", calibration.RETEST_COLUMNS),
    ("calibrate --probe (probes)", "The same replies, changed in form.", probes.COLUMNS),
    (
        "label --plan (plan)",
        "`safemlrm label --plan`: how many labels each corrected figure needs.",
        label_plan.COLUMNS,
    ),
    (
        "judges compare (raters)",
        "`safemlrm judges compare`: how far judges, or people, agree.",
        agreement.PAIR_COLUMNS,
    ),
    ("judges compare (panels)", "Judges that are made of judges.", agreement.PANEL_COLUMNS),
)


def text() -> str:
    """Return the document."""
    sections = [HEAD]
    for name, about, columns in TABLES:
        rows = [f"| `{column}` | {meaning} |" for column, meaning in columns.items()]
        lines = [f"## {name}", "", about, "", "| column | what it holds |", "|:--|:--|", *rows]
        sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)


if __name__ == "__main__":
    (Path(__file__).parents[1] / "docs" / "tables.md").write_text(text(), encoding="utf-8")
