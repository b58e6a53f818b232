"""``safemlrm judges``: the judges there are, and how far those of a store agree."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._complete import argument_of, stored
from opensafemlrm.cli._console import say
from opensafemlrm.cli._option import JudgeArgument, budgeted, spent
from opensafemlrm.cli._output import (
    FormatOption,
    MaxCost,
    MaxRequests,
    PricesOption,
    facts_table,
    print_facts,
    print_wrapped,
    show,
    table_of,
)
from opensafemlrm.cli.attacks import print_text, texts
from opensafemlrm.text import Format
from opensafemlrm.types import PARTS


def list_judges(to: FormatOption = Format.TEXT) -> None:
    """List the judges: what each reads, its scale, and from which score a text is unsafe."""
    kind = lazy.ComponentKind.JUDGE
    rows = [_row(name, cls) for name, cls in lazy.registry.available(kind, say).items()]
    headings = ("Judge", "Version", "Reads", "Scale", "Unsafe from")
    keys = ("name", "version", "reads", "scale", "unsafe_from")
    show([table_of("judges", "Judges", dict(zip(keys, headings, strict=True)), rows)], to)


def show_judge(
    name: Annotated[str, argument_of("judge", "The judge's name.")],
    template: Annotated[
        Path | None, typer.Option(help="A prompt of yours, FILE or FILE.py#NAME, to look at.")
    ] = None,
    to: FormatOption = Format.TEXT,
) -> None:
    """Show a judge: where it comes from, what it reads, its options, and how wrong it is."""
    cls = lazy.registry.find(lazy.ComponentKind.JUDGE, name)
    row = _row(name, cls)
    facts = {
        "title": f"{name} (version {row['version']}): {row['title']}",
        "paper": cls.card.paper,
        "licence": cls.card.licence or "not stated",
        "source": cls.card.source or "not stated",
        "reads": row["reads"],
        "scale": row["scale"],
        "unsafe from": row["unsafe_from"],
        "options": ", ".join(_options(cls)) or "none",
    }
    more = [
        cls.card.notes,
        *lazy.measured_notes([name]),
        *texts(cls, {} if template is None else {"template": template}),
    ]
    if to is not Format.TEXT:
        notes = [("note", line) for line in more if line]
        show([facts_table("judge", name, [*facts.items(), *notes])], to)
        return
    print_wrapped(facts.pop("title"))
    print_facts(facts)
    for line in ("", *more):
        print_text(line)


def apply(
    judge: JudgeArgument,
    store: Annotated[Path, typer.Argument(help="The store's folder.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Only replies of this model, as tables call it. May be repeated.",
            autocompletion=stored("model"),
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Judge only this many replies.")] = None,
    max_requests: MaxRequests = None,
    max_cost: MaxCost = None,
    prices: PricesOption = None,
) -> None:
    """Judge the replies that a store holds: imported ones, or those of a run with another judge.

    What the judge has judged already is not asked again. Stop it any time and go on later.
    """
    built = budgeted(max_requests, max_cost, prices)(lazy.study.judge_of(judge))

    async def work() -> lazy.Judged:
        try:
            return await lazy.judge_replies(built, opened, model or (), limit)
        finally:
            await built.aclose()

    with lazy.Store.open(store, "write") as opened:
        done = lazy.asyncio.run(work())
    say(str(done))
    if done.spent is not None:
        raise spent(done.spent)
    say(f"next: safemlrm table asr {store}, or safemlrm judges compare {store}")


def compare(
    store: Annotated[Path, typer.Argument(help="The store's folder.")],
    to: FormatOption = Format.TEXT,
) -> None:
    """Compare the judges of a store, and the people who labelled its replies.

    How far they agree, and what panels and cascades ask and save.
    """
    with lazy.Store.open(store) as opened:
        tables = [
            lazy.label_tables.raters_table(lazy.judge_pairs(lazy.frame.read(opened)), "judges")
        ]
        people = lazy.pl.concat([lazy.rater_pairs(lazy.ratings(opened, part)) for part in PARTS])
        members = _members(opened)
    if len(people):
        tables.append(
            replace(lazy.label_tables.raters_table(people, "labellers"), name="labellers")
        )
    show(
        [*tables, lazy.label_tables.PANELS.of(lazy.panels(members))] if len(members) else tables, to
    )


def _members(store: lazy.Store) -> lazy.pl.DataFrame:
    """Return what every member of a panel or a cascade said of every text."""
    rows: list[tuple[str, int, str | None, str | None, int]] = []
    for kind in (lazy.Panel, lazy.Cascade):
        for text, (judge, rationale) in enumerate(lazy.stored_labels.rationales(store, kind.name)):
            members = lazy.members_in(rationale)
            rows += [(judge, text, m.judge, m.label.value, m.requests) for m in members]
            if not members:
                rows.append((judge, text, None, None, 0))
    columns = {
        "judge": lazy.pl.String,
        "text": lazy.pl.Int64,
        "member": lazy.pl.String,
        "label": lazy.pl.String,
    }
    return lazy.pl.DataFrame(rows, {**columns, "requests": lazy.pl.Int64}, orient="row")


def _row(name: str, cls: Any) -> dict[str, Any]:
    """Return a judge in short; ``model`` is whether it asks one."""
    scale, thresholds = (_plain(cls, attribute) for attribute in ("scale", "thresholds"))
    return {
        "name": name,
        "version": cls.version,
        "reads": ", ".join(cls.reads),
        "scale": " to ".join(f"{end:g}" for end in scale) or "its judges'",
        "unsafe_from": ", ".join(f"{one:g}" for one in thresholds) or "by its judges",
        "model": any(option.startswith("model") for option in _options(cls)),
        "title": cls.card.title,
    }


def _plain(cls: Any, attribute: str) -> tuple[float, ...]:
    """Return a class's own value; of judges that take it from their members, nothing."""
    value = getattr(cls, attribute)
    if value is getattr(lazy.Judge, attribute):  # the default, which reads nothing of the judge
        value = value.fget(None)
    return value if isinstance(value, tuple) else ()


def _options(cls: Any) -> list[str]:
    options = []
    for field in fields(cls):
        if field.init:
            needed = field.default is MISSING and field.default_factory is MISSING
            options.append(f"{field.name} (needed)" if needed else f"{field.name}={field.default}")
    return options
