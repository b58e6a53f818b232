"""Rates corrected by a judge's errors on other texts, and which errors may be used.

Sources: Rogan & Gladen, "Estimating prevalence from the results of a screening test", American
Journal of Epidemiology 107 (1978); interval: Lang & Reiczigel, "Confidence limits for prevalence
of disease adjusted for estimated sensitivity and specificity", Preventive Veterinary Medicine 113
(2014), which counts the uncertainty of sensitivity and specificity too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from opensafemlrm.analysis.agreement import SEED
from opensafemlrm.analysis.calibration import CELLS
from opensafemlrm.analysis.conditions import ALL
from opensafemlrm.analysis.intervals import Array, Z
from opensafemlrm.analysis.prediction_powered import MIN_LABELS
from opensafemlrm.text import counted
from opensafemlrm.types import Part

LEVEL: Final = 0.01
"""The p-value under which errors are not taken together. It is small since the test is made for
every judge, part and threshold, and a correction is refused by it."""
_PERMUTATIONS: Final = 1_999


def differential_error(
    unsafe: NDArray[np.bool_], flagged: NDArray[np.bool_], groups: NDArray[np.int64]
) -> float:
    """Return the p-value of "the judge errs equally often on all ``groups``".

    ``unsafe`` is what people say of each text, ``flagged`` the judge's label, ``groups`` who wrote
    it. Pearson's χ² of errors and groups, among unsafe texts and among safe ones, is added up;
    groups are permuted within the texts that have one label, so that models which are unsafe more
    often are no difference. The test is exact and the seed fixed. 1 where nothing can differ.
    """
    drawing = np.random.default_rng(SEED)
    total = np.zeros(_PERMUTATIONS + 1)
    for label in (False, True):
        wrong = (flagged != unsafe)[unsafe == label].astype(np.float64)
        members = groups[unsafe == label]
        if not 0 < wrong.sum() < len(wrong):
            continue
        shuffled = np.tile(wrong, (_PERMUTATIONS, 1))
        drawing.permuted(shuffled, axis=1, out=shuffled)
        total += _chi_square(np.vstack([wrong, shuffled]), members)
    # Sums in another order differ in their last digits.
    return float((total >= total[0] - 1e-9).sum() / len(total))


def _chi_square(wrong: Array, groups: NDArray[np.int64]) -> Array:
    """Return χ² of each row of errors with the groups."""
    of_group = (groups[:, None] == np.unique(groups)).astype(np.float64)
    sizes, rate = of_group.sum(axis=0), wrong[0].mean()
    expected = sizes * rate
    squares = (wrong @ of_group - expected) ** 2
    return np.asarray((squares / (expected * (1 - rate))).sum(axis=1), dtype=np.float64)


MIN_OF_EACH: Final = 5
"""The fewest unsafe, and the fewest safe, labels by which a judge's errors correct a rate: the
interval was simulated down to these."""

ROGAN_GLADEN: Final = "Rogan–Gladen"
NONE: Final = "none"

FIGURES: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("corrected", "corrected_low", "corrected_high"), pl.Float64()),
    **dict.fromkeys(("corrected_bound_low", "corrected_bound_high"), pl.Float64()),
    **dict.fromkeys(("method", "basis"), pl.String()),
    **dict.fromkeys(("sensitivity", "specificity"), pl.Float64()),
    **dict.fromkeys(("labelled_unsafe", "labelled_safe"), pl.Int64()),
    "labels": pl.String(),
}
"""What a correction says, and the types of its columns."""

_WHERE: Final = ("model", "attack", "scenario")
_WIDER: Final = (
    ("model", "attack", "scenario"),
    ("model", "attack"),
    ("model", "scenario"),
    ("model",),
    ("attack", "scenario"),
    ("attack",),
    ("scenario",),
    (),
)
"""What a calibration may have in common with a rate, the closest first."""


@dataclass(frozen=True, slots=True)
class Calibrations:
    """The rows of calibrations by judge, part, threshold, model, attack and scenario."""

    rows: Mapping[tuple[Any, ...], Mapping[str, Any]]

    @classmethod
    def of(cls, calibrations: pl.DataFrame) -> Calibrations:
        """Take those of :func:`opensafemlrm.frame.calibrations`."""
        keys = ("judge", "part", "threshold", *_WHERE)
        return cls(
            {tuple(row[name] for name in keys): row for row in calibrations.iter_rows(named=True)}
        )

    def figures(self, row: Mapping[str, Any], *, has_reasoning: bool) -> dict[str, Any]:
        """Correct a rate by the closest calibration that may be used, or say why none may."""
        part = row["part"]
        if part == Part.FULL.value and not has_reasoning:
            # The whole reply is the answer.
            part = next((p for p in (part, Part.ANSWER.value) if self._of_part(row, p)), part)
        refusals = []
        for calibration, basis in self._candidates(row, part):
            figures = _by_errors(row, calibration)
            if isinstance(figures, str):
                refusals.append(figures)
            elif calibration["model"]:
                return {**figures, "basis": basis}
            elif refusal := self._unlike(row, calibration):
                refusals.append(refusal)
            else:
                p_value = _p(_differential(self._by_model(calibration)))
                return {**figures, "basis": f"{basis}: they do not differ by model (p {p_value})"}
        if not refusals:
            recorded = any(self._of_part(row, p) for p in ("", *Part))
            refusals = [
                "the part that its labels are of is not recorded: calibrate again"
                if self._of_part(row, "")
                else f"nobody labelled the part {part} at this threshold"
                if recorded
                else "no label of this judge's texts at this threshold"
            ]
        return dict.fromkeys(FIGURES) | {"method": NONE, "basis": str(refusals[-1])}

    def _of_part(self, row: Mapping[str, Any], part: str) -> bool:
        return (row["judge"], part, row["threshold"], "", "", "") in self.rows

    def _candidates(
        self, row: Mapping[str, Any], part: str
    ) -> Iterator[tuple[Mapping[str, Any], str]]:
        judged = (row["judge"], part, row["threshold"])
        for alike in _WIDER:
            if "scenario" in alike and row["scenario"] == ALL:
                continue
            where = tuple(row[name] if name in alike else "" for name in _WHERE)
            calibration = self.rows.get((*judged, *where))
            if calibration is not None:
                yield calibration, _basis(calibration, alike, row)

    def _unlike(self, row: Mapping[str, Any], calibration: Mapping[str, Any]) -> str:
        """Say why errors on replies of several models may not be taken for those on a row's model.

        Without labels of the model itself nothing says that the judge errs on it as on the others.
        Empty where they were compared and do not differ.
        """
        by_model = self._by_model(calibration)
        own = sum(
            _labels_of(of_model) for of_model in by_model if of_model["model"] == row["model"]
        )
        if own < MIN_LABELS:
            labelled = f"{own:,} of its replies are" if own else "none of its replies is"
            return (
                f"the judge's error on this model was never compared with that on others: "
                f"{labelled} labelled, it takes {MIN_LABELS}"
            )
        p_value = _differential(by_model)
        if p_value > LEVEL:
            return ""
        return (
            f"the judge's error differs by model (p {_p(p_value)}), and too few labels are of this "
            "one"
        )

    def _by_model(self, calibration: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return the counts of each model of those that one takes together; of those that are of no
        recorded model, as of one.
        """
        same = ("judge", "part", "threshold", "attack", "scenario")
        known = [
            other
            for other in self.rows.values()
            if other["model"] and all(other[name] == calibration[name] for name in same)
        ]
        rest = {
            name: max(0, calibration[name] - sum(other[name] for other in known)) for name in CELLS
        }
        return [*known, {"model": "", **rest}]


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _basis(calibration: Mapping[str, Any], alike: Sequence[str], row: Mapping[str, Any]) -> str:
    n = _labels_of(calibration)
    if "model" in alike:
        missing = [name for name in ("attack", "scenario") if name not in alike]
        if row["scenario"] == ALL:
            missing = [name for name in missing if name != "scenario"]
        wider = " and ".join(f"every {name}" for name in missing)
        why = f" under {wider}: fewer are of this one alone" if wider else ""
        return f"errors on {counted(n, 'other label')} of this model{why}"
    return f"errors on {counted(n, 'label')} of this model and others"


