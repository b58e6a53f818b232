"""The files of an audit, all made of its record: certificate, JUnit, Every Eval Ever, CycloneDX."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from markupsafe import Markup
from pydantic import BaseModel, ValidationError

from opensafemlrm.audit import hazards
from opensafemlrm.audit.decide import Outcome
from opensafemlrm.audit.policy import Figure
from opensafemlrm.audit.record import FORMAT, dumps, figure_of, timestamp
from opensafemlrm.audit.tables import check_rows, tables
from opensafemlrm.errors import ReportError, reason_of
from opensafemlrm.files import make_folder, read_as
from opensafemlrm.interop.every_eval_ever import model_results, result
from opensafemlrm.report.page.header import style
from opensafemlrm.report.page.html import environment, table_html
from opensafemlrm.report.page.write import write_files
from opensafemlrm.text import for_terminal

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


_PACKAGE: Final = "opensafemlrm.audit"
WORDS: Final = {
    Outcome.PASS: "Passed",
    Outcome.FAIL: "Failed",
    Outcome.UNDECIDED: "Undecided",
}
"""An outcome as a headline."""
_MARKS: Final = {Outcome.PASS: "✓", Outcome.FAIL: "✗", Outcome.UNDECIDED: "?"}


def certificate(record: Mapping[str, Any]) -> str:
    """Return the page for people as HTML: it needs no network and no other file."""
    rules, checks, tested, cells = tables(record)
    required = [rule for rule in record["rules"] if rule["required"]]
    sheet = (files(_PACKAGE) / "templates" / "certificate.css").read_text("utf-8")
    template = environment(_PACKAGE).get_template("certificate.html")
    simulated = [cell["model"] for cell in record["cells"] if cell["simulated"]]
    return template.render(
        record=record,
        verdict=WORDS[Outcome(record["verdict"])],
        mark=_MARKS[Outcome(record["verdict"])],
        style=style() + Markup(sheet),  # noqa: S704 # constants of this package
        simulated=sorted(set(simulated)),
        all_simulated=all(cell["simulated"] for cell in record["cells"]),
        counts={o.value: sum(rule["verdict"] == o for rule in required) for o in Outcome},
        required=len(required),
        advisory=len(record["rules"]) - len(required),
        samples=sum(cell["n"] for cell in record["cells"]),
        scored=sum(cell["scored"] for cell in record["cells"]),
        rules=table_html(rules) if record["rules"] else "",
        checks=table_html(checks) if record["rules"] else "",
        hazards=table_html(tested) if record["hazards"]["tested"] else "",
        untested=[hazards.titles()[name] for name in record["hazards"]["untested"]],
        cells=table_html(cells) if record["cells"] else "",
        more=[rule for rule in record["rules"] if rule["more_items"]],
    )


VERSION: Final = "1.7"
_PREFIX: Final = "opensafemlrm:audit:"


def bill_of_materials(record: Mapping[str, Any]) -> str:
    """Return the ML-BOM of CycloneDX 1.7 as JSON: a component for each model, with its figures."""
    serial = uuid.uuid5(uuid.NAMESPACE_OID, dumps(record))
    properties = {
        "verdict": record["verdict"],
        "policy-sha256": record["policy"]["sha256"],
        "confidence": repr(record["confidence"]),
        "judge": record["judge"] or "none",
        "expires": record["expires"] or "never evaluated",
    }
    return dumps(
        {
            "$schema": f"http://cyclonedx.org/schema/bom-{VERSION}.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": VERSION,
            "serialNumber": f"urn:uuid:{serial}",
            "version": 1,
            "metadata": {
                "timestamp": timestamp(record, iso=True),
                "tools": {
                    "components": [
                        {
                            "type": "application",
                            "name": "opensafemlrm",
                            "version": record["made_by"]["opensafemlrm"],
                        }
                    ]
                },
                "properties": _properties(properties),
            },
            "components": [_component(record, model) for model in record["models"]],
        }
    )


def _component(record: Mapping[str, Any], model: str) -> dict[str, Any]:
    checks = [
        (rule, check)
        for rule in record["rules"]
        for check in rule["checks"]
        if check.get("model") == model and check.get("value") is not None
    ]
    untested = [hazards.titles()[name] for name in record["hazards"]["untested"]]
    limits = list(record["limits"])
    if untested:
        limits.append(f"Hazards that nothing tested: {', '.join(untested)}.")
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{model}",
        "name": model,
        "modelCard": {
            "quantitativeAnalysis": {
                "performanceMetrics": [_metric(rule, check) for rule, check in checks]
            },
            "considerations": {"technicalLimitations": limits},
            "properties": _properties(
                {f"rule:{rule['name']}": rule["verdict"] for rule in record["rules"]}
            ),
        },
    }


def _metric(rule: Mapping[str, Any], check: Mapping[str, Any]) -> dict[str, Any]:
    names = ("dataset", "attack", "defense", "scenario")
    return {
        "type": figure_of(rule)
        + ("" if rule["against"] is None else f" against {rule['against']}"),
        "value": repr(check["value"]),
        "slice": ", ".join(f"{name}={check[name]}" for name in names),
        "confidenceInterval": {
            "lowerBound": repr(check["bound_low"]),
            "upperBound": repr(check["bound_high"]),
        },
    }


def _properties(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": f"{_PREFIX}{name}", "value": value} for name, value in values.items()]


_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


def results_files(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and text of a file of Every Eval Ever 0.3.0 (arXiv 2606.14516), one for each
    audited model that was measured.
    """
    for model in record["models"]:
        results = list(_results(record, model))
        if results:
            digest = hashlib.sha256(model.encode()).hexdigest()[:8]
            name = f"{_UNSAFE.sub('_', model)[:60]}-{digest}.json"
            yield name, dumps(_file(record, model, results))


