"""``safemlrm attacks`` and ``defenses``: what there is, what it needs, the texts that it adds, and
what an attack sends.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._complete import argument_of, components, option_of
from opensafemlrm.cli._console import say
from opensafemlrm.cli._option import OptionsOption, parse_option
from opensafemlrm.cli._output import FormatOption, line_width, print_wrapped, show, table_of
from opensafemlrm.errors import OptionError, SafeMLRMError
from opensafemlrm.text import Format, for_terminal

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
    columns = {"name": kind.capitalize(), "kind": "Kind", "title": "What it is"}
    frame = lazy.pl.DataFrame(rows)
    if kind == "defense":
        del columns["kind"]
        frame = frame.drop("kind")
    show([table_of(f"{kind}s", f"{len(rows)} {kind}s", columns, frame)], to)


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
        columns = {"part": kind.capitalize(), "key": "Fact", "value": ""}
        show([table_of(kind, name, columns, frame)], to)
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
            print_text(value)
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


_INDENT: Final = " " * 4


def print_text(line: str) -> None:
    """Print a line of :func:`texts`: the words of a prompt stay in their own lines."""
    typer.echo(for_terminal(line)) if line[:1] in ("", " ") else print_wrapped(line)


def texts(component: type[Any], files: Mapping[str, Any]) -> Iterator[str]:
    """Yield what each of the texts says, with its places; ``files`` has those of the user's.

    Raises OptionError for a file that cannot be used.
    """
    fields, key = dataclasses.fields(component), lazy.text_file.WORDS
    options = {field.name: field.metadata[key] for field in fields if key in field.metadata}
    for unknown in files.keys() - options.keys():
        known = ", ".join(options) or "none"
        raise OptionError(f"{unknown!r} is no text of {component.name!r}; its texts: {known}")
    for option, words in options.items():
        if not words.own and option not in files:
            yield f"text {option}: this project's words, in src/opensafemlrm/judges/prompts/"
            continue
        try:
            given = lazy.text_file.TextFile.read(files[option]) if option in files else None
            parsed = lazy.text_file.template(words, given)
        except ValueError as error:
            raise OptionError(f"{option}: {error}") from error
        places = ", ".join(f"{{{name}}}" for name in words.names) or "none"
        of = "this project's words" if given is None else f"{given}, sha256 {given.identity()}"
        yield f"text {option} ({of}; places: {places})"
        for line in parsed.text.strip("\n").split("\n"):
            width = min(92, line_width()[0])
            yield from textwrap.wrap(line, width, initial_indent=_INDENT, subsequent_indent=_INDENT)
