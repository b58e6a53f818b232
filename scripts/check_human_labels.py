"""Hold the corrected difference of two models against replies that people labelled all of.

    python scripts/check_human_labels.py FILE [--format json] [--labels 200] [--draws 200]

FILE has the layout of MSTS's labels (Röttger et al. 2025, arXiv 2501.10057): a row a reply with
``case_id``, ``prompt_type``, ``model`` and ``human_label``, and a column a judge, ``safe`` or
``unsafe`` throughout (``unparsed``, where it gave no verdict, is not flagged). For all pairs of
models, items are drawn as ``safemlrm label --plan`` says, half of them before anything is known;
both replies of an item get their human label. The estimate is that of the tables, and the truth is
the difference over all items of the file. So the interval is about these items alone, and narrower
than those of tables, which are about items like these.

A row a judge: ``coverage`` is the share of intervals that hold the truth, ``mean_error`` and
``mean_width`` are in points, ``items`` the labelled items of a pair: all there are, where that is
less than ``--labels``. ``_none`` is the judge as it is, ``_pooled`` a correction by its errors on
the labels of all models together; where there is none it is null, and ``no_pooled`` says why.
``differs`` is the share of draws in which the test of differential error fires at 50 labels a
model, ``differs_permuted`` the same with the models of texts of one label permuted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from opensafemlrm.analysis.corrected import guessed, verdict_pairs
from opensafemlrm.analysis.intervals import Array, difference_interval
from opensafemlrm.analysis.judge_errors import LEVEL, differential_error, rogan_gladen
from opensafemlrm.analysis.prediction_powered import (
    DIFFERENCE,
    Estimate,
    Strata,
    allocate,
    stratified_mean,
)

KEYS = ("case_id", "prompt_type")
LABELS = ("safe", "unsafe")
UNPARSED = "unparsed"
NOT_JUDGES = {*KEYS, "row", "model", "human_label", "human_taxonomy"}
JUDGES = ("gpt-4o", "gemini", "claude")
LABELS_A_MODEL = 50

Flags = NDArray[np.bool_]


def read(file: Path) -> pl.DataFrame:
    """Return the file, a row a reply, of the items that every model replied to.

    What cannot be used ends the script, and is named by file, row and column.
    """
    try:
        rows = pl.read_csv(file, infer_schema=False, encoding="utf8")
    except (OSError, pl.exceptions.PolarsError) as error:
        sys.exit(f"{file}: it cannot be read as CSV in UTF-8: {str(error).splitlines()[0]}")
    rows = rows.rename(lambda name: name.removeprefix("\ufeff").strip())
    missing = {*KEYS, "model", "human_label"} - set(rows.columns)
    if missing:
        sys.exit(f"{file}: there is no column {min(missing)}")
    if not judges_of(rows):
        sys.exit(f"{file}: there is no column of a judge beside {', '.join(rows.columns)}")
    rows = rows.with_columns(pl.all().str.strip_chars()).with_row_index("row", offset=2)
    for column in (*KEYS, "model"):
        _refuse(file, rows, column, pl.col(column).fill_null("") == "", "a name")
    for column in ("human_label", *judges_of(rows)):
        rows = rows.with_columns(pl.col(column).str.to_lowercase())
        wanted = LABELS if column == "human_label" else (*LABELS, UNPARSED)
        wrong = ~pl.col(column).is_in(wanted).fill_null(value=False)
        _refuse(file, rows, column, wrong, " or ".join(wanted))
    first = pl.struct([*KEYS, "model"]).is_first_distinct()
    if len(again := rows.filter(~first)):
        print(
            f"{file}, row {again['row'][0]}: {len(again):,} rows are of a reply that was there "
            "already; the first counts",
            file=sys.stderr,
        )
    rows = rows.filter(first)
    rows = rows.filter(pl.len().over(KEYS) == rows["model"].n_unique())
    if rows["model"].n_unique() < 2:
        sys.exit(f"{file}: no item has a reply of each of two models")
    return rows


def _refuse(file: Path, rows: pl.DataFrame, column: str, wrong: pl.Expr, wanted: str) -> None:
    """End the script where a column has something else than is wanted, naming the first."""
    found = rows.filter(wrong)
    if len(found):
        value = found[column][0]
        shown = "is empty" if not value else f"holds {value!r}"
        more = f", and {len(found) - 1:,} more" if len(found) > 1 else ""
        sys.exit(f"{file}, row {found['row'][0]}, column {column}: it {shown}{more}; say {wanted}")


def judges_of(rows: pl.DataFrame) -> list[str]:
    """Return the judges to check: those of the table in the docs, or all where none is there."""
    columns = [name for name in rows.columns if name not in NOT_JUDGES and "annot" not in name]
    return [name for name in columns if name.startswith(JUDGES)] or columns


def by_model(rows: pl.DataFrame, column: str) -> dict[str, Flags]:
    """Return what a column says of each model's replies, in the order of the items."""
    ordered = rows.sort(KEYS)
    return {
        str(model): (of_model[column] == "unsafe").to_numpy()
        for (model,), of_model in ordered.partition_by("model", as_dict=True).items()
    }


