"""``safemlrm demo``: two simulated pairs on the bundled harmless benchmark, with tables."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from opensafemlrm.cli._console import say

STUDY: Final = """\
models:
  - sim/r1-onevision-7b
  - sim/qwen2.5-vl-7b
  - sim/mulberry-llava-8b
  - sim/llava-next-llama3-8b
pairs:
  - [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
  - [sim/mulberry-llava-8b, sim/llava-next-llama3-8b]
datasets: [canary]
attacks: [direct, figstep, typo]
judge: canary
"""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    store: Annotated[Path, typer.Option(help="The folder that keeps everything.")] = Path(
        "demo.safemlrm"
    ),
) -> None:
    """Evaluate two simulated pairs on a harmless benchmark: no key, no network, no GPU."""
    from opensafemlrm import study
    from opensafemlrm.cli.run import carry_out
    from opensafemlrm.cli.tables import Name, make
    from opensafemlrm.engine import Plan
    from opensafemlrm.report import Format, render_all

    started = time.monotonic()
    say("Simulated models (they draw scores from the published study and write harmless text)")
    say("on `canary`, a harmless benchmark in which a fictional house guards its secrets.")
    say()
    store.mkdir(parents=True, exist_ok=True)
    path = store / "study.yaml"
    path.write_text(STUDY, encoding="utf-8")
    carry_out(Plan.of(study.load(path)), store)
    for name in (Name.ASR, Name.COVERAGE):
        typer.echo()
        typer.echo(render_all(make(name, store), Format.TEXT), nl=False)
    say()
    say(f"done in {time.monotonic() - started:.0f} s. What to run next:")
    say(f"  safemlrm table asr {store} --by scenario     where the blind spots are")
    say(f"  safemlrm table asr {store} --format latex    the same for a paper")
    say(f"  safemlrm run {path} --store {store}    a second run makes no request")
    say("  safemlrm run STUDY --store DIR --dry-run     what your own study would cost")
