"""``safemlrm judges``: the judges there are, and how far those of a store agree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opensafemlrm.cli._budget import budgeted, spent
from opensafemlrm.cli._complete import components, stored
from opensafemlrm.cli._console import say
from opensafemlrm.cli._option import JudgeArgument
from opensafemlrm.cli._output import (
    FormatOption,
    MaxCost,
    MaxRequests,
    PricesOption,
    print_wrapped,
    show,
)
from opensafemlrm.text import Format

if TYPE_CHECKING:
    import polars as pl

    from opensafemlrm.store import Store


@dataclass(frozen=True, slots=True)
class ListRow:
    """A judge, in short."""

    name: str
    version: str
    reads: str
    scale: str
    unsafe_from: str
    model: bool
    """Whether it asks a model."""
    title: str


def list_judges(to: FormatOption = Format.TEXT) -> None:
    """List the judges: what each reads, its scale, and from which score a text is unsafe."""
    import polars as pl

    from opensafemlrm import registry
    from opensafemlrm.report import Column, Table

    kind = registry.ComponentKind.JUDGE
    rows = [_row(name, cls) for name, cls in registry.available(kind, say).items()]
    columns = [
        Column("name", "Judge"),
        Column("version", "Version"),
        Column("reads", "Reads"),
        Column("scale", "Scale"),
        Column("unsafe_from", "Unsafe from"),
    ]
    show([Table("judges", "Judges", columns, pl.DataFrame(rows))], to)


def show_judge(
    name: Annotated[
        str, typer.Argument(help="The judge's name.", autocompletion=components("judge"))
    ],
    template: Annotated[
        Path | None, typer.Option(help="A prompt of yours, FILE or FILE.py#NAME, to look at.")
    ] = None,
    to: FormatOption = Format.TEXT,
) -> None:
    """Show a judge: where it comes from, what it reads, its options, and how wrong it is."""
    import polars as pl

    from opensafemlrm import registry
    from opensafemlrm.cli._texts import texts
    from opensafemlrm.report import Column, Table
    from opensafemlrm.report.notes import measured_notes
    from opensafemlrm.text import for_terminal

    cls = registry.find(registry.ComponentKind.JUDGE, name)
    row = _row(name, cls)
    facts = {
        "title": f"{name} (version {row.version}): {row.title}",
        "paper": cls.card.paper,
        "licence": cls.card.licence or "not stated",
        "source": cls.card.source or "not stated",
        "reads": row.reads,
        "scale": row.scale,
        "unsafe from": row.unsafe_from,
        "options": ", ".join(_options(cls)) or "none",
    }
    more = [
        cls.card.notes,
        *measured_notes([name]),
        *texts(cls, {} if template is None else {"template": template}),
    ]
    if to is not Format.TEXT:
        rows = [*facts.items(), *(("note", line) for line in more if line)]
        frame = pl.DataFrame(rows, {"key": str, "value": str}, orient="row")
        show([Table("judge", name, [Column("key", "Fact"), Column("value", "")], frame)], to)
        return
    title = facts.pop("title")
    print_wrapped(title)
    for key, value in facts.items():
        print_wrapped(f"{key}: {value}", hanging="    ")
    for line in ("", *more):
        # The words of a prompt are shown in their own lines.
        typer.echo(for_terminal(line)) if line[:1] in ("", " ") else print_wrapped(line)


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
    import asyncio

    from opensafemlrm import study
    from opensafemlrm.engine.stored import Judged, judge_replies
    from opensafemlrm.store import Store

    built = budgeted(max_requests, max_cost, prices)(study.judge_of(judge))

    async def work() -> Judged:
        try:
            return await judge_replies(built, opened, model or (), limit)
        finally:
            await built.aclose()

    with Store.open(store, "write") as opened:
        done = asyncio.run(work())
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
    import polars as pl

    from opensafemlrm import frame
    from opensafemlrm.analysis.agreement import judge_pairs, panels, rater_pairs
    from opensafemlrm.report.labels import PANELS, raters_table
    from opensafemlrm.store import Store
    from opensafemlrm.store.ratings import ratings
    from opensafemlrm.types import PARTS

    with Store.open(store) as opened:
        tables = [raters_table(judge_pairs(frame.read(opened)), "judges")]
        people = pl.concat([rater_pairs(ratings(opened, part)) for part in PARTS])
        members = _members(opened)
    if len(people):
        tables.append(replace(raters_table(people, "labellers"), name="labellers"))
    show([*tables, PANELS.of(panels(members))] if len(members) else tables, to)


def _members(store: Store) -> pl.DataFrame:
    """Return what every member of a panel or a cascade said of every text."""
    import polars as pl

    from opensafemlrm.judges.cascade import Cascade
    from opensafemlrm.judges.members import members_in
    from opensafemlrm.judges.panel import Panel
    from opensafemlrm.store.labels import rationales

    rows: list[tuple[str, int, str | None, str | None, int]] = []
    for kind in (Panel, Cascade):
        for text, (judge, rationale) in enumerate(rationales(store, kind.name)):
            members = members_in(rationale)
            rows += [(judge, text, m.judge, m.label.value, m.requests) for m in members]
            if not members:
                rows.append((judge, text, None, None, 0))
    columns = {"judge": pl.String, "text": pl.Int64, "member": pl.String, "label": pl.String}
    return pl.DataFrame(rows, {**columns, "requests": pl.Int64}, orient="row")


def _row(name: str, cls: Any) -> ListRow:
    scale, thresholds = (_plain(cls, attribute) for attribute in ("scale", "thresholds"))
    return ListRow(
        name=name,
        version=cls.version,
        reads=", ".join(cls.reads),
        scale=" to ".join(f"{end:g}" for end in scale) or "its judges'",
        unsafe_from=", ".join(f"{one:g}" for one in thresholds) or "by its judges",
        model=any(option.startswith("model") for option in _options(cls)),
        title=cls.card.title,
    )


def _plain(cls: Any, attribute: str) -> tuple[float, ...]:
    """Return a class's own value; of judges that take it from their members, nothing."""
    from opensafemlrm.components import Judge

    value = getattr(cls, attribute)
    if value is getattr(Judge, attribute):  # the default, which reads nothing of the judge
        value = value.fget(None)
    return value if isinstance(value, tuple) else ()


def _options(cls: Any) -> list[str]:
    from dataclasses import MISSING, fields

    options = []
    for field in fields(cls):
        if field.init:
            needed = field.default is MISSING and field.default_factory is MISSING
            options.append(f"{field.name} (needed)" if needed else f"{field.name}={field.default}")
    return options
