"""Several who judge the same texts, people or judges: how far they agree, and what each costs.

Source: K. Krippendorff, Content Analysis (2004), for α; the library ``krippendorff`` computes it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from opensafemlrm.analysis.conditions import PART_ORDER
from opensafemlrm.types import Label

_CONTEXT: Final = ["cell", "sample", "part"]


@dataclass(frozen=True, slots=True)
class RatersRow:
    """Two judges, or two people, on the texts that both gave a label."""

    first: str
    second: str
    part: str
    n: int
    """Texts that both gave a label."""
    same: int
    share_same: float | None
    alpha: float | None
    """Krippendorff's α of the labels; ``None`` where only one label occurs."""
    safe_to_unsafe: int
    """Safe to the first and unsafe to the second."""
    unsafe_to_safe: int
    first_requests: int | None
    second_requests: int | None
    """Requests behind all their verdicts on this part; ``None`` for people."""


@dataclass(frozen=True, slots=True)
class PanelRow:
    """A judge that is made of judges: its members' agreement, and how often each was asked."""

    judge: str
    texts: int
    members: int
    alpha: float | None
    split: int
    """Texts on which the members' labels differ."""
    asked_all: int
    """Texts that every member was asked about; fewer than all in a cascade."""
    share_asked_all: float | None
    requests: int


def alpha(
    ratings: Sequence[Sequence[float | None]], level: Literal["nominal", "interval"] = "nominal"
) -> float | None:
    """Return Krippendorff's α: one row a rater, one column a text, ``None`` where not rated.

    ``None`` where it is not defined: no text has two ratings, or only one value occurs.
    """
    import krippendorff  # noqa: PLC0415  # a third of a second that no other figure needs

    table = np.array(
        [[np.nan if one is None else one for one in row] for row in ratings], dtype=np.float64
    )
    table = table[:, (~np.isnan(table)).sum(axis=0) >= 2]
    if len(np.unique(table[~np.isnan(table)])) < 2:
        return None
    return float(krippendorff.alpha(table, level_of_measurement=level))


def pairs_of_raters(
    labels: Mapping[str, Mapping[Hashable, bool]], part: str = ""
) -> list[RatersRow]:
    """Compare every two raters; ``labels`` holds, by rater and text, whether it is unsafe."""
    return [
        _pair(part, (first, labels[first]), (second, labels[second]))
        for first, second in combinations(sorted(labels), 2)
    ]


def judges(frame: pl.DataFrame) -> list[RatersRow]:
    """Compare every two judges of a tidy table, part by part, on the texts that both scored."""
    rows: list[RatersRow] = []
    scored = frame.filter(pl.col("judge").is_not_null(), pl.col("sample").is_not_null())
    for part in sorted(scored["part"].unique(), key=lambda name: PART_ORDER[name]):
        here = scored.filter(pl.col("part") == part)
        labels = {
            name: _labels(here.filter(pl.col("judge") == name))
            for name in here["judge"].unique().to_list()
        }
        spent = dict(here.group_by("judge").agg(pl.col("judge_requests").sum()).iter_rows())
        for row in pairs_of_raters(labels, part):
            costs = (spent[row.first], spent[row.second])
            rows.append(replace(row, first_requests=costs[0], second_requests=costs[1]))
    return [row for row in rows if row.n]


def panel(judge: str, texts: Iterable[Sequence[Any]]) -> PanelRow:
    """Sum up what the members of ``judge`` said; each text is a sequence of members' verdicts.

    A member's verdict has ``judge``, ``label`` and ``requests``, as
    :func:`opensafemlrm.judges.members.members_in` gives them.
    """
    said = [list(text) for text in texts]
    names = sorted({member.judge for text in said for member in text})
    labels = [{member.judge: _unsafe(member.label) for member in text} for text in said]
    asked_all = sum(len(text) == len(names) for text in said)
    distinct = [{label for label in text.values() if label is not None} for text in labels]
    return PanelRow(
        judge=judge,
        texts=len(said),
        members=len(names),
        alpha=alpha([[text.get(name) for text in labels] for name in names]) if said else None,
        split=sum(len(found) > 1 for found in distinct),
        asked_all=asked_all,
        share_asked_all=asked_all / len(said) if said else None,
        requests=sum(member.requests for text in said for member in text),
    )


def _pair(
    part: str,
    first: tuple[str, Mapping[Hashable, bool]],
    second: tuple[str, Mapping[Hashable, bool]],
) -> RatersRow:
    both = [(label, second[1][key]) for key, label in first[1].items() if key in second[1]]
    same = sum(one == other for one, other in both)
    return RatersRow(
        first=first[0],
        second=second[0],
        part=part,
        n=len(both),
        same=same,
        share_same=same / len(both) if both else None,
        alpha=alpha([list(column) for column in zip(*both, strict=True)]) if both else None,
        safe_to_unsafe=sum(other and not one for one, other in both),
        unsafe_to_safe=sum(one and not other for one, other in both),
        first_requests=None,
        second_requests=None,
    )


def _labels(rows: pl.DataFrame) -> dict[Hashable, bool]:
    known = rows.filter(pl.col("label") != Label.UNSCORED.value)
    keys = known.select(_CONTEXT).iter_rows()
    return dict(zip(keys, known["label"] == Label.UNSAFE.value, strict=True))


def _unsafe(label: Label) -> float | None:
    return None if label is Label.UNSCORED else float(label is Label.UNSAFE)
