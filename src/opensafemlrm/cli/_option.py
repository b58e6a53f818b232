"""Components as the command line names them, with their options, and what asking may cost."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._complete import argument_of
from opensafemlrm.cli._console import ExitCode, say
from opensafemlrm.errors import BudgetSpentError, OptionError, StudyError

OptionsOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", help="An option, KEY=VALUE in YAML; may be repeated."),
]

JudgeArgument: TypeAlias = Annotated[
    str,
    argument_of(
        "judge", "A name, `{judge: NAME, model: openai/NAME}` as in a study, or a study file."
    ),
]
DatasetName: TypeAlias = Annotated[str, argument_of("dataset", "The data set's name.")]
DatasetRoot: TypeAlias = Annotated[
    Path | None, typer.Option("--root", help="The folder that holds the release.")
]
DatasetOptions: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", help="An option of the data set, as KEY=VALUE."),
]


def dataset_of(name: str, root: Path | None, options: list[str] | None = None) -> lazy.Dataset:
    """Build a data set as the command line names it. Raises OptionError."""
    given = {} if root is None else {"root": root}
    given |= dict(map(parse_option, options or []))
    dataset: lazy.Dataset = lazy.registry.build(lazy.ComponentKind.DATASET, name, given)
    return dataset


def parse_option(text: str) -> tuple[str, Any]:
    """Return key and value of ``KEY=VALUE``. Raises OptionError for any other form."""
    key, equals, value = text.partition("=")
    try:
        read = lazy.strict_yaml.read(value)[0]
    except lazy.strict_yaml.BadYAMLError as error:
        raise OptionError(
            f"the value of the option {key!r} cannot be read: it is not YAML"
        ) from error
    if not equals or not key:
        raise OptionError(f"an option is given as KEY=VALUE, not {text!r}")
    return key, read


def judge_spec(text: str) -> Any:
    """Return what a study says of a judge that is given as ``NAME`` or ``NAME=MODEL``."""
    name, equals, model = text.partition("=")
    return {"judge": name, "model": model} if equals else name


@contextlib.contextmanager
def judges_by_option(texts: Sequence[str]) -> Iterator[None]:
    """Say of a judge that ``--judge`` names wrongly what to type, in place of a study's key."""
    try:
        yield
    except lazy.SpecError as error:
        messages = []
        for (key, *rest), message in error.mistakes:
            if key != "judges" or not texts:
                raise
            text = texts[int(rest[0])]
            lacks_model = "needs the option 'model'" in message
            form = f"it asks a model: write --judge {text}=PROVIDER/MODEL"
            messages.append(f"--judge {text}: {form if lacks_model else message}")
        raise StudyError(*messages) from error


ADVICE: Final = "everything that came is kept; run the same command to go on"


def budgeted(
    max_requests: int | None, max_cost: float | None, prices: Path | None = None
) -> Callable[[Any], Any]:
    """Return what puts components under one budget, and gives them the prices of a file.

    Raises OptionError, also later for a model without a price.
    """
    limits = lazy.Limits(max_requests, max_cost)
    changes = [] if prices is None else [lazy.Prices.read(prices).over]
    changes += [lazy.budget.Budget(limits).over] if limits.any else []

    return lambda component: functools.reduce(lambda part, over: over(part), changes, component)


def spent(error: BudgetSpentError) -> typer.Exit:
    """Say that a budget is spent, and return how the command ends."""
    say(f"{error}: {ADVICE}")
    return typer.Exit(ExitCode.BUDGET_SPENT)
