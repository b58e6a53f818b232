"""The options that choose what a command shows: one set, for tables, reports, exports, samples."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from typing import Annotated, Any, Final

import typer

from opensafemlrm.cli import _complete
from opensafemlrm.selection import GROUPINGS, KINDS, MEANS, RowChoice
from opensafemlrm.types import Part


def _words(name: str, words: Sequence[str]) -> Any:
    """Return the words of an option, as the parser of the command line takes them."""
    members = [(word.upper(), word) for word in words]
    return StrEnum(name, members)


ROWS: Final = ("by", "part", "threshold", "mean")
ALL: Final = (*KINDS, *ROWS)

_HELP: Final[Mapping[str, str]] = {
    "judge": "Only this judge's verdicts; repeatable.",
    "dataset": "Only this data set; repeatable.",
    "attack": "Only this attack; repeatable.",
    "model": "Only this model, and its base; repeatable.",
    "defense": "Only this defense; repeatable.",
    "scenario": "Only this scenario; repeatable.",
    "by": "scenario: a row for each. Others: this name first, and rows that share it together.",
    "part": "Only this part of the replies.",
    "threshold": "Only this threshold of the judge.",
    "mean": "Only rows over all samples (micro) or over scenarios (macro).",
}
_TYPES: Final[Mapping[str, Any]] = {
    "by": _words("By", GROUPINGS),
    "part": Part,
    "threshold": float,
    "mean": _words("Mean", MEANS),
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the options choose; what is left out chooses nothing."""

    names: Mapping[str, Any]
    """Names by their kind: judges, data sets and so on."""
    rows: RowChoice

    @property
    def given(self) -> tuple[str, ...]:
        """The options that were given."""
        rows = (name for name in ROWS if getattr(self.rows, name) is not None)
        return (*(kind for kind, names in self.names.items() if names), *rows)

    def too_narrow(self, what: str) -> str:
        """Return the sentence that no ``what`` is of all that is chosen, and what to leave out."""
        given = [f"--{option}" for option in self.given]
        leave = f"leave out one of {', '.join(given)}" if given[1:] else f"leave out {given[0]}"
        return f"no {what} here is of all that you chose: {leave}"

    def refuse_but(self, takes: Collection[str], what: str) -> None:
        """Raise BadParameter for an option that ``what`` does not take: it says which it takes."""
        for name in self.given:
            if name not in takes:
                raise typer.BadParameter(refusal(what, name, takes))


def refusal(what: str, name: str, takes: Collection[str]) -> str:
    """Return the sentence that ``what`` does not take an option, and which it takes."""
    takes = [f"--{other.replace('_', '-')}" for other in takes]
    return f"{what} takes no --{name.replace('_', '-')}; it takes {', '.join(takes) or 'none such'}"


def choosing(
    *takes: str, helps: Mapping[str, str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these options, as its argument ``chosen``; all others refuse with a reason."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(*args: Any, **values: Any) -> None:
            given = {name: values.pop(name) for name in ALL}
            rows = {name: given[name] for name in ROWS}
            names = {kind: given[kind] for kind in KINDS}
            chosen = Chosen(names, RowChoice(**rows))
            chosen.refuse_but(takes, typer_name(command))
            command(*args, chosen=chosen, **values)

        own = inspect.signature(command, eval_str=True)
        parameters = [p for p in own.parameters.values() if p.name != "chosen"]
        for name in ALL:
            kind: Any = list[str] if name in KINDS else _TYPES[name]
            option = typer.Option(
                f"--{name}",
                help={**_HELP, **(helps or {})}[name],
                hidden=name not in takes,
                autocompletion=_complete.stored(name) if name in KINDS else None,
            )
            annotation = Annotated[kind | None, option]
            parameters.append(
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
                )
            )
        run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def typer_name(command: Callable[..., None]) -> str:
    """Return what people type for a command's function."""
    return command.__name__.strip("_").replace("_", "-")
