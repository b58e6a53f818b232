"""What ``list`` and ``show`` of attacks and defenses print."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import say
from opensafemlrm.cli._option import parse_option
from opensafemlrm.cli._output import print_wrapped, show
from opensafemlrm.cli._texts import texts
from opensafemlrm.text import Format, for_terminal

Kind = Literal["attack", "defense"]


def list_components(kind: Kind, to: Format) -> None:
    """Print the components of a kind, those of plugins among them."""
    rows = [
        {
            "name": name,
            "kind": "search" if issubclass(cls, lazy.Search) else "transform",
            "title": cls.card.title,
            "paper": cls.card.paper,
            "version": cls.version,
        }
        for name, cls in lazy.registry.available(lazy.ComponentKind(kind), say).items()
    ]
    columns = [lazy.Column("name", kind.capitalize()), lazy.Column("title", "What it is")]
    if kind == "attack":
        columns.insert(1, lazy.Column("kind", "Kind"))
    frame = lazy.pl.DataFrame(rows) if kind == "attack" else lazy.pl.DataFrame(rows).drop("kind")
    show([lazy.Table(f"{kind}s", f"{len(rows)} {kind}s", columns, frame)], to)


def show_component(kind: Kind, name: str, option: Sequence[str] | None, to: Format) -> None:
    """Print the card, the options and the texts of a component, or of the parts of ``a+b``."""
    files = dict(map(parse_option, option or []))
    facts = [
        (part, key, value)
        for part in name.split("+")
        for key, value in _facts(lazy.registry.find(lazy.ComponentKind(kind), part), files)
    ]
    if to is not Format.TEXT:
        frame = lazy.pl.DataFrame(facts, {"part": str, "key": str, "value": str}, orient="row")
        columns = [
            lazy.Column("part", kind.capitalize()),
            lazy.Column("key", "Fact"),
            lazy.Column("value", ""),
        ]
        show([lazy.Table(kind, name, columns, frame)], to)
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
    is_made = field.default is dataclasses.MISSING
    return repr(field.default_factory() if is_made else field.default)
