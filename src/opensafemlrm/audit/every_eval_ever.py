"""An audit as results files of Every Eval Ever 0.3.0 (arXiv 2606.14516), one for each model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from opensafemlrm.audit.policy import Figure
from opensafemlrm.audit.record import dumps, figure_of, timestamp
from opensafemlrm.interop.every_eval_ever import model_results, result

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


def results_files(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of the file of every audited model that was measured."""
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
