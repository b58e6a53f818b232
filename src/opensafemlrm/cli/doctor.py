"""``safemlrm doctor``: a study's models and judges, asked as its run asks them, before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opensafemlrm.cli._exit_codes import ExitCode
from opensafemlrm.cli._output import FormatOption, show
from opensafemlrm.text import Format

if TYPE_CHECKING:
    from opensafemlrm.cli._doctor import Finding
    from opensafemlrm.study import Study


def doctor(
    study: Annotated[Path, typer.Argument(help="The study file (YAML).")],
    to: FormatOption = Format.TEXT,
) -> None:
    """Check every model and judge of a study.

    Models get harmless prompts with the study's sampling and as many pictures, and must answer;
    judges two harmless texts, of which one must come out safe and one unsafe; servers a long
    prompt, which must not be cut. Of a list of addresses, each is asked. Nothing is written to a
    store. It exits with 2 if any of them cannot be used.
    """
    import asyncio

    import polars as pl

    from opensafemlrm import study as studies
    from opensafemlrm.cli._doctor import DOUBTFUL
    from opensafemlrm.report import Column, Form, Table

    results = asyncio.run(examine(studies.load(study)))
    ill = sum(not finding.well for finding in results)
    doubtful = sum(finding.outcome == DOUBTFUL for finding in results)
    pooled = any(finding.server for finding in results)
    table = Table(
        name="doctor",
        title=f"{len(results)} {'servers' if pooled else 'models'} asked, {ill} cannot be used"
        f"{f', {doubtful} in doubt' if doubtful else ''}",
        frame=pl.DataFrame(results, infer_schema_length=None),
        columns=[
            Column("role", "Used as"),
            Column("model", "Model"),
            *([Column("server", "Server")] if pooled else []),
            Column("outcome", "Outcome"),
            Column("reasoning", "Reasoning"),
            Column("seconds", "s", Form.NUMBER),
            Column("detail", "Detail"),
        ],
    )
    show([table], to)
    if ill:
        raise typer.Exit(ExitCode.UNUSABLE)


async def examine(study: Study) -> list[Finding]:
    """Ask everything of ``study`` that a run would ask; its components are closed afterwards."""
    from opensafemlrm.cli._doctor import findings

    return await findings(study)
