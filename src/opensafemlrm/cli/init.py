"""``safemlrm init``, a first study from what a server serves, and ``new``, a component of yours."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._complete import option_of
from opensafemlrm.cli._console import say, say_next
from opensafemlrm.cli._option import judge_spec
from opensafemlrm.errors import OptionError, SafeMLRMError, StudyError, UnknownNameError

_LOCAL: Final = "http://localhost:8000/v1"
_SIMULATED: Final = "sim"
_SIM_PAIR: Final = ("sim/r1-onevision-7b", "sim/qwen2.5-vl-7b")
_MAX_LISTED: Final = 40
_PAIR: Final = 2
_REMEDIES: Final = {"root": "--root DIR", "model": "--judge NAME=PROVIDER/MODEL"}
"""Options of this command for what a component needs."""
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
    dataset: Annotated[str, option_of("dataset", "The dataset.")] = "canary",
    root: Annotated[
        Path | None, typer.Option(help="The dataset's folder, if it needs one.")
    ] = None,
    judge: Annotated[str, option_of("judge", "Who judges.", metavar="NAME[=MODEL]")] = "canary",
    limit: Annotated[int, typer.Option(min=1, help="Items to take of the dataset.")] = 40,
    force: Annotated[bool, typer.Option("--force", help="Write over a study.")] = False,
) -> None:
    """Write a first study, with the models that a server has.

    It asks for the address, reads /v1/models there, and asks which to take; with --url and --model
    it asks nothing. Comments in the study say what you can change. A JSON Schema is written beside
    it, so that editors complete and check the file.
    """
    schema = path.with_name(lazy.study_schema.NAME)
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
    address, served = _ask_address(api_key_env) if url is None else _served(url, api_key_env)
    if address == _SIMULATED:
        specs, labels = [f"  - {name}" for name in _SIM_PAIR], list(_SIM_PAIR)
        is_pair = True
    else:
        names = [*(model or []), *([base] if base else [])]
        is_pair = base is not None
        if not names and asks:
            names = _ask(served)
            is_pair = len(names) == _PAIR
        specs, labels = _models(address, api_key_env, names or served[:1], served)
    text = _STUDY.format(
        schema=lazy.study_schema.NAME,
        path=path,
        models="\n".join(specs),
        pairs=json.dumps([[labels[0], labels[-1]]]) if is_pair else "auto",
        dataset=_flow({"dataset": dataset, "root": str(root)} if root else dataset),
        judge=_flow(judge_spec(judge)),
        limit=limit,
    )
    try:
        lazy.study.parse(text, str(path))
    except StudyError as error:
        raise StudyError(*(f"not written: {_by_option(text)}" for text in error.args)) from error
    lazy.write_atomic(schema, lazy.study_schema.text())
    lazy.write_atomic(path, text)
    say_next(f"doctor {path}", f"run {path} --store results --dry-run")
    typer.echo(path)


def _served(address: str, api_key_env: str | None) -> tuple[str, list[str]]:
    """Return a server's address, with its ``/v1``, and its models; none of simulated ones."""
    if address == _SIMULATED:
        return address, []
    url, served = lazy.api.run_blocking(lazy.served_models(address, api_key_env))
    if not served:
        raise OptionError(f"{url} lists no model: load one into the server first")
    return url, served


def _ask_address(api_key_env: str | None) -> tuple[str, list[str]]:
    """Ask where the models are, until a server answers or they are simulated."""
    question = f"Address of your server, such as {_LOCAL}, or {_SIMULATED} for simulated models"
    default = _LOCAL
    while True:
        answer = typer.prompt(question, default=default).strip()
        if len(answer.split()) != 1:
            say("an address has no blank in it")
            continue
        if answer != _SIMULATED and "://" not in answer:
            default = f"http://{answer.removesuffix('/').removesuffix('/v1')}/v1"
            say(f"an address begins with http:// or https://; press Enter for {default}")
            continue
        try:
            return _served(answer, api_key_env)
        except SafeMLRMError as error:
            say(str(error))
            default = answer


def _models(
    url: str, api_key_env: str | None, names: Sequence[str], served: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the lines of the models, and their labels; the base comes last."""
    for name in names:
        if name not in served:
            raise UnknownNameError(f"model at {url}", name, served)
    own = url.startswith("https://api.openai.com/")
    provider = "openai" if own or api_key_env else "vllm"
    options = {} if own else {"base_url": url}
    options |= {"api_key_env": api_key_env} if api_key_env else {}
    labels = [f"{provider}/{name}" for name in dict.fromkeys(names)]
    return [f"  - {_flow({'model': label, **options})}" for label in labels], labels


def _ask(served: Sequence[str]) -> list[str]:
    """Ask which of the models to take, by their numbers, until they are numbers of models."""
    for number, name in enumerate(served[:_MAX_LISTED], 1):
        say(f"{number:4}  {name}")
    if len(served) > _MAX_LISTED:
        say(f"      and {len(served) - _MAX_LISTED} more: name them with --model")
    question = "Models, by number; for a pair give the reasoning model, then its base"
    if len(served) == 1:
        question = "Model, by number"
    while True:
        words = typer.prompt(question, default="1").replace(",", " ").split()
        if words and all(word.isdecimal() and 1 <= int(word) <= len(served) for word in words):
            return [served[int(word) - 1] for word in dict.fromkeys(words)]
        several = f"numbers from 1 to {len(served)}, such as: 1 2"
        say(several if len(served) > 1 else "there is one model: answer 1")


def _by_option(mistake: str) -> str:
    """Return a mistake in a study that was not written, by the option that it came from."""
    placed = re.search(r", line \d+, (\w+?)s?(?:\.\d+)?(?:\.\w+)?: (.+)$", mistake, re.DOTALL)
    if placed is None:
        return mistake
    option, message = placed.groups()
    needed = re.search(r"needs the option '(\w+)'", message)
    if needed and needed[1] in _REMEDIES:
        message = f"{message[: needed.end()]}; give it with {_REMEDIES[needed[1]]}"
    return f"--{option}: {message}"


def _flow(value: Any) -> str:
    """Write a value as YAML in one line."""
    text = lazy.yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("...").rstrip()


_Kind: TypeAlias = Literal["dataset", "attack", "defense", "judge", "model"]


def new(
    kind: Annotated[_Kind, typer.Argument(help="What to begin.")],
    name: Annotated[str, typer.Argument(help="Its name, such as moon-lantern.")],
    plugin: Annotated[
        bool, typer.Option("--plugin", help="Write a package of your own, in a new folder.")
    ] = False,
    root: Annotated[
        Path, typer.Option(help="The checkout, or with --plugin where to put the folder.")
    ] = Path(),
) -> None:
    """Write a small component that works, its test, and the lines that make it known.

    In a checkout of opensafemlrm these are a file, a test, a row of the registry and a row of the
    documents; `make check` is green at once. Then change the file to what you want it to do.
    """
    write = lazy.scaffold.write_package if plugin else lazy.scaffold.write_in_tree
    for path in write(lazy.ComponentKind(kind), name, root):
        typer.echo(path)
