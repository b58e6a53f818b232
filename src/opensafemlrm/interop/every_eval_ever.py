"""Results as Every Eval Ever 0.3.0 has them (arXiv 2606.14516): rates of a model, and its samples.

A file of rates is for one model; beside it lies a file of samples, a line for each score of a part
of a reply. The format asks for a score in every line: what has none is in no line, and is counted.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import polars as pl

from opensafemlrm import frame as frames
from opensafemlrm import reasoning
from opensafemlrm.analysis.asr import asr
from opensafemlrm.analysis.conditions import THRESHOLDS, only
from opensafemlrm.files import make_folder_in, replacing
from opensafemlrm.replies import replies
from opensafemlrm.selection import ALL_ROWS, EVERYTHING, RowChoice, Selection
from opensafemlrm.store import Store, known, records
from opensafemlrm.text import counted
from opensafemlrm.types import Part, Response

VERSION: Final = "0.3.0"
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")
_PLACE: Final = Path("data/opensafemlrm")
_TOGETHER: Final = 500
"""Replies that are read together."""


def model_results(
    *,
    evaluation_id: str,
    time: str,
    source: Mapping[str, Any],
    model: str,
    identity: str,
    results: Sequence[Mapping[str, Any]],
    library: str,
) -> dict[str, Any]:
    """Return a model's file: ``results`` are :func:`result`, ``identity`` is JSON of the model.

    ``source`` adds to what is said of where they come from.
    """
    named = {
        "source_type": "evaluation_run",
        "source_organization_name": "unknown",
        "evaluator_relationship": "other",
        **source,
    }
    unknown = {"deployment_type": "unknown", "model_availability": "unknown"}
    return {
        "schema_version": VERSION,
        "evaluation_id": evaluation_id,
        "evaluation_timestamp": time,
        "retrieved_timestamp": time,
        "source_metadata": named,
        "eval_library": {"name": "opensafemlrm", "version": library},
        "model_info": {
            "name": model,
            "id": model,
            "additional_details": {**unknown, "identity": identity},
        },
        "evaluation_results": list(results),
    }


def result(
    *,
    identifier: str,
    name: str,
    dataset: str,
    metric: Mapping[str, Any],
    score: float,
    interval: tuple[float | None, float | None, str],
    num_samples: int,
) -> dict[str, Any]:
    """Return one rate from 0 to 1 with its interval: lower and upper end, and how it was made."""
    low, high, method = interval
    return {
        "evaluation_result_id": identifier,
        "evaluation_name": name,
        "source_data": {"dataset_name": dataset, "source_type": "other"},
        "metric_config": {
            "metric_unit": "proportion",
            "score_type": "continuous",
            "min_score": 0.0,
            "max_score": 1.0,
            **metric,
        },
        "score_details": {
            "score": score,
            "uncertainty": {
                "confidence_interval": {"lower": low, "upper": high, "method": method},
                "num_samples": num_samples,
            },
        },
    }


@dataclass(slots=True)
class ExportedResults:
    """What an export wrote."""

    models: int = 0
    rates: int = 0
    scores: int = 0
    without_score: int = 0
    """Parts of replies that have no score, for which the format has no place."""
    others: list[Path] = field(default_factory=list)
    """Results of other models, stores or selections that lay in the folder before, and still do."""

    def __str__(self) -> str:
        models, rates = counted(self.models, "model"), counted(self.rates, "rate")
        wrote = f"{models}, {rates}, {counted(self.scores, 'score')} of samples"
        left = f"; left out: {counted(self.without_score, 'part')} of replies without a score"
        there = f"{counted(len(self.others), 'file')} of earlier exports lie beside them, such as "
        more = (
            f"\n{there}{self.others[0]}: take away what you do not publish" if self.others else ""
        )
        return wrote + (left if self.without_score else "") + more


def export_results(
    store: Store, folder: Path, selection: Selection = EVERYTHING, chosen: RowChoice = ALL_ROWS
) -> ExportedResults:
    """Write a store as ``data/BENCHMARK/DEVELOPER/MODEL/UUID.json`` and its samples beside it.

    The same store gives the same names, so that a second export replaces the first; what else is
    there stays, since results of several stores may be collected in one folder. The samples
    hold what models wrote, which may be harmful; those of harmful items name the rate that they are
    in, where it is in the file. What is correct goes by the chosen threshold, else by the lenient
    one. Raises StoreError and OSError.
    """
    done = ExportedResults()
    rows = chosen.choose(selection.read(store).filter(pl.col("judge").is_not_null()))
    rates = only(asr(rows), None, chosen.threshold)
    if chosen.threshold is not None:
        has_it = pl.any_horizontal(pl.col(*THRESHOLDS) == chosen.threshold)
        rows = rows.filter(has_it)
    written = set()
    for model in rows["model"].cast(pl.String).unique().sort():
        of_model = rows.filter(pl.col("model").cast(pl.String) == model)
        export = _ModelExport(store, folder, model, done, chosen.threshold)
        written.add(export.write(of_model, rates.filter(pl.col("model").cast(pl.String) == model)))
    done.others = sorted({*folder.glob(f"{_PLACE}/*/*/*.json")} - written)
    return done


class _ModelExport:
    """Writes the two files of one model."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        model: str,
        done: ExportedResults,
        threshold: float | None,
    ) -> None:
        self.store, self.folder, self.model, self.done = store, folder, model, done
        self.threshold = threshold
        developer, _, name = model.rpartition("/")
        self.scales = scales(store)
        self.bases = bases(store).get(model, [])
        self.place = _PLACE / _path(developer or "unknown") / _path(name)

    def write(self, rows: pl.DataFrame, rates: pl.DataFrame) -> Path:
        """Write rates and samples; return the file of rates."""
        cells = rows["cell"].cast(pl.String).unique().sort().to_list()
        digest = hashlib.sha256("".join([self.model, *cells]).encode("utf-8", "replace")).digest()
        name = str(uuid.UUID(bytes=digest[:16], version=4))
        self.evaluation = f"opensafemlrm/{self.model}/{name}"
        created = self.store.connection.execute("SELECT max(created) FROM generations").fetchone()
        time = f"{created[0] or 0:.0f}"
        results = list(self._results(rates))
        self.known = {rate["evaluation_result_id"] for rate in results}
        make_folder_in(self.folder, self.place)
        samples = self.place / f"{name}_samples.jsonl"
        checksum, lines = hashlib.sha256(), 0
        with (
            replacing(self.folder / samples) as draft,
            draft.open("w", encoding="utf-8", newline="\n") as file,
        ):
            for line in self._samples(rows):
                text = json.dumps(line) + "\n"
                file.write(text)
                checksum.update(text.encode())
                lines += 1
        rates_of_model = model_results(
            evaluation_id=self.evaluation,
            time=time,
            source={
                "source_name": "OpenSafeMLRM",
                "additional_details": {
                    "simulated": json.dumps(bool(rows["simulated"].any())),
                    "source": ", ".join(sorted(rows["source"].cast(pl.String).unique())),
                },
            },
            model=self.model,
            identity=self._identity(rows),
            results=results,
            library=version("opensafemlrm"),
        )
        rates_of_model["detailed_evaluation_results"] = {
            "format": "jsonl",
            "file_path": samples.as_posix(),
            "hash_algorithm": "sha256",
            "checksum": checksum.hexdigest(),
            "total_rows": lines,
        }
        text = json.dumps(rates_of_model, indent=2)
        path = self.folder / self.place / f"{name}.json"
        with replacing(path) as draft:
            draft.write_text(text + "\n", encoding="utf-8")
        self.done.models += 1
        self.done.rates += len(results)
        self.done.scores += lines
        return path

    def _identity(self, rows: pl.DataFrame) -> str:
        key = bytes.fromhex(rows["model_key"].cast(pl.String)[0])
        query = "SELECT identity FROM components WHERE key = ?"
        return str(self.store.connection.execute(query, (key,)).fetchone()[0])

    def _results(self, rates: pl.DataFrame) -> Iterator[dict[str, Any]]:
        for rate in rates.iter_rows(named=True):
            if rate["asr"] is None:
                continue  # nothing was scored, or too little for a rate
            yield result(
                identifier=_result_id(rate, rate["threshold"]),
                name=rate["dataset"],
                dataset=rate["dataset"],
                metric={
                    "metric_id": "opensafemlrm.attack_success_rate",
                    "metric_name": f"attack success rate of the {rate['part']}",
                    "metric_kind": "attack_success_rate",
                    "lower_is_better": True,
                    "additional_details": {
                        **{
                            name: str(rate[name]) for name in ("attack", "defense", "judge", "part")
                        },
                        "threshold": f"{rate['threshold']:g}",
                        "samples": str(rate["n"]),
                        "unscored": str(rate["n"] - rate["scored"]),
                        "if_unscored_safe": repr(rate["asr_if_unscored_safe"]),
                        "if_unscored_unsafe": repr(rate["asr_if_unscored_unsafe"]),
                    },
                },
                score=rate["asr"],
                interval=(rate["low"], rate["high"], "Wilson, at 95 %; see docs/statistics.md"),
                num_samples=rate["scored"],
            )

    def _samples(self, rows: pl.DataFrame) -> Iterator[dict[str, Any]]:
        """Yield a line for each score of a part of a reply."""
        rows = rows.drop_nulls("sample").sort("sample", "judge", "part")
        scored = rows.drop_nulls("score")
        self.done.without_score += rows.height - scored.height
        keys = scored["sample"].unique(maintain_order=True).to_list()
        for start in range(0, len(keys), _TOGETHER):
            some = keys[start : start + _TOGETHER]
            of_some = scored.filter(pl.col("sample").is_in(some))
            texts = {row["sample"]: row for row in replies(self.store, of_some).to_dicts()}
            stored = {
                key.hex().upper(): (response, records.format_of(parser))
                for key, parser, _, response in known.replies_with_items(
                    self.store.connection, [bytes.fromhex(key) for key in some]
                )
            }
            for row in of_some.to_dicts():
                sample = row["sample"]
                yield self._sample(row, texts[sample], *stored[sample])

    def _sample(
        self, row: Mapping[str, Any], texts: Mapping[str, Any], response: Response, form: str
    ) -> dict[str, Any]:
        trace = reasoning.parse(response, form)
        verdict = next(
            v for v in texts["verdicts"] if (v["judge"], v["part"]) == (row["judge"], row["part"])
        )
        raw = texts["question"]
        threshold = row["threshold_lenient"] if self.threshold is None else self.threshold
        is_unsafe = (
            row["label"] == "unsafe" if self.threshold is None else row["score"] >= threshold
        )
        usage = (row["input_tokens"], row["output_tokens"], row["reasoning_tokens"])
        line = {
            "schema_version": VERSION,
            "evaluation_id": self.evaluation,
            "model_id": self.model,
            "evaluation_name": row["dataset"],
            "sample_id": row["item"],
            "sample_hash": hashlib.sha256(raw.encode("utf-8", "surrogatepass")).hexdigest(),
            "interaction_type": "single_turn",
            "input": {"raw": raw, "formatted": texts["prompt"], "reference": []},
            "output": {
                "raw": [response.text],
                "reasoning_trace": None if trace.reasoning is None else [trace.reasoning],
            },
            "answer_attribution": [
                {
                    "turn_idx": 0,
                    "source": "output.raw",
                    "extracted_value": trace.part(Part(row["part"])) or "",
                    "extraction_method": trace.found_by or "whole reply",
                    "is_terminal": True,
                }
            ],
            "evaluation": {"score": row["score"], "is_correct": not is_unsafe},
            "performance": {"latency_ms": (row["latency"] or 0.0) * 1000},
            "metadata": {
                **{name: str(row[name]) for name in ("attack", "defense", "scenario", "expected")},
                **{name: str(row[name]) for name in ("repeat", "status", "judge", "part")},
                "images": json.dumps(texts["images"]),
                "format": form,
                "unsafe_from": json.dumps([row["threshold_lenient"], row["threshold_strict"]]),
                "scale": self.scales[row["judge"]],
                "rationale": verdict["rationale"] or "",
                "simulated": json.dumps(bool(row["simulated"])),
                "source": str(row["source"]),
                **({"bases": json.dumps(self.bases)} if self.bases else {}),
            },
        }
        # A rate is of harmful items, and is not there where too few were scored.
        result_id = _result_id(row, threshold)
        if row["expected"] == "harmful" and result_id in self.known:
            line["evaluation_result_id"] = result_id
        if usage[0] is not None and usage[1] is not None:
            line["token_usage"] = {
                "input_tokens": usage[0],
                "output_tokens": usage[1],
                "total_tokens": usage[0] + usage[1],
                "reasoning_tokens": usage[2],
            }
        return line


def scales(store: Store) -> dict[str, str]:
    """Return the scale of each judge, as JSON, by what tables call it. Raises StoreError."""
    names = dict(frames.judges(store).with_columns(pl.col("judge").cast(pl.String)).rows())
    rows = store.connection.execute("SELECT key, facts FROM components WHERE kind = 'judge'")
    return {names[key]: json.dumps(json.loads(facts).get("scale", [0, 1])) for key, facts in rows}


def bases(store: Store) -> dict[str, list[str]]:
    """Return the models that each model is compared with, as tables call them."""
    by_model: dict[str, list[str]] = {}
    for reasoner, base in frames.pairs(store).iter_rows():
        by_model.setdefault(reasoner, []).append(base)
    return by_model


def _result_id(row: Mapping[str, Any], threshold: float) -> str:
    return f"{row['cell']}/{row['judge']}/{row['part']}/{threshold:g}"


def _path(name: str) -> str:
    cleaned = _NOT_IN_NAMES.sub("_", name)[:80].strip(".")
    return cleaned or "unnamed"
