"""The files of an audit, all made of its record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ValidationError

from opensafemlrm.audit.certificate import certificate
from opensafemlrm.audit.cyclonedx import bill_of_materials
from opensafemlrm.audit.every_eval_ever import results_files
from opensafemlrm.audit.junit import junit
from opensafemlrm.audit.record import FORMAT, dumps
from opensafemlrm.errors import ReportError, reason_of
from opensafemlrm.files import make_folder, read_as
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
        record = read_as(path, json.loads)
    except (OSError, ValueError) as error:
        raise ReportError(
            f"{path}: the record of an audit cannot be read: {reason_of(error)}; "
            "`safemlrm audit check STORE` writes one"
        ) from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ReportError(f"{path}: this is no record of an audit that this version can read")
    try:
        _Record.model_validate(record, strict=True)
    except ValidationError as error:
        key = ".".join(str(step) for step in error.errors()[0]["loc"])
        raise ReportError(f"{path}: the record was changed: {key} is not as it was") from error
    return record


class _Policy(BaseModel):
    sha256: str
    text: str


class _Cell(BaseModel):
    cell: str


class _Record(BaseModel):
    """What is read of a record before it is compared."""

    verdict: Literal["pass", "fail", "undecided"]
    why: str
    judge: str | None
    expires: str | None
    studies: list[str]
    policy: _Policy
    cells: list[_Cell]
