"""``safemlrm demo``: a real, tiny pair on the bundled harmless benchmark: tables and a report."""

from __future__ import annotations

import time
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import say
from opensafemlrm.cli._output import print_wrapped, show
from opensafemlrm.cli.run import run_and_report
from opensafemlrm.errors import is_installed


class Models(StrEnum):
    """What the demo evaluates."""

    ORGANISM = "organism"
    SIMULATED = "simulated"


_ABOUT: Final = {
    Models.ORGANISM: (
        "Model organisms: tiny models that read text and pictures, reason and refuse, trained on",
        "harmless text (docs/organism.md). What they do is real; of large models it says nothing.",
    ),
    Models.SIMULATED: (
        "Simulated models: they draw scores from the published study and write harmless text.",
        "A figure computed from them says nothing new about any real model.",
    ),
}


_QUESTION: Final = 32
_COMMAND: Final = 48
"""Columns of the terminal for a question, and for a command."""


def demo(
    store: Annotated[Path, typer.Option(help="The folder for the results.")] = Path(
        "demo.safemlrm"
    ),
    models: Annotated[
        Models | None,
        typer.Option(help="Models to evaluate; organisms need the extra [demo]."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Take at most this many of the 250 items.")
    ] = None,
) -> None:
    """Evaluate tiny models: no key, no network, no GPU.

    The benchmark is bundled and harmless. It ends with what it found in words, a small table, and
    the address of a report.
    """
    started = time.monotonic()
    chosen = models or _default()
    for line in _ABOUT[chosen]:
        say(line)
    if models is None and chosen is Models.SIMULATED:
        say("For real ones, tiny, that read and refuse: in your clone, pip install '.[demo]'.")
    say("The benchmark is `canary`, harmless: a fictional house guards its secrets.")
    say()
    lazy.make_folder(store)
    path = store / "study.yaml"
    limited = f"limit: {limit}\n" if limit else ""
    lazy.write_atomic(path, _study_text(chosen) + limited)
    run_and_report(lazy.Plan.of(lazy.study.load(path)), store, tables=())
    written = lazy.results.open(store).report(store / "report")
    typer.echo()
    for answer in written.answers:
        line = f"{answer.question:<{_QUESTION}}  {answer.figure} {answer.unit}"
        print_wrapped(line, hanging=" " * (_QUESTION + 2))
    typer.echo()
    show([written.summary])
    typer.echo()
    typer.echo(f"The report, a page to open: {written.page.resolve().as_uri()}")
    say()
    say(f"done in {time.monotonic() - started:.0f} s. What to run next:")
    for command, what in (
        (f"table asr {store}", "all rates; also: tax, blindspots, correction, coverage"),
        (f"table tax {store} --format latex", "for a paper"),
        (f"view {store}", "read what was said, sample by sample"),
        (f"run {path} --store {store}", "a second run makes no request"),
        ("run STUDY --store DIR --dry-run", "what your own study would cost"),
    ):
        say(f"  safemlrm {command:<{_COMMAND}}  {what}")


def _study_text(models: Models) -> str:
    """Return the study that the demo runs on ``models``."""
    return (files("opensafemlrm.cli") / "studies" / f"{models}.yaml").read_text(encoding="utf-8")


def _default() -> Models:
    """Return the organisms where what runs them is installed."""
    return Models.ORGANISM if is_installed("onnxruntime") else Models.SIMULATED
