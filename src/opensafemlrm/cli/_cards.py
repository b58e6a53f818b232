"""What ``list`` and ``show`` of attacks and defenses print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import typer

from opensafemlrm.cli._console import say
from opensafemlrm.cli._option import parse_option
from opensafemlrm.cli._output import print_wrapped, show
from opensafemlrm.text import Format

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["attack", "defense"]


def list_components(kind: Kind, to: Format) -> None:
    """Print the components of a kind, those of plugins among them."""
    import polars as pl

    from opensafemlrm.components import Search
    from opensafemlrm.registry import ComponentKind, available
    from opensafemlrm.report import Column, Table

    rows = [
        {
            "name": name,
            "kind": "search" if issubclass(cls, Search) else "transform",
            "title": cls.card.title,
            "paper": cls.card.paper,
            "version": cls.version,
        }
        for name, cls in available(ComponentKind(kind), say).items()
    ]
    columns = [Column("name", kind.capitalize()), Column("title", "What it is")]
    if kind == "attack":
        columns.insert(1, Column("kind", "Kind"))
    frame = pl.DataFrame(rows) if kind == "attack" else pl.DataFrame(rows).drop("kind")
    show([Table(f"{kind}s", f"{len(rows)} {kind}s", columns, frame)], to)


def show_component(kind: Kind, name: str, option: Sequence[str] | None, to: Format) -> None:
    """Print the card, the options and the texts of a component, or of the parts of ``a+b``."""
    import polars as pl

    from opensafemlrm.registry import ComponentKind, find
    from opensafemlrm.report import Column, Table
    from opensafemlrm.text import for_terminal

    files = dict(map(parse_option, option or []))
    facts = [
        (part, key, value)
        for part in name.split("+")
        for key, value in _facts(find(ComponentKind(kind), part), files)
    ]
    if to is not Format.TEXT:
        frame = pl.DataFrame(facts, {"part": str, "key": str, "value": str}, orient="row")
        columns = [Column("part", kind.capitalize()), Column("key", "Fact"), Column("value", "")]
        show([Table(kind, name, columns, frame)], to)
        return
    for part, key, value in facts:
        if key == "title":
            print_wrapped(f"{part} {value}")
        elif key == "description":
            typer.echo()
            for paragraph in value.split("\n\n"):
                print_wrapped(paragraph)
                typer.echo()
        elif key == "text":
            typer.echo(for_terminal(value))
        else:
            print_wrapped(f"{key}: {value}", hanging="    ")


def _facts(cls: Any, files: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what there is to know of a component: what, and its value."""
    import dataclasses
    import inspect

    from opensafemlrm.cli._texts import texts

    card = cls.card
    yield "title", f"{cls.version}: {card.title}"
    for key in ("paper", "source", "licence", "notes"):
        if value := getattr(card, key):
            yield key, value
    # As people read it: what a program calls by its name stands between quotes in its source.
    yield "description", (inspect.getdoc(cls) or "").replace("``", "")
    missing = dataclasses.MISSING
    for field in dataclasses.fields(cls):
        if field.init:
            is_needed = field.default is missing and field.default_factory is missing
            yield f"option {field.name}", "needed" if is_needed else _default(field)
    for text in texts(cls, files):
        yield "text", text


def _default(field: Any) -> str:
    import dataclasses

    is_made = field.default is dataclasses.MISSING
    return repr(field.default_factory() if is_made else field.default)
