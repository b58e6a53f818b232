"""``safemlrm eval``: a study in one line, which is written down and run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._complete import argument_of, models, option_of
from opensafemlrm.cli._console import say
from opensafemlrm.cli._dry_run import show_dry_run
from opensafemlrm.cli._option import budgeted, judge_spec, parse_option
from opensafemlrm.cli._output import FormatOption, MaxCost, MaxRequests, PricesOption
from opensafemlrm.cli.run import refuse_other_folder, report_reversed, run_and_report
from opensafemlrm.errors import StudyError
from opensafemlrm.redaction import keys_in_addresses
from opensafemlrm.text import Format

_KINDS: Final = ("dataset", "model", "base", "attack", "defense", "judge", "sampling")
_OWN_JUDGE: Final = {"canary": "canary"}
"""Datasets with a judge that is made for them and asks no model."""


def evaluate(
    dataset: Annotated[
        str, argument_of("dataset", "The dataset; `safemlrm datasets list` shows them.")
    ],
    model: Annotated[
        list[str],
        typer.Option(
            help="PROVIDER/NAME or http://HOST/v1#NAME; repeatable.", autocompletion=models
        ),
    ],
    store: Annotated[Path, typer.Option(help="The folder for the results; made if needed.")],
    base: Annotated[
        list[str] | None,
        typer.Option(
            help="The base of a model: one for all of them, or one for each --model.",
            autocompletion=models,
        ),
    ] = None,
    attack: Annotated[
        list[str] | None, option_of("attack", "How items are asked: direct by default; repeatable.")
    ] = None,
    defense: Annotated[
        list[str] | None,
        option_of("defense", "A defense to put around the models: none by default; repeatable."),
    ] = None,
    judge: Annotated[
        list[str] | None,
        option_of(
            "judge",
            "Who judges. You can leave it out for canary alone; repeatable.",
            metavar="NAME[=MODEL]",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Take at most this many items, spread over the scenarios."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            "-o",
            metavar="KIND.KEY=VALUE",
            help="dataset.root=DIR, model.base_url=URL, attack.steps=3, sampling.max_tokens=2048; "
            "model is also for --base; repeatable.",
        ),
    ] = None,
    max_requests: MaxRequests = None,
    max_cost: MaxCost = None,
    prices: PricesOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the planned requests and exit.")
    ] = False,
    to: FormatOption = Format.TEXT,
) -> None:
    """Evaluate models on a dataset, in one line.

    The study is written into the store's folder and run. Go on with that file: add to it, and what
    is there already is not asked again.
    """
    judges = [judge_spec(name) for name in judge or _own_judge(dataset)]
    given = _options(option or [])
    of_base = {**given["model"], **given["base"]}
    keys: dict[str, Any] = {
        "models": [
            *(_spec("model", name, given["model"]) for name in model),
            *(_spec("model", name, of_base) for name in dict.fromkeys(base or [])),
        ],
        "pairs": _pairs(model, base or []),
        "datasets": [_spec("dataset", dataset, given["dataset"])],
        "attacks": [_spec("attack", name, given["attack"]) for name in attack or ["direct"]],
        "defenses": [_spec("defense", name, given["defense"]) for name in defense or ["none"]],
        "judges": [_spec("judge", name, given["judge"]) for name in judges],
        "sampling": given["sampling"],
        "limit": limit,
    }
    text = _text({key: value for key, value in keys.items() if value})
    refuse_other_folder(store)
    within = budgeted(max_requests, max_cost, prices)
    plan = lazy.api.make_plan(_study(keys, text).map_models(within))
    report_reversed(plan)
    if dry_run:
        show_dry_run(plan, store, None, to)
        return
    lazy.api.check_ready(plan.turns(), store)  # before a folder is made
    path = _write(store, text)
    say(f"the study: {path}")
    more = (f"report {store}", f"view {store}", f"run {path} --store {store}")
    run_and_report(plan, store, to=to, figures=lambda: _figures(plan, store), more=more)


def _figures(plan: lazy.Plan, store: Path) -> list[lazy.Table]:
    """Return the rates of what the plan asks for, with n and intervals, and the tax of its pairs.

    The store may hold more: other items, other settings of the same models.
    """
    opened = lazy.results.open(store)
    subsets = {id(cell.subset): cell.subset for cell in plan.cells}
    items = {place: [item.key for item in subset.items()] for place, subset in subsets.items()}
    pairs = [(cell.id, key.hex().upper()) for cell in plan.cells for key in items[id(cell.subset)]]
    with lazy.open_source(store) as source:
        known = lazy.frame.judges(source)
    judges = known.filter(known["judge_id"].is_in([turn.judge_key for turn in plan.turns()]))
    keys = ("cell", "item_key")
    frame = opened.frame().filter(
        lazy.pl.concat_str(keys, separator=" ").is_in([" ".join(pair) for pair in pairs]),
        lazy.pl.col("repeat") < plan.study.repeats,
        lazy.pl.col("judge")
        .cast(lazy.pl.String)
        .is_in(judges["judge"].cast(lazy.pl.String).implode()),
    )
    lowest = lazy.pl.col("threshold") == lazy.pl.col("threshold").min().over("judge")
    rates = lazy.asr(frame).filter(lowest)
    if rates.is_empty():
        say("no reply to a harmful item has a verdict, so there is no rate")
    taxes = lazy.tax(frame, opened.pairs()).filter(
        lowest, lazy.pl.col("level").cast(lazy.pl.String) != "macro"
    )
    return [lazy.rates.asr_table(rates), lazy.rates.TAX.of(taxes)]


def _own_judge(dataset: str) -> list[str]:
    if dataset not in _OWN_JUDGE:
        lazy.registry.find(
            lazy.ComponentKind.DATASET, dataset
        )  # one that does not exist needs no judge
        raise typer.BadParameter(
            "say who judges: --judge policy-rubric=PROVIDER/NAME, or --judge rules for wording "
            "alone; `safemlrm judges list` shows all"
        )
    return [_OWN_JUDGE[dataset]]


def _options(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the options of each kind. Raises BadParameter and OptionError."""
    options: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}
    for text in texts:
        name, value = parse_option(text)
        kind, dot, key = name.partition(".")
        if kind not in options or not dot or not key:
            raise typer.BadParameter(
                f"-o {text}: an option is KIND.KEY=VALUE, such as dataset.root=DIR; kinds: "
                f"{', '.join(_KINDS)}"
            )
        options[kind][key] = value
    return options


