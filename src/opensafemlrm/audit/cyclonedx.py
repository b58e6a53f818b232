"""An audit as an ML-BOM of CycloneDX 1.7: a component for each model, with its measured figures."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from opensafemlrm.audit import hazards
from opensafemlrm.audit.record import dumps, figure_of, timestamp

VERSION: Final = "1.7"
_PREFIX: Final = "opensafemlrm:audit:"


def bill_of_materials(record: Mapping[str, Any]) -> str:
    """Return the bill of materials as JSON."""
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
