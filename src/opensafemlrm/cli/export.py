"""``safemlrm export``: the tidy table and the replies, as a file for other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opensafemlrm.cli._console import say
from opensafemlrm.cli._output import (
    Everything,
    OnlyAttack,
    OnlyDataset,
    OnlyJudge,
    OnlyModel,
    tell_left_out,
)
from opensafemlrm.errors import MissingExtraError, StoreError
from opensafemlrm.text import counted

if TYPE_CHECKING:
    import polars as pl


class What(StrEnum):
    """What can be exported."""

    DATASET = "dataset"
    EEE = "eee"
    FRAME = "frame"
    INSPECT = "inspect"
    REPLIES = "replies"
    LABELS = "labels"
    SCOUT = "scout"
    VALIDATION = "validation"


def export(
    what: Annotated[
        What, typer.Argument(help="The tidy table, the replies, or what people said of them.")
    ],
    store: Annotated[str, typer.Argument(help="The store, or a folder or URL of Parquet files.")],
    path: Annotated[
        Path,
        typer.Argument(
            help="The file: .parquet, .csv or .jsonl. dataset, eee, inspect, scout: the folder."
        ),
    ],
    to: Annotated[
        str | None, typer.Option("--format", help="The format, whatever the file's ending.")
    ] = None,
    judge: OnlyJudge = None,
    dataset: OnlyDataset = None,
    attack: OnlyAttack = None,
    model: OnlyModel = None,
    everything: Everything = False,
    part: Annotated[str, typer.Option(help="validation: answer, reasoning or full.")] = "answer",
) -> None:
    """Write results to a file, for pandas, R or a spreadsheet.

    frame: the tidy table, a row for each sample, part and judge; no text of a reply. replies: a row
    for each sample, with question, prompt, reasoning, answer and verdicts. CAUTION: replies hold
    the texts that models wrote, which may be harmful. labels: a row for each label of a person,
    without texts. validation: a row for each labelled sample, as Inspect Scout's validation sets
    have it. inspect: a log of Inspect AI for each model, data set, attack and defense, for
    `inspect view`, with prompts, pictures and replies. scout: the same as a transcript database of
    Inspect Scout. eee: rates and samples as Every Eval Ever 0.3.0 has them.
    dataset: replies and tidy table as Parquet, with the card that the Hugging Face hub shows.
    """
    from opensafemlrm import results

    only: dict[str, Any] = {"judge": judge, "dataset": dataset, "attack": attack, "model": model}
    if what not in (What.FRAME, What.REPLIES) and any(only.values()):
        raise typer.BadParameter("--judge, --dataset, --attack and --model are for frame, replies")
    if what in (What.DATASET, What.EEE):
        say(_folder(Path(store), what, path))
        return
    if what in (What.LABELS, What.VALIDATION):
        _write(_labels(Path(store), what, part), path, to)
        return
    if what in (What.INSPECT, What.SCOUT):
        for line in _for_inspect(what, store, path).splitlines():
            say(line)
        return
    opened = results.open(store, everything=everything, **only)
    tell_left_out(opened)
    frame = opened.frame() if what is What.FRAME else opened.replies()
    if frame.is_empty():
        raise StoreError(f"{store}: no sample is there to export; nothing was written")
    _write(frame, path, to)


def _write(frame: pl.DataFrame, path: Path, to: str | None) -> None:
    from opensafemlrm.export import write_frame

    write_frame(frame, path, to)
    say(f"{counted(len(frame), 'row')} in {path}")


def _folder(store: Path, what: What, folder: Path) -> str:
    from opensafemlrm.interop.every_eval_ever import export_results
    from opensafemlrm.interop.hub_dataset import export_dataset
    from opensafemlrm.store import Store

    with Store.open(store) as opened:
        return str((export_results if what is What.EEE else export_dataset)(opened, folder))


def _labels(store: Path, what: What, part: str) -> pl.DataFrame:
    from opensafemlrm.interop.label_exchange import label_table, validation_table
    from opensafemlrm.store import Store

    with Store.open(store) as opened:
        frame = label_table(opened) if what is What.LABELS else validation_table(opened, part)
        parts = dict(opened.connection.execute("SELECT part, count(*) FROM labels GROUP BY part"))
    if frame.is_empty() and not parts:
        raise StoreError(
            f"{store}: nobody has labelled a reply yet, so nothing was written; label some with "
            f"`safemlrm label {store} --annotator NAME`, or bring some: `safemlrm import labels`"
        )
    if frame.is_empty():
        there = ", ".join(f"{n:,} of the {name}" for name, n in parts.items())
        lack = "whose text is known" if what is What.LABELS else f"of the {part} that settles it"
        raise StoreError(
            f"{store}: there is no label {lack}; there are {there}: nothing was written"
        )
    return frame


def _for_inspect(what: What, store: str, folder: Path) -> str:
    try:
        from opensafemlrm.interop.inspect_export import export_logs
        from opensafemlrm.interop.scout import export_transcripts
    except ImportError as error:
        raise MissingExtraError(f"export {what}", "inspect") from error
    from opensafemlrm.store.source import open_source

    with open_source(store) as source:
        if what is What.SCOUT:
            count = export_transcripts(source, folder)
            return f"{counted(count, 'transcript')}\nnext: scout db validate {folder}"
        return f"{export_logs(source, folder)}\nnext: inspect view --log-dir {folder}"
