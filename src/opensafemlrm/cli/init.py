"""``safemlrm init``: a first study, from what a server says that it serves."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from opensafemlrm.cli._console import say
from opensafemlrm.cli._option import judge_spec
from opensafemlrm.errors import OptionError, UnknownNameError

_LOCAL: Final = "http://localhost:8000/v1"
_SIMULATED: Final = "sim"
_SIM_PAIR: Final = ("sim/r1-onevision-7b", "sim/qwen2.5-vl-7b")
_MAX_LISTED: Final = 40
_STUDY: Final = """\
# yaml-language-server: $schema={schema}
# A study: models × datasets × attacks × defenses, and who judges. Editors that know YAML complete
# and check it by the schema above. From here:
#
#   safemlrm doctor {path}                       # are models and judge there, and of use?
#   safemlrm run {path} --store results --dry-run
#   safemlrm run {path} --store results --limit 8
#   safemlrm run {path} --store results

# PROVIDER/NAME, with options as needed: alias, api_key_env, concurrency, price, format.
models:
{models}

# [reasoning model, the base it came from]; auto: those that `safemlrm models pairs` lists.
pairs: {pairs}

# canary is bundled and harmless. `safemlrm datasets list` shows the others; most need a folder:
#   - {{dataset: figstep, root: data/figstep}}
datasets:
  - {dataset}

# How an item is asked: the plain question, the question as a picture of text; more of them:
# `safemlrm attacks list`.
attacks: [direct, typo]

# What is put around the models: none, self-reminder, reflect; `safemlrm defenses list`.
defenses: [none]

# Who judges. Several that each give verdicts are `judges: [NAME, NAME]`; `safemlrm judges list`.
judge: {judge}

# Items of each dataset, spread over its scenarios. Take the line out for all of them.
limit: {limit}

sampling: {{temperature: 0, max_tokens: 4096, seed: 0}}
"""


def init(
    path: Annotated[Path, typer.Argument(help="The study file to write.")] = Path("study.yaml"),
    url: Annotated[
        str | None,
        typer.Option(help="The server's address, or sim for simulated models; asked if left out."),
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="The environment variable that holds the server's key.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="One of the server's models; repeatable.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="The server's model that the first --model came from.")
    ] = None,
    dataset: Annotated[str, typer.Option(help="The dataset.")] = "canary",
    root: Annotated[
        Path | None, typer.Option(help="The dataset's folder, if it needs one.")
    ] = None,
    judge: Annotated[str, typer.Option(metavar="NAME[=MODEL]", help="Who judges.")] = "canary",
    limit: Annotated[int, typer.Option(min=1, help="Items to take of the dataset.")] = 40,
    force: Annotated[bool, typer.Option("--force", help="Write over a study.")] = False,
) -> None:
    """Write a first study, with the models that a server has.

    It asks for the address, reads /v1/models there, and asks which to take; with --url and --model
    it asks nothing. The study says in comments what to change. Beside it goes its JSON Schema, by
    which editors complete and check it.
    """
    from opensafemlrm import study
    from opensafemlrm.errors import StudyError
    from opensafemlrm.files import write_atomic
    from opensafemlrm.scaffold import study_schema

    schema = path.with_name(study_schema.NAME)
    if path.exists() and not force:
        raise OptionError(f"{path}: this file exists; name another one, or write over it: --force")
    if not force and schema.exists() and b"SeriesSpec" not in schema.read_bytes():
        raise OptionError(
            f"{schema}: this file is not of this project; name a study in another folder, or write "
            "over it: --force"
        )
    asks = sys.stdin.isatty()
    if url is None and not asks:
        raise typer.BadParameter("say where the models are: --url http://HOST:PORT/v1, or sim")
    address = url or typer.prompt("Address of the server (sim: simulated models)", default=_LOCAL)
    if address == _SIMULATED:
        specs, labels = [f"  - {name}" for name in _SIM_PAIR], list(_SIM_PAIR)
        is_pair = True
    else:
        specs, labels = _models(address, api_key_env, model or [], base, asks=asks)
        is_pair = base is not None
    text = _STUDY.format(
        schema=study_schema.NAME,
        path=path,
        models="\n".join(specs),
        pairs=json.dumps([[labels[0], labels[-1]]]) if is_pair else "auto",
        dataset=_flow({"dataset": dataset, "root": str(root)} if root else dataset),
        judge=_flow(judge_spec(judge)),
        limit=limit,
    )
    try:
        study.parse(text, str(path))
    except StudyError as error:
        raise StudyError(*(f"not written: {message}" for message in error.args)) from error
    write_atomic(schema, study_schema.text())
    write_atomic(path, text)
    say(f"next: safemlrm doctor {path}   safemlrm run {path} --store results --dry-run")
    typer.echo(path)


def _models(
    address: str, api_key_env: str | None, chosen: Sequence[str], base: str | None, *, asks: bool
) -> tuple[list[str], list[str]]:
    """Return the lines of the models, and their labels; the base comes last."""
    from opensafemlrm.api import run_blocking
    from opensafemlrm.models.hosted.listing import served_models

    url, served = run_blocking(served_models(address, api_key_env))
    if not served:
        raise OptionError(f"{url} lists no model: load one into the server first")
    names = [*chosen, *([base] if base else [])]
    for name in names:
        if name not in served:
            raise UnknownNameError(f"model at {url}", name, served)
    if not names:
        names = _ask(served) if asks else served[:1]
    own = url.startswith("https://api.openai.com/")
    provider = "openai" if own or api_key_env else "vllm"
    options = {} if own else {"base_url": url}
    options |= {"api_key_env": api_key_env} if api_key_env else {}
    labels = [f"{provider}/{name}" for name in dict.fromkeys(names)]
    return [f"  - {_flow({'model': label, **options})}" for label in labels], labels


def _ask(served: Sequence[str]) -> list[str]:
    """Ask which of the models to take, by their numbers."""
    for number, name in enumerate(served[:_MAX_LISTED], 1):
        say(f"{number:4}  {name}")
    if len(served) > _MAX_LISTED:
        say(f"      and {len(served) - _MAX_LISTED} more: name them with --model")
    while True:
        answer = typer.prompt("Which, by number, the base of a pair last", default="1")
        words = answer.replace(",", " ").split()
        if words and all(word.isdecimal() and 1 <= int(word) <= len(served) for word in words):
            return [served[int(word) - 1] for word in words]
        say(f"numbers from 1 to {len(served)}, such as: 1 2")


def _flow(value: Any) -> str:
    """Write a value as YAML in one line."""
    import yaml

    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("...").rstrip()
