"""The command ``safemlrm``: one file a group of commands, and nothing heavy before it is used."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, Final

import typer

from opensafemlrm.cli import (
    attacks,
    audit,
    calibrate,
    datasets,
    demo,
    derive,
    diff,
    doctor,
    eval_,
    export,
    init,
    judges,
    label,
    models,
    report,
    run,
    store,
    tables,
    view,
    watch,
)
from opensafemlrm.cli import import_ as importing
from opensafemlrm.cli._console import (
    EPILOG,
    LOUDNESS,
    ExitCode,
    fail,
    messages_of,
    write_what_fits,
)
from opensafemlrm.cli._main_group import Command, Group, MainGroup, examples, read_env_file
from opensafemlrm.redaction import without_secrets_on_streams

_COMMANDS: Final[Mapping[str, Callable[..., None]]] = {
    "init": init.init,
    "eval": eval_.evaluate,
    "run": run.run,
    "table": tables.table,
    "export": export.export,
    "report": report.report,
    "cite": report.cite,
    "diff": diff.diff,
    "drift": tables.drift,
    "watch": watch.watch,
    "view": view.view,
    "show": view.show,
    "demo": demo.demo,
    "serve-sim": demo.serve_sim,
    "serve-organism": demo.serve_organism,
    "merge": store.merge,
    "doctor": doctor.doctor,
    "calibrate": calibrate.calibrate,
    "label": label.label,
    "new": init.new,
}
_GROUPS: Final[Mapping[str, tuple[str, Mapping[str, Callable[..., None]]]]] = {
    "audit": (
        "Hold models to rules, and decide by intervals: 0 passed, 5 failed, 6 undecided.",
        {"init": audit.init, "run": audit.run, "check": audit.check, "verify": audit.verify},
    ),
    "import": (
        "Read results of other tools, or labels of people, into a store.",
        {
            "replies": importing.import_replies,
            "inspect": importing.import_inspect,
            "opensafemlrm": importing.import_study,
            "labels": importing.import_labels,
        },
    ),
    "store": (
        "Check, repair and migrate a store.",
        {
            "check": store.check,
            "repair": store.repair,
            "vacuum": store.vacuum,
            "migrate": store.migrate,
        },
    ),
    "datasets": (
        "List, fetch and check data sets, and map your own.",
        {
            "list": datasets.list_all,
            "show": datasets.show,
            "check": datasets.check,
            "download": datasets.download,
            "init": datasets.init,
            "derive": derive.derive,
            "review": derive.review,
        },
    ),
    "attacks": (
        "List attacks, and draw what they send.",
        {"list": attacks.list_attacks, "show": attacks.show_attack, "preview": attacks.preview},
    ),
    "defenses": (
        "List what can be put around a model.",
        {"list": attacks.list_defenses, "show": attacks.show_defense},
    ),
    "models": (
        "List the models that are known by name; others work as well.",
        {
            "list": models.list_models,
            "show": models.show,
            "pairs": models.pairs,
            "formats": models.formats,
        },
    ),
    "judges": (
        "List judges, judge what a store holds, and compare judges.",
        {
            "list": judges.list_judges,
            "show": judges.show_judge,
            "apply": judges.apply,
            "compare": judges.compare,
        },
    ),
}
"""What each group is for, and its commands."""

app = typer.Typer(
    name="safemlrm",
    cls=MainGroup,
    help="How safe is a multi-modal reasoning model, in its reasoning and in its answer?",
    epilog=f"{examples('')}\n\n{EPILOG}",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # drawing help with rich costs as much time as all the rest of it
)
for name, command in _COMMANDS.items():
    cls = run.Command if command is run.run else Command
    app.command(name, cls=cls, epilog=examples(name))(command)
for name, (purpose, commands) in _GROUPS.items():
    group = typer.Typer(cls=Group, help=purpose, no_args_is_help=True)
    for of_group, command in commands.items():
        group.command(of_group, cls=Command)(command)
    app.add_typer(group, name=name, epilog=examples(name))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"safemlrm {version_of('opensafemlrm')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say all that was lost, not some of it.")
    ] = False,
    env_file: Annotated[
        Path | None,
        typer.Option(help="Read keys and other variables from this file, such as .env."),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Take what may stand anywhere; main reads --debug too, for errors of the command line."""
    del debug, version
    LOUDNESS.quiet, LOUDNESS.verbose = quiet, verbose
    if env_file is not None:
        read_env_file(env_file)


def main() -> None:
    """Run the command line; an error is a message, unless there is ``--debug``."""
    write_what_fits(sys.stdout)
    # The matrices of a report are small: threads of numpy's OpenBLAS wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Polars' allocator gives memory back after 10 s: a table takes less than that.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:200,muzzy_decay_ms:0")
    with without_secrets_on_streams():
        try:
            app()
        except Exception as error:  # noqa: BLE001 # a fault of ours is shown whole, but for secrets
            messages = messages_of(error)
            if "--debug" in sys.argv or not messages:
                traceback.print_exception(error)
                sys.exit(ExitCode.UNUSABLE if messages else ExitCode.OWN_FAULT)
            for message in messages:
                fail(message)
            sys.exit(ExitCode.UNUSABLE)
