"""``safemlrm attacks`` and ``defenses``: what there is, what it needs, and what an attack sends."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._cards import list_components, show_component
from opensafemlrm.cli._complete import argument_of, components, option_of
from opensafemlrm.cli._console import say
from opensafemlrm.cli._option import OptionsOption, parse_option
from opensafemlrm.cli._output import FormatOption
from opensafemlrm.errors import OptionError, SafeMLRMError
from opensafemlrm.text import Format

_EVERY: Final = "all"
_UNSAFE_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9+=_.-]+")

_Name = Annotated[str, argument_of("attack", "An attack, such as typo or typo+mirror.")]


def list_attacks(to: FormatOption = Format.TEXT) -> None:
    """List the attacks: a transform makes one prompt, a search asks the model on the way."""
    list_components("attack", to)


def show_attack(name: _Name, option: OptionsOption = None, to: FormatOption = Format.TEXT) -> None:
    """Show an attack: its paper, what it does and needs, its options, and the texts that it adds.

    With -o carrier=FILE, or another text of its own, it shows what that file makes of it.
    """
    show_component("attack", name, option, to)


def preview(
    name: Annotated[
        str,
        typer.Argument(
            help="An attack, typo+mirror and the like, or all.",
            autocompletion=components("attack", _EVERY),
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder for the sheets, one PNG an attack.")],
    dataset: Annotated[str, option_of("dataset", "A dataset; canary is harmless.")] = "canary",
    root: Annotated[Path | None, typer.Option(help="The dataset's folder.")] = None,
    items: Annotated[int, typer.Option(min=1, max=50, help="How many items.")] = 4,
    seed: Annotated[int, typer.Option(help="The seed of what is drawn.")] = 0,
    option: OptionsOption = None,
) -> None:
    """Draw what an attack sends for a few items of a dataset. Nothing is sent to anybody.

    Of a search, its first query is drawn. The sheets of a real dataset show its text and pictures:
    they are written to the folder that --out names, and nowhere else.
    """
    subset = lazy.Subset.of(
        lazy.registry.build(lazy.ComponentKind.DATASET, dataset, {"root": root} if root else {}),
        items,
    )
    if name != _EVERY:
        typer.echo(_draw(name, dict(map(parse_option, option or [])), subset, seed, out))
        return
    if option:
        raise OptionError("options are for one attack; name it in place of 'all'")
    for attack in lazy.registry.names(lazy.ComponentKind.ATTACK):
        try:
            typer.echo(_draw(*_form(attack, subset), subset, seed, out))
        except SafeMLRMError as error:
            say(f"no sheet of {attack}: {error}")


def _form(name: str, subset: lazy.Subset) -> tuple[str, dict[str, Any]]:
    """Return name and options: where items have no images, what needs one starts from typo."""
    cls = lazy.registry.find(lazy.ComponentKind.ATTACK, name)
    first = next(subset.items(), None)
    if first is not None and not first.images:
        if issubclass(cls, lazy.Edit):
            return f"typo+{name}", {}
        if any(field.name == "base" for field in dataclasses.fields(cls)):
            return name, {"base": "typo"}
    return name, {}


def _draw(name: str, options: dict[str, Any], subset: lazy.Subset, seed: int, out: Path) -> Path:
    attack = lazy.registry.build(lazy.ComponentKind.ATTACK, name, options)
    label = attack.label
    sent = [(item, attack.preview(item, seed)) for item in subset.items()]
    lazy.make_folder(out)
    path = out / f"{_UNSAFE_IN_NAMES.sub('_', label).strip('_')}.png"
    lazy.write_atomic(
        path, lazy.contact_sheet(f"{label} on {subset.dataset.name}, seed {seed}", sent)
    )
    return path


def list_defenses(to: FormatOption = Format.TEXT) -> None:
    """List the defenses; a study composes them as reflect+self-reminder."""
    list_components("defense", to)


def show_defense(
    name: Annotated[str, argument_of("defense", "A defense, or several as in a+b.")],
    option: OptionsOption = None,
    to: FormatOption = Format.TEXT,
) -> None:
    """Show a defense: its paper, what it does and needs, its options, and the texts it adds."""
    show_component("defense", name, option, to)
