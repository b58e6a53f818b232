"""``safemlrm doctor``: a study's models and judges, asked as its run asks them, before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import ExitCode
from opensafemlrm.cli._option import budgeted
from opensafemlrm.cli._output import (
    FormatOption,
    MaxCost,
    MaxRequests,
    PricesOption,
    print_wrapped,
    show,
    table_of,
)
from opensafemlrm.text import Format, counted


def doctor(
    study: Annotated[Path, typer.Argument(help="The study file (YAML).")],
    max_requests: MaxRequests = None,
    max_cost: MaxCost = None,
    prices: PricesOption = None,
    to: FormatOption = Format.TEXT,
) -> None:
    """Check every model and judge of a study.

    Models get harmless prompts with the study's sampling and as many pictures, and must answer;
    judges two harmless texts, of which one must come out safe and one unsafe; servers a long
    prompt, which must not be cut. Of a list of addresses, each is asked. Nothing is written to a
    store. It exits with 2 if any of them cannot be used, and with 3 if a budget ended it.
    """
    within = budgeted(max_requests, max_cost, prices)
    results = lazy.asyncio.run(lazy.doctor.findings(lazy.study.load(study), within))
    cut = sum(finding.outcome == lazy.doctor.NOT_ASKED for finding in results)
    ill = sum(not finding.well for finding in results) - cut
    doubtful = sum(finding.outcome == lazy.doctor.DOUBTFUL for finding in results)
    of = "server" if any(finding.server for finding in results) else "model"
    title = f"{counted(len(results), of)} asked, {ill} cannot be used"
    title += f", {doubtful} in doubt" if doubtful else ""
    title += f", {cut} not asked to the end" if cut else ""
    if to is Format.TEXT:
        _print(title, results)
    else:
        _show(title, results, to)
    if ill or cut:
        raise typer.Exit(ExitCode.UNUSABLE if ill else ExitCode.BUDGET_SPENT)


def _print(title: str, results: Sequence[lazy.doctor.Finding]) -> None:
    """Print what came of each model in a paragraph: details are too long for a table."""
    typer.echo(title)
    for finding in results:
        used = "" if finding.role == "model" else f" ({finding.role})"
        used += f" at {finding.server}" if finding.server else ""
        outcome = finding.outcome if finding.well else finding.refused
        took = "" if finding.seconds is None else f", {finding.seconds:.1f} s"
        typer.echo()
        print_wrapped(f"{finding.model}{used}: {outcome}{took}", hanging="  ")
        if finding.reasoning:
            print_wrapped(f"reasoning: {finding.reasoning}", "  ", "    ")
        if finding.detail:
            print_wrapped(finding.detail, "  ")


def _show(title: str, results: Sequence[lazy.doctor.Finding], to: Format) -> None:
    columns: dict[str, Any] = {"role": "Used as", "model": "Model"}
    columns |= {"server": "Server"} if any(finding.server for finding in results) else {}
    columns |= {"outcome": "Outcome", "reasoning": "Reasoning"}
    columns |= {"seconds": ("s", lazy.Form.NUMBER), "detail": "Detail"}
    show([table_of("doctor", title, columns, results)], to)
