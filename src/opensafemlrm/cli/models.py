"""``safemlrm models``: the catalogue of models that are known by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._complete import catalog_models
from opensafemlrm.cli._output import FormatOption, print_wrapped, show_plain, table_of
from opensafemlrm.cli._output import show as show_tables
from opensafemlrm.errors import UnknownNameError
from opensafemlrm.text import Format

_LISTED: Final = (
    *("id", "base", "base_note", "family", "format", "thinking", "context", "licence", "paper"),
    "source",
)


def list_models(to: FormatOption = Format.TEXT) -> None:
    """List the models, their bases, and how they write their reasoning."""
    rows = [row.model_dump(include=set(_LISTED)) for row in lazy.catalog.rows()]
    columns = {
        **{"id": "Model", "base": "Base", "format": "Reasoning", "thinking": "Switch"},
        "context": ("Context", lazy.Form.COUNT),
    }
    frame = lazy.pl.DataFrame(rows, infer_schema_length=None).select(_LISTED)
    caption = (
        "Switch: one model, whose reasoning is on or off if nothing is said. –: not known, or none."
        " `safemlrm models show NAME` shows the rest."
    )
    show_tables([table_of("models", f"{len(rows)} models", columns, frame, caption)], to)


def show(
    name: Annotated[
        str,
        typer.Argument(
            help="Its hub id, or a name of the published study.", autocompletion=catalog_models
        ),
    ],
    to: FormatOption = Format.TEXT,
) -> None:
    """Show everything that is known of a model."""
    row = lazy.catalog.find(name)
    if row is None:
        names = [known for r in lazy.catalog.rows() for known in (r.id, *r.aliases)]
        where = "`safemlrm models list` shows all"
        raise UnknownNameError("model in the catalogue", name, names, where)
    known = {**row.model_dump(mode="json"), **_look(row.format)}
    if to in (Format.JSON, Format.JSONL):
        show_plain(known, to, "models show")
        return
    shown = {key: _shown(value) for key, value in known.items()}
    if to is not Format.TEXT:
        rows = [{"key": key, "value": value} for key, value in shown.items()]
        show_tables([table_of("model", row.id, {"key": "Key", "value": "Value"}, rows)], to)
        return
    for key, value in shown.items():
        print_wrapped(f"{key:<14} {value}", hanging=" " * 15)


def pairs(to: FormatOption = Format.TEXT) -> None:
    """List reasoning models with their bases: what `pairs: auto` finds in a study."""
    rows = [
        {
            "reasoner": pair.reasoner.id,
            "base": pair.base.id,
            "switch": pair.is_switch,
            "family": pair.reasoner.family,
        }
        for pair in lazy.catalog.pairs()
    ]
    columns = {"reasoner": "Reasoning model", "base": "Base"}
    caption = "A model on both sides is its own base, with its reasoning off."
    show_tables([table_of("pairs", f"{len(rows)} pairs", columns, rows, caption)], to)


def formats(to: FormatOption = Format.TEXT) -> None:
    """List the formats of reasoning, and which of them `auto` detects in a reply."""
    rows = [
        {
            "name": form.name,
            "summary": form.summary,
            "detected": form.is_detected,
            "models": list(form.models),
            "source": form.source or None,
        }
        for form in lazy.reasoning.FORMATS.values()
    ]
    columns = {"name": "Format", "summary": "A reply", "detected": "Auto"}
    caption = "docs/formats.md says how `auto` decides, and how to describe a format of your own."
    show_tables([table_of("formats", f"{len(rows)} formats", columns, rows, caption)], to)


def _look(reasoning_format: str | Mapping[str, Any]) -> dict[str, str]:
    """Return what a reply looks like, and where that was seen."""
    form = lazy.reasoning.resolve(reasoning_format)
    return {"reply": form.summary, "format_source": form.source}


def _shown(value: Any) -> str:
    if value in (None, "", [], {}):
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
