"""``safemlrm defenses``: what can be put around a model."""

from __future__ import annotations

from typing import Annotated

import typer

from opensafemlrm.cli._cards import list_components, show_component
from opensafemlrm.cli._complete import components
from opensafemlrm.cli._option import OptionsOption
from opensafemlrm.cli._output import FormatOption
from opensafemlrm.text import Format


def list_defenses(to: FormatOption = Format.TEXT) -> None:
    """List the defenses; a study composes them as reflect+self-reminder."""
    list_components("defense", to)


def show(
    name: Annotated[
        str,
        typer.Argument(
            help="A defense, or several as in a+b.", autocompletion=components("defense")
        ),
    ],
    option: OptionsOption = None,
    to: FormatOption = Format.TEXT,
) -> None:
    """Show a defense: its paper, what it does and needs, its options, and the texts it adds."""
    show_component("defense", name, option, to)
