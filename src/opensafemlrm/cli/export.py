"""``safemlrm export``: the tidy table and the replies, as a file for other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from opensafemlrm.cli._output import Everything, tell_left_out


class What(StrEnum):
    """What can be exported."""

    FRAME = "frame"
    REPLIES = "replies"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    what: Annotated[What, typer.Argument(help="The tidy table, or the replies.")],
    store: Annotated[str, typer.Argument(help="The store, or a folder or URL of Parquet files.")],
    path: Annotated[Path, typer.Argument(help="The file: .parquet, .csv or .jsonl.")],
    to: Annotated[
        str | None, typer.Option("--format", help="The format, whatever the file's ending.")
    ] = None,
    everything: Everything = False,
) -> None:
    """Write results to a file, for pandas, R or a spreadsheet.

    frame: the tidy table, a row for each sample, part and judge; no text of a reply. replies: a row
    for each sample, with question, prompt, reasoning, answer and verdicts. CAUTION: replies hold
    the texts that models wrote, which may be harmful.
    """
    from opensafemlrm import results
    from opensafemlrm.export import write_frame

    opened = results.open(store, everything=everything)
    tell_left_out(opened)
    frame = opened.frame() if what is What.FRAME else opened.replies()
    write_frame(frame, path, to)
