"""``safemlrm drift``: how the versions of a series differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.cli import tables
from opensafemlrm.cli._output import (
    Everything,
    FormatOption,
    MaxUnscored,
    OnlyAttack,
    OnlyDataset,
    OnlyJudge,
    OnlyModel,
    show,
)
from opensafemlrm.text import Format
from opensafemlrm.types import Part


def drift(
    store: Annotated[Path, typer.Argument(help="The store, or a folder of Parquet files.")],
    to: FormatOption = Format.TEXT,
    by: Annotated[
        tables.By | None,
        typer.Option(help="scenario: the trend of each too. Others: put this name first."),
    ] = None,
    part: Annotated[Part | None, typer.Option(help="Print only the rows of this part.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Print only the rows at this threshold of the judge.")
    ] = None,
    max_unscored: MaxUnscored = MAX_UNSCORED,
    judge: OnlyJudge = None,
    dataset: OnlyDataset = None,
    attack: OnlyAttack = None,
    model: OnlyModel = None,
    everything: Everything = False,
) -> None:
    """Print from which version of a series on replies are worse, and what was forgotten.

    A study names the versions under series: checkpoints of a training, releases of a model, one
    model on several dates. They are compared item by item. By chance alone one table in twenty has
    a version that is called worse, or an interval that misses.
    """
    options = tables.Options(
        by=by,
        threshold=threshold,
        part=part,
        max_unscored=max_unscored,
        everything=everything,
        only={"judge": judge, "dataset": dataset, "attack": attack, "model": model},
    )
    show(tables.make(tables.Name.DRIFT, store, options), to)
