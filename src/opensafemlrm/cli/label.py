"""``safemlrm label``: people say of replies whether they are safe, without seeing the judge."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import say
from opensafemlrm.cli._output import FormatOption, show
from opensafemlrm.text import Format, counted, for_terminal
from opensafemlrm.types import Part

_KEYS: Final = "v view it · n note · k skip · b back to the one before · q quit"


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
    scale: Annotated[
        str, typer.Option(help="What you may say: binary (safe or unsafe), or msts (classes).")
    ] = "binary",
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
    only when you ask, and you label nothing that you have not seen. Each labeller gets the same
    replies, so that their agreement can be measured.

    --plan says how many labels each corrected rate and tax needs to be within ± a number of points,
    and which replies to label next; with --annotator you then label these.
    """
    choices = lazy.scales.scale(scale)
    try:
        chosen = Part(part)
    except ValueError:
        raise typer.BadParameter("--part is answer, reasoning or full") from None
    if not (annotator or plan):
        raise typer.BadParameter("say who you are: --annotator NAME (or --plan alone)")
    with lazy.Store.open(store, "write" if annotator else "read") as opened:
        rows = lazy.frame.read(opened)
        if plan:
            table, samples = lazy.label_plan(
                rows,
                lazy.frame.pairs(opened),
                # Each labeller has a plan of their own, so that all get the same replies.
                lazy.people_labels(opened, annotator),
                part=chosen.value,
                within=within / 100,
                more=count,
                seed=seed,
            )
            if annotator is None:
                show(lazy.label_tables.plan_tables(table, samples), to)
        else:
            samples = lazy.to_label(rows, chosen.value, seed)
        if annotator is None:
            return
        samples = samples[:count]
        keys = [bytes.fromhex(sample) for sample in samples]
        wanted = [(key, chosen) for key in keys]
        _Session(opened, annotator, wanted, choices, reveal=reveal).run()
        _tell_agreement(opened, chosen)
    say(f"next: safemlrm calibrate JUDGE --labels {store} --store {store}")


class _Session:
    """One labeller at the keyboard; every label is kept as soon as it is given."""

    def __init__(
        self,
        store: lazy.Store,
        labeller: str,
        wanted: Sequence[tuple[bytes, Part]],
        choices: Sequence[lazy.scales.Choice],
        *,
        reveal: bool,
    ) -> None:
        self._store, self._labeller, self._reveal = store, labeller, reveal
        self._wanted, self._choices = list(wanted), {choice.letter: choice for choice in choices}
        self._done = {
            (one.generation, one.part)
            for one in lazy.stored_labels.labels(store.connection, labeller)
            if self._is_of_today(one)
        }

    def _is_of_today(self, label: lazy.stored_labels.PersonLabel) -> bool:
        """Whether the text that was labelled is still the reply's."""
        unit = lazy.stored_labels.unit_of(self._store, label.generation, label.part)
        return unit is not None and label.text in ("", unit.text)

    def run(self) -> None:
        """Ask about one text after the other, those without a label first come first."""
        at = self._next(0)
        self._tell_keys()
        while at < len(self._wanted):
            unit = lazy.stored_labels.unit_of(self._store, *self._wanted[at])
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

    def _tell_keys(self) -> None:
        say(f"{counted(len(self._wanted), 'reply')}, {self._left()} without your label. {_KEYS}")
        for letter, choice in self._choices.items():
            meaning = choice.meaning or lazy.scales.GUIDELINE.get(choice.name, "")
            named = "" if choice.name == letter else f"{choice.name}: " if meaning else choice.name
            say(f"  {letter}  {named}{meaning}")

    def _ask(self, at: int, unit: lazy.stored_labels.Unit) -> int | None:
        """Return +1 when it is labelled or skipped, -1 to go back, ``None`` to stop."""
        typer.echo(f"\n[{at + 1}/{len(self._wanted)}] {_hidden(unit)}")
        seen, note = self._reveal, ""
        if seen:
            self._view(unit)
        while True:
            try:
                keys = " ".join(["v", *self._choices, "n", "k", "b", "q"])
                key = typer.prompt(keys, prompt_suffix=" > ").strip().lower()
            except typer.Abort:
                return None
            if key == "q":
                return None
            if key in ("b", "k"):
                return -1 if key == "b" else 1
            if key == "v":
                self._view(unit)
                seen = True
            elif key == "n":
                note = typer.prompt("note", default="", show_default=False)
            elif key in self._choices and not seen:
                typer.echo("look at it first: v")
            elif key in self._choices:
                self._keep(unit, self._choices[key], note)
                return 1
            else:
                self._tell_keys()

    def _keep(self, unit: lazy.stored_labels.Unit, said: lazy.scales.Choice, note: str) -> None:
        place = (unit.generation, unit.part)
        label = lazy.stored_labels.PersonLabel(
            *(*place, self._labeller, said.unsafe, note, unit.text),
            response_class=said.response_class,
            understood=said.understood,
        )
        lazy.stored_labels.put_labels(self._store, [label])
        self._done.add(place)

    def _view(self, unit: lazy.stored_labels.Unit) -> None:
        """Print what the page shows too: pictures, prompt, question, reasoning and the text."""
        sample = lazy.read_sample(self._store, unit.generation)
        if sample is not None:
            for image in lazy.images_of(sample.prompt, sample.item):
                path = self._store.image_path(image.sha256, image.media_type)
                typer.echo(f"── picture, {image.width} by {image.height} pixels: {path}")
            for turn in sample.prompt.turns if sample.prompt else ():
                _print(f"sent, {turn.role}", turn.text)
        _print("question", unit.item.question)
        if sample is not None and sample.trace and unit.part is Part.ANSWER:
            _print("reasoning", sample.trace.reasoning or "")
        _print(unit.part.value, unit.text)
        typer.echo("──")


def _hidden(unit: lazy.stored_labels.Unit) -> str:
    # A code to talk about a text without repeating it.
    code = hashlib.sha256(unit.text.encode()).hexdigest()[:6]
    length = counted(len(unit.text), "character")
    shown = f"scenario {unit.item.scenario}, {unit.part.value}, {length}"
    return f"{for_terminal(shown)} (text {code}, hidden)"


def _print(title: str, text: str) -> None:
    if text:
        typer.echo(f"── {title}\n{for_terminal(text, newlines=True)}")


def _tell_agreement(store: lazy.Store, part: Part) -> None:
    given = lazy.ratings(store, part)
    by_labeller = given.group_by("rater", maintain_order=True).agg(
        lazy.pl.len().alias("n"), lazy.pl.col("unsafe").sum()
    )
    for name, n, unsafe in by_labeller.iter_rows():
        say(f"{name}: {counted(n, 'label')}, {unsafe:,} unsafe")
    pairs = lazy.rater_pairs(given)
    if len(pairs):
        show([lazy.label_tables.raters_table(pairs, "labellers")])
