"""The command ``safemlrm``: one file a group of commands, and nothing heavy before it is used."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from opensafemlrm.cli import (
    attacks,
    audit,
    calibrate,
    cite,
    datasets,
    defenses,
    demo,
    diff,
    doctor,
    drift,
    eval_,
    export,
    init,
    judges,
    label,
    merge,
    models,
    new,
    organism,
    report,
    run,
    serve,
    store,
    tables,
    view,
    watch,
)
from opensafemlrm.cli import import_ as importing
from opensafemlrm.cli._console import (
    LOUDNESS,
    fail,
    messages_of,
    write_what_fits,
)
from opensafemlrm.cli._exit_codes import EPILOG, ExitCode
from opensafemlrm.cli._main_group import MainGroup, examples
from opensafemlrm.streams import without_secrets_on_streams

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
for module in (
    init,
    eval_,
    run,
    tables,
    export,
    report,
    cite,
    audit,
    diff,
    drift,
    watch,
    view,
    demo,
    importing,
    serve,
    organism,
    store,
    merge,
    datasets,
    attacks,
    defenses,
    models,
    doctor,
    judges,
    calibrate,
    label,
    new,
):
    module.add_to(app)


for entry in app.registered_commands:
    entry.epilog = examples(entry.name or "")
for group in app.registered_groups:
    group.epilog = examples(group.name or "")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"safemlrm {version('opensafemlrm')}")
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
        from opensafemlrm.cli._env_file import read_env_file

        read_env_file(env_file)


def main() -> None:
    """Run the command line; an error is a message, unless there is ``--debug``."""
    write_what_fits(sys.stdout)
    # The matrices of a report are small: threads of numpy's OpenBLAS wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
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
