"""``safemlrm export``: the tidy table and the replies, as a file for other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import say
from opensafemlrm.cli._filters import Chosen, choosing, refusal
from opensafemlrm.cli._output import Everything, tell_left_out
from opensafemlrm.errors import MissingExtraError, StoreError
from opensafemlrm.selection import KINDS, Selection
from opensafemlrm.text import counted


class FileFormat(StrEnum):
    """What a table can be written as; see :data:`opensafemlrm.export.FORMATS`."""

    PARQUET = "parquet"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"


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


_OF_LABELS: Final = tuple(kind for kind in KINDS if kind != "judge")
_TAKES: Final[Mapping[What, Sequence[str]]] = {
    What.FRAME: (*KINDS, "part", "all", "format"),
    What.REPLIES: (*KINDS, "part", "all", "format"),
    What.EEE: (*KINDS, "part", "threshold", "all"),
    What.DATASET: (*KINDS, "part", "all"),
    What.INSPECT: KINDS,
    What.SCOUT: KINDS,
    What.LABELS: (*_OF_LABELS, "part", "format"),
    What.VALIDATION: (*_OF_LABELS, "part", "format"),
}
"""The options that change what is written."""


@choosing(*KINDS, "part", "threshold", helps={"threshold": "eee: only rates at this threshold."})
def export(
    what: Annotated[
        What, typer.Argument(help="The tidy table, the replies, or what people said of them.")
    ],
    store: Annotated[str, typer.Argument(help="The store, or a folder or URL of Parquet files.")],
    path: Annotated[
        Path,
        typer.Argument(
            help="The file: .parquet, .csv, .json, .jsonl. dataset, eee, inspect, scout: a folder."
        ),
    ],
    chosen: Chosen,
    to: Annotated[
        FileFormat | None, typer.Option("--format", help="The format, whatever the file's ending.")
    ] = None,
    everything: Everything = False,
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
    takes = _TAKES[what]
    chosen.refuse_but(takes, f"export {what}")
    for name, given in (("format", to is not None), ("all", everything)):
        if given and name not in takes:
            raise typer.BadParameter(refusal(f"export {what}", name, takes))
    if what in (What.DATASET, What.EEE):
        for line in _folder(Path(store), what, path, chosen, everything=everything).splitlines():
            say(line)
        return
    if what in (What.LABELS, What.VALIDATION):
        _write(_labels(Path(store), what, chosen), path, to)
        return
    if what in (What.INSPECT, What.SCOUT):
        for line in _for_inspect(what, store, path, chosen).splitlines():
            say(line)
        return
    opened = lazy.results.open(store, everything=everything, **chosen.names)
    tell_left_out(opened)
    part = chosen.rows.part
    frame = chosen.rows.choose(opened.frame()) if what is What.FRAME else opened.replies(part=part)
    if frame.is_empty():
        raise _none(store, "sample", chosen)
    _write(frame, path, to)


def _none(store: Path | str, noun: str, chosen: Chosen) -> StoreError:
    why = chosen.too_narrow(noun) if chosen.given else f"no {noun} is there to export"
    return StoreError(f"{store}: {why}; nothing was written")


def _refuse_none(source: lazy.Source, store: Path | str, chosen: Chosen) -> None:
    """Raise StoreError where the options leave no sample, before an earlier export is replaced."""
    selection = Selection.of(chosen.names)
    rows = chosen.rows.choose(selection.read(source, ("sample", "part", *selection.columns)))
    if chosen.given and rows["sample"].drop_nulls().is_empty():
        raise _none(store, "sample", chosen)


def _write(frame: lazy.pl.DataFrame, path: Path, to: str | None) -> None:
    lazy.write_frame(frame, path, to)
    say(f"{counted(len(frame), 'row')} in {path}")


def _folder(store: Path, what: What, folder: Path, chosen: Chosen, *, everything: bool) -> str:
    with lazy.Store.open(store) as opened:
        opened.everything = everything
        _refuse_none(opened, store, chosen)
        write = lazy.export_results if what is What.EEE else lazy.export_dataset
        return str(write(opened, folder, Selection.of(chosen.names), chosen.rows))


def _labels(store: Path, what: What, chosen: Chosen) -> lazy.pl.DataFrame:
    part = chosen.rows.part or "answer"
    with lazy.Store.open(store) as opened:
        if what is What.LABELS:
            every, sample = lazy.label_exchange.label_table(opened), "sample"
        else:
            every, sample = lazy.label_exchange.validation_table(opened, part), "id"
        parts = dict(opened.connection.execute("SELECT part, count(*) FROM labels GROUP BY part"))
        keys = Selection.of(chosen.names).samples(opened)
    if not parts:
        raise StoreError(
            f"{store}: nobody has labelled a reply yet, so nothing was written; label some with "
            f"`safemlrm label {store} --annotator NAME`, or bring some: `safemlrm import labels`"
        )
    frame = chosen.rows.choose(every)
    frame = frame if keys is None else frame.filter(lazy.pl.col(sample).is_in(keys.implode()))
    if every.is_empty():
        there = ", ".join(f"{n:,} of the {of}" for of, n in parts.items())
        lack = "whose text is known" if what is What.LABELS else f"of the {part} that settles it"
        raise StoreError(
            f"{store}: there is no label {lack}; there are {there}: nothing was written"
        )
    if frame.is_empty():
        raise _none(store, "label", chosen)
    return frame


def _for_inspect(what: What, store: str, folder: Path, chosen: Chosen) -> str:
    try:
        from opensafemlrm.interop.inspect_export import export_logs  # noqa: PLC0415 # an extra
        from opensafemlrm.interop.scout import export_transcripts  # noqa: PLC0415 # an extra
    except ImportError as error:
        raise MissingExtraError(f"export {what}", "inspect") from error

    selection = Selection.of(chosen.names)
    with lazy.open_source(store, everything=True) as source:
        _refuse_none(source, store, chosen)
        if what is What.SCOUT:
            count = export_transcripts(source, folder, selection)
            return f"{counted(count, 'transcript')}\nnext: scout db validate {folder}"
        written = export_logs(source, folder, selection)
        return f"{written}\nnext: inspect view --log-dir {folder}"
