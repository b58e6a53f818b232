"""``safemlrm import``: results of other tools, read into a store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import say
from opensafemlrm.cli._output import show_plain
from opensafemlrm.errors import MissingExtraError
from opensafemlrm.text import Format, counted
from opensafemlrm.types import ItemKind, Part

_FormatOption = Annotated[
    Format, typer.Option("--format", help="text; json or jsonl: what came, for programs.")
]
_StoreOption = Annotated[Path, typer.Option(help="The store to read them into.")]


_ROWS: Final = {
    "reply": "SELECT count(*) FROM generations",
    "verdict": "SELECT count(*) FROM verdicts",
    "label": "SELECT count(*) FROM labels",
}
"""What an import brings, and how much of it a store has."""


def _counts(store: lazy.Store) -> dict[str, int]:
    run = store.connection.execute
    return {n: run(query).fetchone()[0] for n, query in _ROWS.items()}


def _news(store: lazy.Store, before: Mapping[str, int], samples: int) -> str:
    """Return what came since ``before``, of ``samples`` replies that were read."""
    new = {noun: n - before[noun] for noun, n in _counts(store).items()}
    came = [counted(n, noun) for noun, n in new.items() if n]
    there = samples - new["reply"]
    if not came:
        return "nothing is new: the store had all of it" if samples else "nothing is new"
    known = f"; {counted(there, 'reply')} {'was' if there == 1 else 'were'} there already"
    return f"new in the store: {', '.join(came)}{known if there > 0 else ''}"


def _tell(done: Any, to: Format, *more: str) -> None:
    """Say what came, and print it for programs where that is asked for."""
    for line in (str(done), *more):
        say(line)
    values = {name: getattr(done, name) for name in done.__slots__}
    counts = {n: sorted(v) if isinstance(v, set) else v for n, v in values.items()}
    show_plain(counts, to, "import")


def import_replies(
    files: Annotated[list[Path], typer.Argument(help=".csv, .tsv, .json, .jsonl or .parquet.")],
    mapping: Annotated[
        str,
        typer.Option(
            help="What its columns hold: a YAML file, or a recipe: vlmevalkit, lmms-eval, eee, "
            "self-jailbreaking, msts, msts-labels, dataset."
        ),
    ],
    store: _StoreOption,
    model: Annotated[
        str | None, typer.Option(help="Who wrote the replies, where no column says it.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="The data set they are of, where no column says it.")
    ] = None,
    attack: Annotated[
        str | None, typer.Option(help="The attack on them, where no column says it.")
    ] = None,
    defense: Annotated[
        str | None, typer.Option(help="The defense, where no column says it.")
    ] = None,
    to: _FormatOption = Format.TEXT,
) -> None:
    """Read files of replies that another tool wrote: all of them, or nothing.

    Tables, reports and pages call their models, data sets and judges "imported". Judge them with
    `safemlrm judges apply`. Importing again changes nothing.
    """
    given = {"model": model, "dataset": dataset, "attack": attack, "defense": defense}
    read = lazy.read_mapping(
        mapping, {name: text for name, text in given.items() if text is not None}
    )
    # Before there is a store: a file that is wrong leaves none behind.
    lazy.check_replies(lazy.replies_in_files(files, read))
    with lazy.Store.open(store, "create") as opened:
        before = _counts(opened)
        done = lazy.put_replies(opened, read.source, lazy.replies_in_files(files, read), read.pairs)
        _tell(done, to, _news(opened, before, done.samples))
    table = "asr" if done.verdicts else "coverage"
    say(f"next: safemlrm table {table} {store}, or safemlrm judges apply JUDGE {store}")


def import_inspect(
    path: Annotated[Path, typer.Argument(help="A log (.eval or .json), or a folder of them.")],
    store: _StoreOption,
    part: Annotated[
        Part, typer.Option(help="The part that scores of other tasks are of.")
    ] = Part.ANSWER,
    unsafe: Annotated[
        list[str] | None,
        typer.Option(
            help="What a scorer of another's means, as 'SCORER>=0.5' or 'SCORER<=0.5'; C is 1 and "
            "I is 0. May be repeated."
        ),
    ] = None,
    benign: Annotated[bool, typer.Option(help="The items of other tasks are benign.")] = False,
    to: _FormatOption = Format.TEXT,
) -> None:
    """Read logs of Inspect AI: of `safemlrm export inspect`, of our tasks or of any other."""
    try:
        from opensafemlrm.interop.inspect_foreign import Unsafe  # noqa: PLC0415 # an extra
        from opensafemlrm.interop.inspect_import import (  # noqa: PLC0415 # an extra
            import_logs,
            logs_at,
        )
    except ImportError as error:
        raise MissingExtraError("import inspect", "inspect") from error

    rules = [Unsafe.parse(text) for text in unsafe or ()]
    kind = ItemKind.BENIGN if benign else ItemKind.HARMFUL
    logs_at(path)  # before there is a store
    with lazy.Store.open(store, "create") as opened:
        before = _counts(opened)
        done = import_logs(path, opened, rules, part, kind)
        _tell(done, to, _news(opened, before, done.samples))
    say(f"next: safemlrm table {'coverage' if done.failed else 'asr'} {store}")


def import_study(
    path: Annotated[Path, typer.Argument(help="The folder of results.")],
    store: _StoreOption,
    to: _FormatOption = Format.TEXT,
) -> None:
    """Read the results that the SafeMLRM study published.

    Score histograms (statistic_results) and per-item results (evaluation_results).
    """
    lazy.results_at(path)  # before there is a store
    with lazy.Store.open(store, "create") as opened:
        before = _counts(opened)
        done = lazy.import_results(path, opened)
        _tell(done, to, *([_news(opened, before, done.samples)] if done.samples else []))
    say(f"next: safemlrm table asr {store} --by scenario")


def import_labels(
    path: Annotated[Path, typer.Argument(help="The CSV file.")],
    store: _StoreOption,
    annotator: Annotated[
        str, typer.Option(help="Who gave them, where the file does not say.")
    ] = "",
    part: Annotated[
        str, typer.Option(help="The part they are of, where the file does not say.")
    ] = "answer",
    to: _FormatOption = Format.TEXT,
) -> None:
    """Read labels of people on replies that the store has.

    A CSV file as `safemlrm export labels` writes it, or a validation set of Inspect Scout (columns
    id and target).
    """
    with lazy.Store.open(store, "write") as opened:
        _tell(lazy.label_exchange.import_labels(path, opened, annotator, part), to)