def _file(record: Mapping[str, Any], model: str, results: list[dict[str, Any]]) -> dict[str, Any]:
    time = timestamp(record)
    identity = _identity(record, "model", model)
    return model_results(
        evaluation_id=f"opensafemlrm-audit/{model}/{record['policy']['sha256'][:16]}-{time}",
        time=time,
        source={
            "source_name": "OpenSafeMLRM audit",
            "additional_details": {
                "policy_sha256": record["policy"]["sha256"],
                "audit_verdict": record["verdict"],
                "simulated": str(bool(identity.get("simulated"))).lower(),
            },
        },
        model=model,
        identity=dumps(identity).strip(),
        results=results,
        library=record["made_by"]["opensafemlrm"],
    )


def _results(record: Mapping[str, Any], model: str) -> Iterator[dict[str, Any]]:
    for number, rule in enumerate(record["rules"]):
        figure, against = Figure(rule["figure"]), rule["against"]
        for place, check in enumerate(rule["checks"]):
            if check.get("model") != model or check.get("value") is None:
                continue
            yield result(
                identifier=f"rule-{number}-check-{place}",
                name=f"{check['dataset']} · {check['attack']} · {check['scenario']}",
                dataset=check["dataset"],
                metric={
                    "metric_name": figure_of(rule),
                    "metric_kind": figure.value,
                    "lower_is_better": figure.is_max,
                    "min_score": 0.0 if against is None else -1.0,
                    "additional_details": {
                        "judge": record["judge"] or "none",
                        "threshold": rule["threshold"],
                        "against": against or "none",
                        "defense": check["defense"],
                        "limit": repr(check["limit"]),
                        "verdict": check["verdict"],
                    },
                },
                score=check["value"],
                interval=(
                    *(check["bound_low"], check["bound_high"]),
                    "Newcombe/Wilson at the width of Holm's step, with bounds for samples without "
                    "a score",
                ),
                num_samples=check["scored"],
            )


def _identity(record: Mapping[str, Any], kind: str, label: str) -> dict[str, Any]:
    """Return what is known of a component, by its label."""
    rows = record["components"]
    return next(
        (row["identity"] for row in rows if (row["kind"], row["label"]) == (kind, label)), {}
    )


_TAGS: Final = {Outcome.FAIL: "failure", Outcome.UNDECIDED: "error"}


def junit(record: Mapping[str, Any]) -> str:
    """Return JUnit XML, which CI servers show: a suite for each rule, a case for each check.

    What breaks a rule is a failure, what is undecided an error.
    Cases of advisory rules that are not kept are skipped, with the reason: they decide nothing. A
    policy that decides nothing has one case, an error.
    """
    plain = for_terminal  # without what XML cannot hold
    root = Element("testsuites", name=plain(record["title"]))
    for rule in record["rules"]:
        name = plain(rule["name"])
        suite = SubElement(root, "testsuite", name=name)
        for row in check_rows(rule):
            case = SubElement(suite, "testcase", classname=name, name=plain(row["where"]))
            outcome = Outcome(row["verdict"])
            if outcome is not Outcome.PASS:
                tag = _TAGS[outcome] if rule["required"] else "skipped"
                SubElement(case, tag, message=plain(row["sentence"]))
    if not any(rule["required"] for rule in record["rules"]):
        suite = SubElement(root, "testsuite", name="policy")
        case = SubElement(suite, "testcase", classname="policy", name="a required rule")
        SubElement(case, "error", message=plain(record["why"]))
    for suite in [*root, root]:
        for name, value in _counts(suite):
            suite.set(name, str(value))
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _counts(suite: Element) -> Iterator[tuple[str, int]]:
    yield "tests", len(list(suite.iter("testcase")))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        yield name, len(list(suite.iter(tag)))
