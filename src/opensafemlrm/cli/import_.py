"""``safemlrm import``: results of other tools, read into a store."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from opensafemlrm.cli._console import say
from opensafemlrm.errors import MissingExtraError


class Source(StrEnum):
    """Whose results can be read."""

    OPENSAFEMLRM = "opensafemlrm"
    INSPECT = "inspect"
    LABELS = "labels"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_results)


def import_results(
    source: Annotated[Source, typer.Argument(help="Whose results they are, or labels of people.")],
    path: Annotated[Path, typer.Argument(help="The folder or file they are in.")],
    store: Annotated[Path, typer.Option(help="The store to read them into.")],
    annotator: Annotated[
        str, typer.Option(help="labels: who gave them, where the file does not say.")
    ] = "",
    part: Annotated[
        str,
        typer.Option(help="labels, inspect: the part they are of, where the file does not say."),
    ] = "answer",
    unsafe: Annotated[
        list[str] | None,
        typer.Option(
            help="inspect: what a scorer of another's means, as 'SCORER>=0.5' or 'SCORER<=0.5'; "
            "C is 1 and I is 0. May be repeated."
        ),
    ] = None,
    benign: Annotated[
        bool, typer.Option(help="inspect: the items of other tasks are benign.")
    ] = False,
) -> None:
    """Read published results, or labels of people, into a store.

    Every table works on them then.

    opensafemlrm: the score histograms (statistic_results) and per-item results
    (evaluation_results) that were published with the study. labels: a CSV file as `safemlrm export
    labels` writes it, or a validation set of Inspect Scout (columns id and target). inspect: logs
    of Inspect AI, of `safemlrm export inspect`, of our tasks or of any other.
    """
    from opensafemlrm.interop.label_exchange import import_labels
    from opensafemlrm.interop.opensafemlrm import import_results as read
    from opensafemlrm.store import Store

    if source is Source.LABELS:
        with Store.open(store, "write") as opened:
            say(str(import_labels(path, opened, annotator, part)))
        return
    if source is Source.INSPECT:
        say(_logs(path, store, unsafe or (), part, benign=benign))
        return
    with Store.open(store, "create") as opened:
        say(str(read(path, opened)))
    say(f"next: safemlrm table asr {store} --by scenario")


def _logs(path: Path, store: Path, unsafe: Sequence[str], part: str, *, benign: bool) -> str:
    try:
        from opensafemlrm.interop.inspect_foreign import Unsafe
        from opensafemlrm.interop.inspect_import import import_logs
    except ImportError as error:
        raise MissingExtraError("import inspect", "inspect") from error
    from opensafemlrm.store import Store
    from opensafemlrm.types import ItemKind, Part

    rules = [Unsafe.parse(text) for text in unsafe]
    kind = ItemKind.BENIGN if benign else ItemKind.HARMFUL
    with Store.open(store, "create") as opened:
        return str(import_logs(path, opened, rules, Part(part), kind))
