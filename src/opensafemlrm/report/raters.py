"""Tables of how far judges, or people, agree."""

from __future__ import annotations

from typing import Final

import polars as pl

from opensafemlrm.report.forms import Form
from opensafemlrm.report.tables import Column, Table, WhenConstant

_ALPHA: Final = "α: Krippendorff's, 1 is full agreement and 0 that of chance."

RATERS: Final = Table(
    name="raters",
    title="Agreement on the texts that both gave a label",
    columns=[
        Column("first", "A"),
        Column("second", "B"),
        Column("part", "Part", constant=WhenConstant.CAPTION),
        Column("n", "both", Form.COUNT),
        Column("share_same", "same %", Form.PERCENT),
        Column("alpha", "α", Form.DECIMAL),
        Column("safe_to_unsafe", "only B unsafe", Form.COUNT),
        Column("unsafe_to_safe", "only A unsafe", Form.COUNT),
        Column("first_requests", "requests A", Form.COUNT, WhenConstant.DROP_IF_ZERO),
        Column("second_requests", "requests B", Form.COUNT, WhenConstant.DROP_IF_ZERO),
    ],
)
PANELS: Final = Table(
    name="panels",
    title="Judges that are made of judges",
    columns=[
        Column("judge", "Judge"),
        Column("texts", "texts", Form.COUNT),
        Column("members", "members", Form.COUNT),
        Column("alpha", "α", Form.DECIMAL),
        Column("split", "split", Form.COUNT),
        Column("asked_all", "asked all", Form.COUNT),
        Column("share_asked_all", "asked all %", Form.PERCENT),
        Column("requests", "requests", Form.COUNT),
    ],
    caption=f"{_ALPHA} split: texts on which members differ. asked all: texts that every "
    "member was asked about; what a cascade saves is the rest.",
)


def raters_table(pairs: pl.DataFrame, raters: str) -> Table:
    """Return the table of every two raters; ``raters`` says in its title what they are."""
    title = f"Agreement of {raters} on the texts that both gave a label"
    return RATERS.of(pairs, title=title, caption=_ALPHA if len(pairs) else "")
