"""``safemlrm datasets derive`` and ``review``: what attacks need, written before a study runs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import ExitCode, say
from opensafemlrm.cli._option import (
    DatasetName,
    DatasetOptions,
    DatasetRoot,
    budgeted,
    dataset_of,
    spent,
)
from opensafemlrm.cli._output import FormatOption, MaxCost, MaxRequests, PricesOption, table_of
from opensafemlrm.cli._output import show as show_tables
from opensafemlrm.errors import BudgetSpentError, OptionError
from opensafemlrm.text import Format, counted, for_terminal
from opensafemlrm.types import Item

_KEYS: Final = "a accept · e write it yourself · r reject · A accept all that are left · q quit"


def derive(
    name: DatasetName,
    out: Annotated[Path, typer.Option(help="The file to write, or to go on with.")],
    root: DatasetRoot = None,
    option: DatasetOptions = None,
    model: Annotated[
        str | None,
        typer.Option(help="The helper model, as a study names one; left out, rules derive."),
    ] = None,
    prompt: Annotated[
        Path | None,
        typer.Option(help="A prompt of yours for the helper, with the place {question}."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Items at most, over scenarios.")] = None,
    max_requests: MaxRequests = None,
    max_cost: MaxCost = None,
    prices: PricesOption = None,
    to: FormatOption = Format.TEXT,
) -> None:
    """Derive what attacks need and a data set does not ship: instruction, key phrase, rephrasing.

    Rules derive them where a question's form leaves no doubt. With --model a helper model writes
    them: look through what it wrote with `safemlrm datasets review`. Then name the file in the
    study, {attack: figstep, derive: FILE}. Several data sets can share a file; what is in it is not
    asked again.
    """
    dataset = dataset_of(name, root, option)
    items = [*lazy.Subset.of(dataset, limit, skip_invalid=True).items()]
    there = _rows(out)
    wanted = [
        item
        for item in items
        if lazy.derivation.missing(item)
        and (
            (row := there.get((item.dataset, item.id))) is None
            or row.question != lazy.derivation.print_of(item.question)  # it was of another text
        )
    ]
    if model is None and prompt is not None:
        raise OptionError("--prompt is for a helper model: name it with --model")
    with out.open("a", encoding="utf-8") as file:
        out.chmod(0o600)

        def keep(row: lazy.derivation.Row) -> None:
            there[row.dataset, row.id] = row
            file.write(f"{row.as_json()}\n")
            file.flush()

        unfinished = None
        if model is not None:
            try:
                _ask(wanted, model, prompt, keep, budgeted(max_requests, max_cost, prices))
            except BudgetSpentError as error:
                unfinished = error
        for item in wanted if model is None else []:
            fields = {
                k: v
                for k, v in lazy.derivation.by_rule(item.question).items()
                if k in lazy.derivation.missing(item)
            }
            reason = "" if fields else "its question is of no form that the rules know"
            keep(
                lazy.derivation.Row(
                    item.dataset,
                    item.id,
                    lazy.derivation.print_of(item.question),
                    fields,
                    lazy.derivation.RULE,
                    reason,
                )
            )
    _show(dataset.label, items, there, to)
    waiting = sum(
        bool(row.fields) and not (row.reviewed or row.by == lazy.derivation.RULE)
        for row in there.values()
    )
    if waiting:
        say(f"for a person to review, {counted(waiting, 'row')}: safemlrm datasets review {out}")
    if unfinished is not None:
        raise spent(unfinished)
    failed = [item for item in wanted if (item.dataset, item.id) not in there]
    if failed:
        say(f"{counted(len(failed), 'request')} failed; the same command asks them again")
        raise typer.Exit(ExitCode.UNUSABLE)


def review(
    file: Annotated[Path, typer.Argument(help="A file of `safemlrm datasets derive`.")],
    name: Annotated[str, typer.Argument(help="The data set's name, to show its questions.")],
    root: DatasetRoot = None,
    option: DatasetOptions = None,
) -> None:
    """Look through what a helper model derived, row by row: accept it, write it anew, reject it.

    Questions and what was made of them are shown as they are. Attacks use the rows that you
    accepted; the items of all others are counted as not applicable.
    """
    dataset = dataset_of(name, root, option)
    items = {(row.dataset, row.id): row for row in dataset.rows() if isinstance(row, Item)}
    there = _rows(file)
    waiting = [
        key
        for key, row in there.items()
        if row.fields
        and not row.reviewed
        and row.by != lazy.derivation.RULE
        and key in items
        and row.question == lazy.derivation.print_of(items[key].question)
    ]
    every = False
    for number, key in enumerate(waiting, 1):
        row = there[key]
        if not every:
            _print(row, items[key], f"{number} of {len(waiting)}")
            answer = typer.prompt(_KEYS, default="a", show_default=False).strip()
            if answer == "q":
                break
            every = answer == "A"
            if answer == "e":
                row = dataclasses.replace(row, fields=_written(row), by="you")
            elif answer == "r":
                row = dataclasses.replace(row, fields={}, reason="rejected in review")
            elif answer not in ("a", "A"):
                say(f"{answer!r} is none of them; the row waits")
                continue
        there[key] = dataclasses.replace(row, reviewed=True)
        lazy.write_atomic(file, "".join(f"{row.as_json()}\n" for row in there.values()))
    left = sum(not there[key].reviewed for key in waiting)
    say(f"{counted(len(waiting) - left, 'row')} reviewed, {left:,} left")


def _ask(items: list[Item], spec: str, prompt: Path | None, keep: Any, budgeted: Any) -> None:
    words = lazy.text_file.Words(lazy.derivation.PROMPT, ("question",), needed=("question",))
    try:
        text = lazy.text_file.template(
            words, None if prompt is None else lazy.text_file.TextFile.read(prompt)
        )
    except ValueError as error:
        raise OptionError(f"--prompt: {error}") from error
    helper = budgeted(lazy.registry.build_spec(lazy.ComponentKind.MODEL, spec))

    async def ask() -> None:
        try:
            await lazy.derivation.by_model(items, helper, text, keep)
        finally:
            await helper.aclose()

    lazy.asyncio.run(ask())


def _rows(path: Path) -> dict[tuple[str, str], lazy.derivation.Row]:
    if not path.exists() or not path.stat().st_size:
        return {}
    try:
        return {(row.dataset, row.id): row for row in lazy.derivation.read(path)}
    except ValueError as error:
        raise OptionError(str(error)) from error


def _show(
    label: str, items: Iterable[Item], there: dict[tuple[str, str], lazy.derivation.Row], to: Format
) -> None:
    counts: dict[str, Counter[str]] = {name: Counter() for name in lazy.derivation.FIELDS}
    reasons: Counter[str] = Counter()
    for item in items:
        row = there.get((item.dataset, item.id))
        lacking = lazy.derivation.missing(item)
        for name in lazy.derivation.FIELDS:
            if name not in lacking:
                kind = "own"
            elif row is None or name not in row.fields:
                kind = "missing"
            else:
                kind = "derived" if row.reviewed or row.by == lazy.derivation.RULE else "unreviewed"
            counts[name][kind] += 1
        if row is not None and row.reason and lacking:
            reasons[row.reason] += 1
    rows = [{"field": name, **{kind: counts[name][kind] for kind in _KINDS}} for name in counts]
    columns = {kind: (heading, lazy.Form.COUNT) for kind, heading in _KINDS.items()}
    title = f"{label}: what attacks need"
    show_tables([table_of("derived", title, {"field": "Field", **columns}, rows)], to)
    for reason, count in reasons.most_common():
        say(f"{count:,}: {reason}")


_KINDS: Final = {
    "own": "of the data set",
    "derived": "derived",
    "unreviewed": "not reviewed",
    "missing": "missing",
}


def _print(row: lazy.derivation.Row, item: Item, place: str) -> None:
    typer.echo(for_terminal(f"\n{place}: {row.dataset} {row.id}, by {row.by}"))
    typer.echo(for_terminal(f"question: {item.question}"))
    for name, text in row.fields.items():
        typer.echo(for_terminal(f"{name}: {text}"))


def _written(row: lazy.derivation.Row) -> dict[str, str]:
    fields = {
        name: typer.prompt(name, default=text, show_default=False).strip()
        for name, text in row.fields.items()
    }
    return {name: text for name, text in fields.items() if text}
