"""``safemlrm models``: the catalogue of models that are known by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from opensafemlrm.models.catalog import Pair, Row
    from opensafemlrm.report import Table


class Format(StrEnum):
    """What a listing is printed as."""

    TEXT = "text"
    MD = "md"
    CSV = "csv"
    JSON = "json"


_Format = Annotated[Format, typer.Option("--format", help="What to print.")]


@dataclass(frozen=True, slots=True)
class ListRow:
    """A model, in short; what is not known is ``None``."""

    id: str
    base: str | None
    family: str
    format: str
    thinking: str | None
    """Whether a model with a switch reasons when nothing is said."""
    context: int | None
    licence: str | None
    paper: str | None


@dataclass(frozen=True, slots=True)
class PairRow:
    """A reasoning model and its base."""

    reasoner: str
    base: str
    switch: bool
    """Whether the base is the same model with its reasoning off."""
    family: str


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="The models that are known by name; others work as well.", no_args_is_help=True
    )
    group.command("list")(list_models)
    group.command("show")(show)
    group.command("pairs")(pairs)
    app.add_typer(group, name="models")


def list_models(to: _Format = Format.TEXT) -> None:
    """List the models, with what they were trained from and how they write their reasoning."""
    from opensafemlrm.models import catalog
    from opensafemlrm.report import Column, Form

    columns = [
        Column("id", "Model"),
        Column("base", "Base"),
        Column("format", "Reasoning"),
        Column("thinking", "Switch"),
        Column("context", "Context", Form.COUNT),
    ]
    rows = [_list_row(row) for row in catalog.rows()]
    caption = (
        "Switch: one model, whose reasoning is on or off if nothing is said. "
        "–: not known, or none. `safemlrm models show NAME` tells the rest."
    )
    _print(_table("models", f"{len(rows)} models", rows, columns, caption), to)


def show(
    name: Annotated[str, typer.Argument(help="Its hub id, or a name of the published study.")],
    to: _Format = Format.TEXT,
) -> None:
    """Show everything that is known of a model."""
    from opensafemlrm.errors import UnknownNameError
    from opensafemlrm.models import catalog
    from opensafemlrm.text import for_terminal

    row = catalog.find(name)
    if row is None:
        raise UnknownNameError("model in the catalogue", name, [r.id for r in catalog.rows()])
    known = row.model_dump(mode="json")
    if to is Format.JSON:
        typer.echo(json.dumps(known, ensure_ascii=False, indent=2))
        return
    for key, value in known.items():
        typer.echo(f"{key:<14} {for_terminal(_shown(value))}")


def pairs(to: _Format = Format.TEXT) -> None:
    """List the pairs of a reasoning model and its base: what `pairs: auto` finds in a study."""
    from opensafemlrm.models import catalog
    from opensafemlrm.report import Column

    columns = [Column("reasoner", "Reasoning model"), Column("base", "Base")]
    rows = [_pair_row(pair) for pair in catalog.pairs()]
    caption = "A model that stands on both sides is its own base, with its reasoning off."
    _print(_table("pairs", f"{len(rows)} pairs", rows, columns, caption), to)


def _list_row(row: Row) -> ListRow:
    return ListRow(
        row.id,
        row.base,
        row.family,
        row.format,
        row.thinking,
        row.context,
        row.licence,
        row.paper,
    )


def _pair_row(pair: Pair) -> PairRow:
    return PairRow(pair.reasoner.id, pair.base.id, pair.is_switch, pair.reasoner.family)


def _shown(value: Any) -> str:
    if value is None or value in ([], {}):
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(name: str, title: str, rows: list[Any], columns: list[Any], caption: str) -> Table:
    import polars as pl

    from opensafemlrm.report import Table

    return Table(name, title, columns, pl.DataFrame(rows, infer_schema_length=None), caption)


def _print(table: Table, to: Format) -> None:
    from opensafemlrm.report import Format as ReportFormat
    from opensafemlrm.report import render

    typer.echo(render(table, ReportFormat(to.value)), nl=False)