def _spec(kind: str, spec: Any, options: Mapping[str, Any]) -> Any:
    """Return what a study says of a component, with options."""
    if not options:
        return spec
    return {kind: spec, **options} if isinstance(spec, str) else {**spec, **options}


def _pairs(models: Sequence[str], bases: Sequence[str]) -> Any:
    if not bases:
        return "auto"
    if len(bases) not in (1, len(models)):
        raise typer.BadParameter("give one --base for all models, or one for each --model in turn")
    names = [*bases] * len(models) if len(bases) == 1 else bases
    return [list(map(_label, pair)) for pair in zip(models, names, strict=True)]


def _label(name: str) -> str:
    """Return the label of a model: one at an address is called by its name there."""
    url, hash_sign, model = name.partition("#")
    return f"openai/{model}" if hash_sign and url.startswith("http") else name


def _study(keys: Mapping[str, Any], text: str) -> Any:
    """Return the study. Raises StudyError with all that is wrong, by what was typed."""
    try:
        return lazy.Study(**keys, text=text)
    except lazy.SpecError as error:
        messages = []
        for (key, *rest), message in error.mistakes:
            place = ".".join(str(step) for step in rest if not isinstance(step, int))
            kind = str(key).removesuffix("s")
            option = f"-o {kind}.{place}" if place else f"--{kind}"
            needed = re.search(r"needs the option '(\w+)'", message)
            give = "" if needed is None else f"; give it with -o {kind}.{needed[1]}=VALUE"
            # The dataset itself is no option of the command.
            shown = "dataset" if option == "--dataset" else option
            messages.append(f"{shown}: {message[: needed and needed.end()]}{give}")
        raise StudyError(*messages) from error


def _text(keys: Mapping[str, Any]) -> str:
    """Return the study as a file."""
    for name in keys_in_addresses(str(keys)):
        raise typer.BadParameter(
            f"the address has a key in it ({name}=…), and the study is written beside its results, "
            "which you may give away: name its variable with -o model.api_key_env=NAME; a server "
            "that takes it in the address alone needs a study file of your own, for `safemlrm run`"
        )
    head = "# Written by `safemlrm eval`. Add to it, and run it again with `safemlrm run`.\n"
    return head + lazy.yaml.safe_dump(dict(keys), sort_keys=False, allow_unicode=True)


def _write(store: Path, text: str) -> Path:
    """Write the study beside its results, under a name that no other study has."""
    lazy.make_folder(store)
    number = 1
    while True:
        path = store / ("study.yaml" if number == 1 else f"study-{number}.yaml")
        if not (path.exists() or path.is_symlink()):
            lazy.write_atomic(path, text)
            return path
        if path.is_file() and path.read_bytes() == text.encode():
            return path
        number += 1
