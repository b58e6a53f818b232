"""The command ``safemlrm``: one file a group of commands, and nothing heavy before it is used."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from opensafemlrm.cli import (
    attacks,
    audit,
    calibrate,
    cite,
    datasets,
    demo,
    diff,
    doctor,
    export,
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
    fail,
    messages_of,
    write_what_fits,
)
from opensafemlrm.cli._exit_codes import EPILOG, ExitCode
from opensafemlrm.cli._renamed import CurrentNames
from opensafemlrm.streams import without_secrets_on_streams

app = typer.Typer(
    name="safemlrm",
    cls=CurrentNames,
    help="How safe is a multi-modal reasoning model, in its reasoning and in its answer?",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # drawing help with rich costs as much time as all the rest of it
)
for module in (
    run,
    tables,
    export,
    report,
    cite,
    audit,
    diff,
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
    models,
    doctor,
    judges,
    calibrate,
    label,
    new,
):
    module.add_to(app)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Take what is said before a command; main reads it too, for errors of the command line."""
    del debug


def main() -> None:
    """Run the command line; an error is a message, unless ``--debug`` comes first."""
    write_what_fits(sys.stdout)
    # The matrices of a report are small: threads of numpy's OpenBLAS wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with without_secrets_on_streams():
        try:
            app()
        except Exception as error:  # noqa: BLE001 # a fault of ours is shown whole, but for secrets
            messages = messages_of(error)
            if sys.argv[1:2] == ["--debug"] or not messages:
                traceback.print_exception(error)
                sys.exit(ExitCode.UNUSABLE if messages else ExitCode.OWN_FAULT)
            for message in messages:
                fail(message)
            sys.exit(ExitCode.UNUSABLE)
