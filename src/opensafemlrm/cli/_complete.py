"""What a shell completes: names of components, and of what a store holds. Nothing heavy is read."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Iterable
from contextlib import closing
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any

import typer

from opensafemlrm.cli import _lazy as lazy

_DATABASE = "store.sqlite"  # as store.connecting has it, which takes too long to import here


def components(kind: str, *more: str) -> Callable[[str], list[str]]:
    """Complete the names of a kind of component, of other packages too, and ``more``.

    Of a composed name, such as ``typo+mirror``, it completes the last.
    """

    def complete(incomplete: str) -> list[str]:
        own = lazy.ComponentKind(kind)
        plugins = [point.name for point in entry_points(group=f"opensafemlrm.{kind}s")]
        names = {*lazy.built_in(own), *plugins, *more}
        before, plus, _ = (
            incomplete.rpartition("+") if lazy.COMPOSED in lazy.classes(own) else ("", "", "")
        )
        return _beginning(incomplete, (f"{before}{plus}{name}" for name in names))

    return complete


def option_of(kind: str, help_text: str, **more: Any) -> Any:
    """Return an option that takes the name of a component, which a shell completes."""
    return typer.Option(help=help_text, autocompletion=components(kind), **more)


def argument_of(kind: str, help_text: str) -> Any:
    """Return an argument that is the name of a component, which a shell completes."""
    return typer.Argument(help=help_text, autocompletion=components(kind))


def models(incomplete: str) -> list[str]:
    """Complete ``PROVIDER/``, and the models behind a provider that this project knows."""
    provider, slash, _ = incomplete.partition("/")
    if not slash:
        return _beginning(
            incomplete,
            (f"{name}/" for name in lazy.built_in(lazy.ComponentKind.MODEL)),
        )
    rest = incomplete.removeprefix(f"{provider}/")
    if provider == "sim":
        figures = _read("models/demo/data/sim_figures.json", json.loads)
        names: Iterable[str] = {path.partition("/")[0] for path in figures}
    else:
        names = catalog_models(rest)
    return _beginning(incomplete, (f"{provider}/{name}" for name in names))


def catalog_models(incomplete: str) -> list[str]:
    """Complete the hub ids of the catalogue."""
    rows = _read("models/catalog.toml", tomllib.loads)["model"]
    return _beginning(incomplete, (row["id"] for row in rows))


def stored(kind: str) -> Callable[[str], list[str]]:
    """Complete the names of a kind that the store has which the command line names."""

    def complete(incomplete: str) -> list[str]:
        # An option that still lacks its value leaves nothing parsed: the words are all there is.
        line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
        paths = (Path(word.strip("'\"")) / _DATABASE for word in line.split())
        database = next((path for path in paths if path.is_file()), None)
        if database is None:
            return []
        query = (
            "SELECT DISTINCT scenario FROM items"
            if kind == "scenario"
            else "SELECT DISTINCT label FROM components WHERE kind = ?"
        )
        values = () if kind == "scenario" else (kind,)
        try:
            with closing(
                lazy.sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
            ) as c:
                return _beginning(incomplete, (row[0] for row in c.execute(query, values)))
        except lazy.sqlite3.Error:
            return []

    return complete


def _read(name: str, parse: Callable[[str], Any]) -> Any:
    return parse((files("opensafemlrm") / name).read_text(encoding="utf-8"))


def _beginning(start: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(start))