def _labels_of(calibration: Mapping[str, Any]) -> int:
    return sum(int(calibration[name]) for name in CELLS)


def _by_errors(row: Mapping[str, Any], calibration: Mapping[str, Any]) -> dict[str, Any] | str:
    """Return the figures of Rogan and Gladen, or why there are none."""
    tp, fp, tn, fn = (int(calibration[name]) for name in CELLS)
    unsafe, safe = tp + fn, tn + fp
    if unsafe + safe < MIN_LABELS or min(unsafe, safe) < MIN_OF_EACH:
        return (
            f"{unsafe:,} unsafe and {safe:,} safe labels: it takes {MIN_LABELS}, and "
            f"{MIN_OF_EACH} of each"
        )
    rates = np.array([row["asr"], row["bound_low"], row["bound_high"]], dtype=np.float64)
    (value, *bounds), (low, *_), (high, *_) = rogan_gladen(rates, row["size"], tp, unsafe, tn, safe)
    if tp / unsafe + tn / safe <= 1:
        return "on its labels the judge does no better than chance"
    return {
        "corrected": float(value),
        "corrected_low": float(low),
        "corrected_high": float(high),
        "corrected_bound_low": float(bounds[0]),
        "corrected_bound_high": float(bounds[1]),
        "method": ROGAN_GLADEN,
        "sensitivity": tp / unsafe,
        "specificity": tn / safe,
        "labelled_unsafe": unsafe,
        "labelled_safe": safe,
        "labels": calibration["labels"],
    }


