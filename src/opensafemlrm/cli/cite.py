"""``safemlrm cite``: what to cite for the results of a store."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import say
from opensafemlrm.cli._output import show_plain
from opensafemlrm.text import Format


class _As(StrEnum):
    BIBTEX = "bibtex"
    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


def cite(
    store: Annotated[str, typer.Argument(help="The store, or a folder or URL of Parquet files.")],
    to: Annotated[_As, typer.Option("--format", help="How to print it.")] = _As.BIBTEX,
) -> None:
    """Print what to cite: every data set, attack, judge, defense and model of a store.

    Each entry says what of the store it stands for, and the licence of a data set. Where the
    licence forbids commercial use, a line says so.
    """
    with lazy.open_source(store) as source:
        found = lazy.citations(source)
    if to in (_As.JSON, _As.JSONL):
        show_plain([asdict(citation) for citation in found], Format(to.value), "cite")
    else:
        join = "\n" if to is _As.BIBTEX else ""
        entries = [
            citation.bibtex() if to is _As.BIBTEX else f"{citation.words()}\n" for citation in found
        ]
        typer.echo(join.join(entries), nl=False)
    for citation in found:
        if citation.non_commercial:
            say(f"non-commercial use only: {citation.used} ({citation.licence})")
