"""``run --fail-on``: which shares of a cell's samples may be missing before a run ends with 4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import typer

from opensafemlrm.cli import _lazy as lazy

_OF_REPLIES: Final = ("failed", "blocked", "truncated")
_UNSCORED: Final = "unscored"
_KINDS: Final = (_UNSCORED, *_OF_REPLIES)


def shares(text: str | None) -> dict[str, float]:
    """Read ``unscored=10%,failed=0.05``; nothing where there is none. Raises BadParameter."""
    limits = {}
    for entry in (text or "").split(",") if text is not None else ():
        name, _, share = entry.strip().partition("=")
        try:
            limit = float(share.removesuffix("%")) / (100 if share.endswith("%") else 1)
        except ValueError:
            limit = -1.0
        if name not in _KINDS or not 0 <= limit <= 1:
            raise typer.BadParameter(
                f"--fail-on: {entry.strip()!r} is not KIND=SHARE, such as unscored=10%; kinds: "
                f"{', '.join(_KINDS)}, by a share from 0 to 100%"
            )
        limits[name] = limit
    return limits


def exceeded(plan: lazy.Plan, path: str, limits: Mapping[str, float]) -> Iterator[str]:
    """Yield a sentence for each share that a cell of ``plan`` exceeds.

    ``unscored`` is of the whole replies that a judge of the study has no score for; the others are
    of how replies ended.
    """
    results = lazy.Results(path)
    cells = [cell.id for cell in plan.cells]
    judges = [judge.label for judge in plan.study.judges]
    tables = {name: results.coverage() for name in _OF_REPLIES}
    verdicts = results.verdict_coverage()
    # Of two judges of one label, tables have a piece of the key behind each.
    of_judge = verdicts["judge"].cast(str).str.split("#").list.first().is_in(judges)
    tables[_UNSCORED] = verdicts.filter(of_judge & (verdicts["part"] == "full")).with_columns(
        unscored=_without_score()
    )
    for name, limit in limits.items():
        rows = tables[name]
        for row in rows.filter(rows["cell"].cast(str).is_in(cells)).iter_rows(named=True):
            share = row[name] / row["n"]
            if share > limit:
                where = " · ".join(row[key] for key in ("model", "dataset", "attack", "defense"))
                yield f"{where}: {100 * share:.1f} % {name}, more than {100 * limit:g} %"


def _without_score() -> lazy.pl.Expr:
    """Return how many samples of a row of verdicts have no score."""
    return lazy.pl.col("n") - lazy.pl.col("safe") - lazy.pl.col("unsafe")