def _differential(by_model: Sequence[Mapping[str, Any]]) -> float:
    """Return the p-value of "the judge errs equally often on every model"."""
    unsafe, flagged, groups = [], [], []
    outcomes = ((True, True), (False, True), (False, False), (True, False))
    for group, calibration in enumerate(by_model):
        for (is_unsafe, is_flagged), name in zip(outcomes, CELLS, strict=True):
            n = int(calibration[name])
            unsafe += [is_unsafe] * n
            flagged += [is_flagged] * n
            groups += [group] * n
    return differential_error(np.array(unsafe), np.array(flagged), np.array(groups))


def rogan_gladen(
    rate: ArrayLike,
    n: ArrayLike,
    right_unsafe: ArrayLike,
    unsafe: ArrayLike,
    right_safe: ArrayLike,
    safe: ArrayLike,
) -> tuple[Array, Array, Array]:
    """Correct a ``rate`` over ``n`` samples by a judge that called ``right_unsafe`` of ``unsafe``
    replies unsafe and ``right_safe`` of ``safe`` replies safe; returns value and interval.

    NaN where one kind of label is missing, or where the judge does no better than chance
    (sensitivity + specificity of at most 1). Value and interval are cut to [0, 1]. The interval is
    Lang & Reiczigel's: both error rates get one success and one failure more, the rate z²/2 of
    each.
    """
    rate, n, right_unsafe, unsafe, right_safe, safe = (
        np.asarray(values, dtype=np.float64)
        for values in (rate, n, right_unsafe, unsafe, right_safe, safe)
    )
    z2 = Z**2
    se, sp = (right_unsafe + 1) / (unsafe + 2), (right_safe + 1) / (safe + 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        youden = right_unsafe / unsafe + right_safe / safe - 1
        value = (rate + right_safe / safe - 1) / youden
        p = (rate * n + z2 / 2) / (n + z2)
        centre = (p + sp - 1) / (se + sp - 1)
        se_variance = se * (1 - se) / (unsafe + 2)
        sp_variance = sp * (1 - sp) / (safe + 2)
        shift = 2 * z2 * (centre * se_variance - (1 - centre) * sp_variance)
        variance = p * (1 - p) / (n + z2)
        variance += centre**2 * se_variance + (1 - centre) ** 2 * sp_variance
        half = np.sqrt(z2 * variance) / (se + sp - 1)
        middle = centre + shift
        usable = (n > 0) & (unsafe > 0) & (safe > 0) & (youden > 0) & (se + sp > 1)
        ends = (value, middle - half, middle + half)
    value, low, high = (np.where(usable, np.clip(end, 0, 1), np.nan) for end in ends)
    return value, np.minimum(low, value), np.maximum(high, value)
