"""The bundled models: ``demo`` evaluates a tiny pair, ``serve-sim`` and the like serve them."""

from __future__ import annotations

import time
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import say
from opensafemlrm.cli._output import PortOption, print_wrapped, show
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
    real = Models.ORGANISM if is_installed("onnxruntime") else Models.SIMULATED
    chosen = models or real
    for line in _ABOUT[chosen]:
        say(line)
    if models is None and chosen is Models.SIMULATED:
        say("For real ones, tiny, that read and refuse: in your clone, pip install '.[demo]'.")
    say("The benchmark is `canary`, harmless: a fictional house guards its secrets.")
    say()
    lazy.make_folder(store)
    path = store / "study.yaml"
    limited = f"limit: {limit}\n" if limit else ""
    text = files("opensafemlrm.cli") / "studies" / f"{chosen}.yaml"
    lazy.write_atomic(path, text.read_text(encoding="utf-8") + limited)
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


_Host = Annotated[str, typer.Option(help="Address to listen on.")]
_ReasoningParser = Annotated[
    bool, typer.Option(help="Send reasoning apart, as vLLM's reasoning parser does.")
]


def serve_sim(
    host: _Host = "127.0.0.1",
    port: PortOption = 8000,
    latency: Annotated[float, typer.Option(min=0, help="Seconds before each reply.")] = 0.0,
    error_rate: Annotated[
        float, typer.Option(min=0, max=1, help="The share of requests to answer with HTTP 500.")
    ] = 0.0,
    rate_limited_rate: Annotated[
        float, typer.Option(min=0, max=1, help="The share of requests to answer with HTTP 429.")
    ] = 0.0,
    blocked_rate: Annotated[
        float,
        typer.Option(min=0, max=1, help="The share of requests that a filter refuses."),
    ] = 0.0,
    truncated_rate: Annotated[
        float, typer.Option(min=0, max=1, help="The share of requests to cut by the token limit.")
    ] = 0.0,
    judge_malformed_rate: Annotated[
        float, typer.Option(min=0, max=1, help="The share of a judge's replies to spoil.")
    ] = 0.0,
    max_in_flight: Annotated[
        int | None, typer.Option(min=1, help="Answer 429 to more requests at once.")
    ] = None,
    reasoning_parser: _ReasoningParser = False,
) -> None:
    """Serve the simulated models over HTTP.

    For demos, tests and load. Ctrl-C stops it.
    """
    options = lazy.demo_server.ServerOptions(
        latency=latency,
        error_rate=error_rate,
        rate_limited_rate=rate_limited_rate,
        blocked_rate=blocked_rate,
        truncated_rate=truncated_rate,
        judge_malformed_rate=judge_malformed_rate,
        max_in_flight=max_in_flight,
        reasoning_parser=reasoning_parser,
    )

    def announce(url: str) -> None:
        say(
            f"simulated models at {url}, for a study: {{model: openai/simulated-r1-onevision-7b, "
            f"base_url: '{url}'}}"
        )

    lazy.demo_server.serve(lazy.demo_server.simulated(options), host, port, on_ready=announce)


def serve_organism(
    host: _Host = "127.0.0.1",
    port: PortOption = 8000,
    weights: Annotated[
        Path | None, typer.Option(help="A folder with organisms of your own training.")
    ] = None,
    reasoning_parser: _ReasoningParser = False,
) -> None:
    """Serve the model organisms over HTTP.

    They take images too. Ctrl-C stops it.
    """

    def announce(url: str) -> None:
        say(
            f"model organisms at {url}, for a study: {{model: openai/organism-reasoner, "
            f"base_url: '{url}'}}"
        )

    app = lazy.demo_server.organisms(weights, reasoning_parser=reasoning_parser)
    lazy.demo_server.serve(app, host, port, on_ready=announce)
