"""``safemlrm drift``: how the versions of a series differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.cli import tables
from opensafemlrm.cli._filters import Chosen, choosing
from opensafemlrm.cli._output import Everything, FormatOption, MaxUnscored, show
from opensafemlrm.selection import KINDS
from opensafemlrm.text import Format


@choosing(*KINDS, "by", "part", "threshold", helps={"by": "scenario: the trend of each too."})
def drift(
    store: Annotated[Path, typer.Argument(help="The store, or a folder of Parquet files.")],
    chosen: Chosen,
    to: FormatOption = Format.TEXT,
    max_unscored: MaxUnscored = MAX_UNSCORED,
    everything: Everything = False,
) -> None:
    """Print from which version of a series on replies are worse, and what was forgotten.

    A study names the versions under series: checkpoints of a training, releases of a model, one
    model on several dates. They are compared item by item. By chance alone one table in twenty has
    a version that is called worse, or an interval that misses.
    """
    options = tables.Options(chosen, max_unscored=max_unscored, everything=everything)
    show(tables.make(tables.Name.DRIFT, store, options), to)