def estimate(
    truth: Array, verdicts: NDArray[np.int64], labels: int, drawing: np.random.Generator
) -> Estimate:
    """Label some items in two steps, each as planned, and return the corrected difference."""
    order = drawing.permutation(len(truth))
    order = order[np.argsort(verdicts[order], kind="stable")]
    known = np.full(len(truth), np.nan)
    starts = np.searchsorted(verdicts[order], np.unique(verdicts))
    for budget in (labels // 2, labels):
        strata = Strata.of(verdicts, known, DIFFERENCE)
        for start, n in zip(
            starts, allocate(strata, guessed(np.unique(verdicts)), budget), strict=True
        ):
            chosen = order[start : start + n]
            known[chosen] = truth[chosen]
    return stratified_mean(verdicts, known, DIFFERENCE, finite=True)


def pooled(
    people: dict[str, Flags], judged: dict[str, Flags], pair: tuple[str, str]
) -> tuple[float, float, float]:
    """Return the difference corrected by the judge's errors on all models, with its interval."""
    unsafe = np.concatenate([people[name] for name in people])
    flagged = np.concatenate([judged[name] for name in people])
    counts = (
        *((flagged & unsafe).sum(), unsafe.sum()),
        *((~flagged & ~unsafe).sum(), (~unsafe).sum()),
    )
    (p, low, high), (q, low0, high0) = (
        rogan_gladen(judged[name].mean(), len(judged[name]), *counts) for name in pair
    )
    difference = float(p - q)
    below = float(np.hypot(p - low, high0 - q))
    above = float(np.hypot(high - p, q - low0))
    return difference, difference - below, difference + above


def alone(judged: dict[str, Flags], pair: tuple[str, str]) -> tuple[float, float, float]:
    """Return the difference by the judge's own verdicts, with its paired interval."""
    a, b = (judged[name].astype(float) for name in pair)
    varies = a.std() * b.std() > 0
    correlation = float(np.corrcoef(a, b)[0, 1]) if varies else 0.0
    low, high = difference_interval(a.mean(), len(a), b.mean(), len(b), correlation)
    return float(a.mean() - b.mean()), float(low), float(high)


def differs(
    people: dict[str, Flags],
    judged: dict[str, Flags],
    drawing: np.random.Generator,
    *,
    permuted: bool,
) -> bool:
    """Whether the test fires on labels of some texts of every model."""
    unsafe, flagged, groups = [], [], []
    for place, name in enumerate(people):
        size = min(LABELS_A_MODEL, len(people[name]))
        chosen = drawing.choice(len(people[name]), size, replace=False)
        unsafe.append(people[name][chosen])
        flagged.append(judged[name][chosen])
        groups.append(np.full(len(chosen), place))
    labels, models = np.concatenate(unsafe), np.concatenate(groups)
    if permuted:
        for label in (False, True):
            models[labels == label] = drawing.permutation(models[labels == label])
    return differential_error(labels, np.concatenate(flagged), models) <= LEVEL


def row(rows: pl.DataFrame, judge: str, labels: int, draws: int, seed: int) -> dict[str, Any]:
    """Return what one judge's labels are worth, over all pairs of models."""
    people, judged = by_model(rows, "human_label"), by_model(rows, judge)
    labels = min(labels, len(next(iter(people.values()))))
    drawing = np.random.default_rng(seed)
    parts: dict[str, list[tuple[bool, float, float]]] = {"": [], "_none": [], "_pooled": []}
    for pair in itertools.combinations(sorted(people), 2):
        difference = people[pair[0]].astype(float) - people[pair[1]]
        truth = float(difference.mean())
        verdicts = verdict_pairs(*(judged[name] for name in pair))
        intervals = [
            ("", (drawn.value, drawn.low, drawn.high))
            for drawn in (estimate(difference, verdicts, labels, drawing) for _ in range(draws))
        ]
        intervals += [
            ("_none", alone(judged, pair)),
            ("_pooled", pooled(people, judged, pair)),
        ]
        for kind, (value, low, high) in intervals:
            inside = low - 1e-9 <= truth <= high + 1e-9
            parts[kind].append((inside, 100 * abs(value - truth), 100 * (high - low)))
    result: dict[str, Any] = {"judge": judge, "items": labels, "no_pooled": None}
    for kind, drawn in parts.items():
        for name, mean in zip(
            ("coverage", "mean_error", "mean_width"), np.mean(drawn, axis=0), strict=True
        ):
            result[f"{name}{kind}"] = round(float(mean), 4) if np.isfinite(mean) else None
    if result["mean_error_pooled"] is None:
        result["coverage_pooled"] = None
        result["no_pooled"] = _no_pooled(people)
    for name, permuted in (("differs", False), ("differs_permuted", True)):
        fired = [differs(people, judged, drawing, permuted=permuted) for _ in range(draws)]
        result[name] = round(float(np.mean(fired)), 4)
    return result


def _no_pooled(people: Mapping[str, Flags]) -> str:
    """Say why no error of a judge is known over all models."""
    unsafe = sum(int(flags.sum()) for flags in people.values())
    if unsafe and unsafe < sum(map(len, people.values())):
        return "over all models the judge does no better than chance"
    return f"people call every reply {'unsafe' if unsafe else 'safe'}: an error is not known"


def _number(text: str) -> int:
    """Return a whole number above 0, or say what is wrong with it."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def main() -> None:
    """Print a row a judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--labels", type=_number, default=200, help="labelled items of a pair")
    parser.add_argument("--draws", type=_number, default=200, help="draws of each pair")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    rows = read(chosen.file)
    found = [
        row(rows, judge, chosen.labels, chosen.draws, chosen.seed) for judge in judges_of(rows)
    ]
    if chosen.format == "json":
        print(json.dumps(found, indent=2, allow_nan=False))
        return
    with pl.Config(tbl_cols=-1, tbl_width_chars=200):
        print(pl.DataFrame(found))


if __name__ == "__main__":
    main()
