"""The files of an audit, all made of its record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from opensafemlrm.audit.certificate import certificate
from opensafemlrm.audit.cyclonedx import bill_of_materials
from opensafemlrm.audit.every_eval_ever import results_files
from opensafemlrm.audit.junit import junit
from opensafemlrm.audit.record import FORMAT, dumps
from opensafemlrm.errors import ReportError, reason_of
from opensafemlrm.files import make_folder
from opensafemlrm.report.page.write import write_files

RECORD: Final = "audit.json"
PAGE: Final = "certificate.html"


def write(record: Mapping[str, Any], out: Path) -> Path:
    """Write certificate, record, JUnit, Every Eval Ever and CycloneDX to a folder; return the page.

    Raises ReportError where they cannot be written.
    """
    files: dict[str, bytes | str] = {
        "junit.xml": junit(record),
        "cyclonedx.json": bill_of_materials(record),
        **{f"every_eval_ever/{name}": text for name, text in results_files(record)},
        PAGE: certificate(record),
        # Last: a record that is there has all its files.
        RECORD: dumps(record),
    }
    try:
        for folder in {(out / name).parent for name in files}:
            make_folder(folder)
        write_files(out, files)
    except OSError as error:
        raise ReportError(f"{out}: the audit cannot be written: {reason_of(error)}") from error
    return out / PAGE


def load(path: Path) -> dict[str, Any]:
    """Read the record of an audit. Raises ReportError."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReportError(
            f"{path}: the record of an audit cannot be read: {reason_of(error)}; "
            "`safemlrm audit check STORE` writes one"
        ) from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ReportError(f"{path}: this is no record of an audit that this version can read")
    return record
