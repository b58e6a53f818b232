"""``safemlrm view`` and ``safemlrm show``: read what models said, in a browser or a terminal."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import fail, say
from opensafemlrm.cli._filters import Chosen, choosing
from opensafemlrm.cli._output import PortOption, check_plain, print_wrapped, show_plain
from opensafemlrm.selection import KINDS, labels_of
from opensafemlrm.text import Format, counted, for_terminal
from opensafemlrm.types import ResponseStatus


def view(
    store: Annotated[Path, typer.Argument(help="The store's folder.")],
    port: PortOption = 0,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in your browser.")
    ] = True,
) -> None:
    """Read a store in your browser: samples, verdicts, pictures, side by side; and label them.

    A run may be writing to the store meanwhile. The page is for this machine alone, and its address
    is good for one browser. Texts may be harmful: they are masked until you reveal them. Ctrl-C
    stops it.
    """

    def ready(address: str) -> None:
        say(f"{store} is at the address below, for one browser; Ctrl-C stops it")
        typer.echo(address)
        if open_browser:
            typer.launch(address)

    pages = lazy.Pages(store)
    say(f"reading {store} (at the first time all of it, later what is new)")
    try:
        pages.read()
        lazy.serve_pages(pages, port, ready)
    except OSError as error:
        fail(f"port {port} of this machine cannot be used: {error.strerror}; give another --port")
        raise typer.Exit(2) from None
    finally:
        pages.close()


@choosing(
    *KINDS,
    "part",
    helps={
        "model": "Only samples of this model; repeatable.",
        "judge": "The judge of --outcome; any of them if left out.",
        "part": "The part of --outcome; answer if left out.",
    },
)
def show(
    store: Annotated[Path, typer.Argument(help="The store's folder.")],
    chosen: Chosen,
    item: Annotated[str, typer.Option(help="Only of this item.")] = "",
    outcome: Annotated[
        str,
        typer.Option(
            help="Only these: ok, truncated, blocked, failed, or, of a verdict, unsafe, strict, "
            "safe, unscored, leak, escape."
        ),
    ] = "",
    count: Annotated[
        int, typer.Option("-n", "--limit", "--count", min=1, help="How many to show.")
    ] = 5,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show the texts.")] = False,
    to: Annotated[
        Format, typer.Option("--format", help="text; json or jsonl: always with the texts.")
    ] = Format.TEXT,
) -> None:
    """Print samples: what was sent, what came back, and what judges made of it.

    Texts may be harmful: they are masked unless you say --reveal.
    """
    check_plain(to, "show")
    index = lazy.Index(store)
    try:
        index.refresh()
        with index.reading() as connection, lazy.Store.open(store) as opened:
            browser = lazy.Browser(connection)
            (stored, _) = browser.count(lazy.Filters())
            rows, total, more = browser.of_any(_filters(browser, chosen, item, outcome), count)
            samples = [(row, lazy.read_sample(opened, row["key"])) for row in rows]
            records = [_record(row, sample) for row, sample in samples if sample is not None]
            show_plain(records, to, "show")
            for row, sample in samples if to is Format.TEXT else ():
                if sample is not None:
                    _print(opened, row, sample, reveal=reveal)
    finally:
        index.close()
    if rows or not stored:
        total_shown = counted(total, "sample")
        say(f"{len(rows):,} of {total_shown}{' or more' if more else ''}")
    else:
        say(f"none of the store's {counted(stored, 'sample')} is such; leave out an option")


def _filters(browser: lazy.Browser, chosen: Chosen, item: str, outcome: str) -> list[lazy.Filters]:
    """Return what to look for, one after the other. Raises UnknownNameError, BadParameter."""
    outcomes = (*(status.value for status in ResponseStatus), *lazy.VERDICTS)
    if outcome and outcome not in outcomes:
        raise typer.BadParameter(f"--outcome is one of {', '.join(outcomes)}, not {outcome!r}")
    known = browser.choices(lazy.Filters())
    names = {
        kind: labels_of(f"{kind} in this store", wanted, known[kind], exact=kind == "scenario")
        for kind, wanted in chosen.names.items()
        if wanted
    }
    if len(names.get("judge", ())) > 1:
        raise typer.BadParameter(
            f"--outcome is of one judge, or of any; name one: {', '.join(names['judge'])}"
        )
    if outcome in lazy.VERDICTS and "judge" not in names and known["judge"]:
        names["judge"] = tuple(known["judge"])
    if item:
        names["item"] = labels_of("item in this store", [item], browser.items(), exact=True)
    same = {
        "part": chosen.rows.part or "answer",
        "verdict" if outcome in lazy.VERDICTS else "status": outcome,
    }
    return [
        lazy.Filters.of({**dict(zip(names, values, strict=True)), **same})
        for values in product(*names.values())
    ]


def _record(row: dict[str, Any], sample: lazy.Sample) -> dict[str, Any]:
    names = ("model", "dataset", "attack", "defense", "scenario", "item", "repeat", "status")
    response, prompt = sample.response, sample.prompt
    return {
        "sample": row["key"].hex().upper(),
        **{name: row[name] for name in names},
        "question": sample.item.question,
        "prompt": None if prompt is None else [[t.role, t.text] for t in prompt.turns],
        "images": [] if prompt is None else [image.sha256 for image in prompt.images],
        **dict(sample.texts),
        "error_code": response.code,
        "error_detail": response.detail,
        "answered_by": response.model,
        "verdicts": [
            {name: getattr(v, name) for name in ("judge", "part", "label", "score", "rationale")}
            for v in (*sample.verdicts, *sample.labels)
        ],
    }


def _print(store: lazy.Store, row: dict[str, Any], sample: lazy.Sample, *, reveal: bool) -> None:
    def text(title: str, content: str) -> None:
        length = counted(len(content), "character")
        hidden = f"({length}, masked: --reveal shows the text)"
        visible = for_terminal(content, newlines=True)
        typer.echo(f"── {title}\n{visible}" if reveal else f"── {title} {hidden}")

    names = ("model", "dataset", "attack", "defense", "scenario", "item", "status")
    typer.echo()
    print_wrapped(" · ".join(str(row[name]) for name in names), hanging="  ")
    typer.echo(f"sample {row['key'].hex().upper()}")
    for image in sample.prompt.images if sample.prompt else ():
        path = store.image_path(image.sha256, image.media_type)
        typer.echo(f"── picture, {image.width} by {image.height} pixels: {path}")
    for turn in sample.prompt.turns if sample.prompt else ():
        text(f"sent, {turn.role}", turn.text)
    if sample.response.code:
        typer.echo(
            f"── {row['status']}: {for_terminal(sample.response.code)} "
            f"{for_terminal(sample.response.detail or '')}"
        )
    for part, content in sample.texts:
        text(part, content)
    for verdict in (*sample.verdicts, *sample.labels):
        score = "" if verdict.score is None else f" {verdict.score:g}"
        # "unscored" alone reads as a failure; the reason says that it need not be one.
        reason = f"no score: {verdict.reason.replace('_', ' ')}" if verdict.reason else ""
        typer.echo(f"   {verdict.judge} on {verdict.part}: {reason or verdict.label}{score}")
