"""``safemlrm new``: begin a component of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from opensafemlrm.cli import _lazy as lazy

_Kind: TypeAlias = Literal["dataset", "attack", "defense", "judge", "model"]


def new(
    kind: Annotated[_Kind, typer.Argument(help="What to begin.")],
    name: Annotated[str, typer.Argument(help="Its name, such as moon-lantern.")],
    plugin: Annotated[
        bool, typer.Option("--plugin", help="Write a package of your own, in a new folder.")
    ] = False,
    root: Annotated[
        Path, typer.Option(help="The checkout, or with --plugin where to put the folder.")
    ] = Path(),
) -> None:
    """Write a small component that works, its test, and the lines that make it known.

    In a checkout of opensafemlrm these are a file, a test, a row of the registry and a row of the
    documents; `make check` is green at once. Then change the file to what you want it to do.
    """
    write = lazy.scaffold.write_package if plugin else lazy.scaffold.write_in_tree
    for path in write(lazy.ComponentKind(kind), name, root):
        typer.echo(path)
