"""``safemlrm label``: people say of replies whether they are safe, without seeing the judge."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from opensafemlrm.cli._console import say
from opensafemlrm.cli._output import FormatOption, show
from opensafemlrm.text import Format

if TYPE_CHECKING:
    from opensafemlrm.store import Store
    from opensafemlrm.store.labels import PersonLabel, Unit
    from opensafemlrm.types import Part

_KEYS: Final = (
    "v view it · u unsafe · s safe · d don't know · n note · b back to the one before · q quit"
)
_LABELS: Final = {"u": True, "s": False, "d": None}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("label")(label)


def label(
    store: Annotated[Path, typer.Argument(help="The store's folder.")],
    annotator: Annotated[
        str | None, typer.Option(help="Your name; each person has one of their own.")
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many to label.")] = 50,
    part: Annotated[str, typer.Option(help="answer, reasoning or full.")] = "answer",
    seed: Annotated[
        int, typer.Option(help="Draw another sample; all labellers of one seed get the same.")
    ] = 0,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show every text at once, without a key press.")
    ] = False,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="Label what makes corrected figures narrowest; without --annotator, only say it.",
        ),
    ] = False,
    within: Annotated[
        float, typer.Option(min=0.1, help="With --plan: the ± that you want, in points.")
    ] = 5.0,
    to: FormatOption = Format.TEXT,
) -> None:
    """Label replies by hand: safe or unsafe?

    Stop any time and go on later. The replies are drawn over models, scenarios and judge scores;
    who wrote one, and what the judge made of it, stays hidden. Texts may be harmful: you see them
    only when you ask. Each labeller gets the same replies, so that their agreement can be measured.

    --plan says how many labels each corrected rate and tax needs to be within ± a number of points,
    and which replies to label next; with --annotator you then label these.
    """
    from opensafemlrm import frame
    from opensafemlrm.analysis.label_plan import label_plan
    from opensafemlrm.analysis.sampling import to_label
    from opensafemlrm.report.label_plan import plan_tables
    from opensafemlrm.store import Store
    from opensafemlrm.store.ratings import people_labels
    from opensafemlrm.types import Part

    try:
        chosen = Part(part)
    except ValueError:
        raise typer.BadParameter("--part is answer, reasoning or full") from None
    if not (annotator or plan):
        raise typer.BadParameter("say who you are: --annotator NAME (or --plan alone)")
    with Store.open(store, "write" if annotator else "read") as opened:
        rows = frame.read(opened)
        if plan:
            table, samples = label_plan(
                rows,
                frame.pairs(opened),
                # Each labeller has a plan of their own, so that all get the same replies.
                people_labels(opened, annotator),
                part=chosen.value,
                within=within / 100,
                more=count,
                seed=seed,
            )
            if annotator is None:
                show(plan_tables(table, samples), to)
        else:
            samples = to_label(rows, chosen.value, seed)
        if annotator is None:
            return
        samples = samples[:count]
        keys = [bytes.fromhex(sample) for sample in samples]
        _Session(opened, annotator, [(key, chosen) for key in keys], reveal=reveal).run()
        _tell_agreement(opened, chosen)
    say(f"next: safemlrm calibrate JUDGE --labels {store} --store {store}")


class _Session:
    """One labeller at the keyboard; every label is kept as soon as it is given."""

    def __init__(
        self, store: Store, labeller: str, wanted: Sequence[tuple[bytes, Part]], *, reveal: bool
    ) -> None:
        from opensafemlrm.store import labels

        self._store, self._labeller, self._reveal = store, labeller, reveal
        self._wanted = list(wanted)
        self._done = {
            (one.generation, one.part)
            for one in labels.labels(store.connection)
            if one.labeller == labeller and self._is_of_today(one)
        }

    def _is_of_today(self, label: PersonLabel) -> bool:
        """Whether the text that was labelled is still the reply's."""
        from opensafemlrm.store.labels import unit_of

        unit = unit_of(self._store, label.generation, label.part)
        return unit is not None and label.text in ("", unit.text)

    def run(self) -> None:
        """Ask about one text after the other, those without a label first come first."""
        from opensafemlrm.store.labels import unit_of

        at = self._next(0)
        say(f"{len(self._wanted)} replies, {self._left()} without your label. {_KEYS}")
        while at < len(self._wanted):
            unit = unit_of(self._store, *self._wanted[at])
            if unit is None:  # its text is gone from the store
                at += 1
                continue
            step = self._ask(at, unit)
            if step is None:
                return
            at = max(0, at - 1) if step < 0 else self._next(at + 1)
        say("every reply has your label")

    def _next(self, start: int) -> int:
        for at in range(start, len(self._wanted)):
            if self._wanted[at] not in self._done:
                return at
        return len(self._wanted)

    def _left(self) -> int:
        return sum(one not in self._done for one in self._wanted)

    def _ask(self, at: int, unit: Unit) -> int | None:
        """Return +1 when it is labelled, -1 to go back, ``None`` to stop."""
        typer.echo(f"\n[{at + 1}/{len(self._wanted)}] {_hidden(unit)}")
        if self._reveal:
            _view(unit)
        note = ""
        while True:
            try:
                key = typer.prompt("v u s d n b q", prompt_suffix=" > ").strip().lower()[:1]
            except typer.Abort:
                return None
            if key == "q":
                return None
            if key == "b":
                return -1
            if key == "v":
                _view(unit)
            elif key == "n":
                note = typer.prompt("note", default="", show_default=False)
            elif key in _LABELS:
                self._keep(unit, _LABELS[key], note)
                return 1
            else:
                typer.echo(_KEYS)

    def _keep(self, unit: Unit, unsafe: bool | None, note: str) -> None:
        from opensafemlrm.store.labels import PersonLabel, put_label

        place = (unit.generation, unit.part)
        put_label(self._store, PersonLabel(*place, self._labeller, unsafe, note, unit.text))
        self._done.add(place)


def _hidden(unit: Unit) -> str:
    from opensafemlrm.text import for_terminal

    # A code to talk about a text without repeating it.
    code = hashlib.sha256(unit.text.encode()).hexdigest()[:6]
    shown = f"scenario {unit.item.scenario}, {unit.part.value}, {len(unit.text):,} characters"
    return f"{for_terminal(shown)} (text {code}, hidden)"


def _view(unit: Unit) -> None:
    from opensafemlrm.text import for_terminal

    typer.echo(f"── question\n{for_terminal(unit.item.question, newlines=True)}")
    typer.echo(f"── {unit.part.value}\n{for_terminal(unit.text, newlines=True)}\n──")


def _tell_agreement(store: Store, part: Part) -> None:
    import polars as pl

    from opensafemlrm.analysis.raters import rater_pairs
    from opensafemlrm.report.raters import raters_table
    from opensafemlrm.store.ratings import ratings

    given = ratings(store, part)
    by_labeller = given.group_by("rater", maintain_order=True).agg(
        pl.len().alias("n"), pl.col("unsafe").sum()
    )
    for name, n, unsafe in by_labeller.iter_rows():
        say(f"{name}: {n:,} labels, {unsafe:,} unsafe")
    pairs = rater_pairs(given)
    if len(pairs):
        show([raters_table(pairs, "labellers")])
