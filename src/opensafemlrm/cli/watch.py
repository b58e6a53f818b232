"""``safemlrm watch``: see that a model behind an API was changed; for cron."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import ExitCode, fail, say
from opensafemlrm.cli._option import budgeted
from opensafemlrm.cli._output import (
    FormatOption,
    MaxCost,
    MaxRequests,
    PricesOption,
    show,
    table_of,
)
from opensafemlrm.cli.run import refuse_other_folder, run_and_report, run_to_end
from opensafemlrm.text import Format, counted

Within: TypeAlias = Callable[[Any], Any]
"""What puts a model under the budget of the whole command."""
_MIN_CAME = 0.5
"""The share of a probe's replies without which nothing is said of a model."""


_PROBED = ("model", "replies", "p_value", "statistic", "new_name", "changed")


@dataclass(slots=True)
class _Seen:
    """What a watch saw: rows of the probe, and the rates of models that were run anew."""

    models: list[tuple[Any, ...]] = field(default_factory=list)
    figures: lazy.pl.DataFrame | None = None


def watch(
    study: Annotated[Path, typer.Argument(help="The study file (YAML).")],
    store: Annotated[Path, typer.Option(help="The folder for the results; made if needed.")],
    whole: Annotated[
        bool, typer.Option("--whole", help="Run the whole study anew, whatever the probe sees.")
    ] = False,
    every: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Run the whole study anew when the last run is so old: 4w, 30d."
        ),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(
            min=0.001, max=1, help="A probe's share of each model's requests; 0.1 if left out."
        ),
    ] = None,
    error: Annotated[
        float | None,
        typer.Option(
            min=0.0005,
            max=0.2,
            help="How often a probe may see a change that is none; 0.005 if left out.",
        ),
    ] = None,
    max_requests: MaxRequests = None,
    max_cost: MaxCost = None,
    prices: PricesOption = None,
    to: FormatOption = Format.TEXT,
) -> None:
    """Ask a few questions again, and run the whole study only when a model answers otherwise.

    The first time it runs the study, and asks a tenth of the requests four times over as what later
    probes are compared with. After that it asks them once each time, and ends with 0 and one line.
    If a model was changed, it runs the study anew beside the old one, compares, and ends with 5 if
    a model is less safe than before. One budget holds for the probe and the whole run; the next
    watch goes on with what it cut short. --format prints what it saw as tables: a row for each
    model of the probe, and for each rate of a model that was run anew.
    """
    lazy.study.load(study)  # before there is a folder
    within = budgeted(max_requests, max_cost, prices)
    oldest = None if every is None else datetime.now(UTC) - lazy.watch_state.age(every)
    refuse_other_folder(store)
    seen = _Seen()
    try:
        with lazy.lock_to_write(store / lazy.watch_state.FOLDER, existing=False):
            state = lazy.watch_state.State.load(store)
            if state.is_new:
                _refuse_versions(study, store)
            last = state.versions[-1]
            if last.is_compared:
                is_due = whole or (oldest is not None and last.begun <= oldest)
                if not (is_due or _probe(study, within, store, state, share, error, seen)):
                    return
                state.begin()
                state.save(store)
            _run_whole(study, within, store, state)
            if not state.versions[-1].has_reference:
                _probe(study, within, store, state, share, error, seen)
            _compare(study, within, store, state, seen)
    finally:
        if to is not Format.TEXT:
            figures = lazy.pl.DataFrame() if seen.figures is None else seen.figures
            show([_probe_table(seen), lazy.CHANGED_FIGURES.of(figures)], to)


def _refuse_versions(study: Path, store: Path) -> None:
    """Exit where a store holds versions of a model that no watch here knows: it was merged."""
    if not (store / lazy.DATABASE).exists():
        return
    loaded = lazy.study.load(study)
    series = (version.model for one in loaded.series for version in one.versions)
    own = {model.label for model in (*loaded.models, *series)}
    with lazy.open_source(store) as source:
        labels = set(lazy.named_cells(source)["model"].cast(str)) - own
    for model in filter(lazy.probe.can_change, loaded.models):
        if any(label.startswith(f"{model.label}@") for label in labels):
            fail(f"{store} holds versions of {model.label}, but not what a watch knows of them")
            say("copy the folder watch/ of the store that was watched into it, or name a new store")
            raise typer.Exit(ExitCode.UNUSABLE)


def _probe(
    study: Path,
    within: Within,
    store: Path,
    state: lazy.watch_state.State,
    share: float | None,
    error: float | None,
    seen: _Seen,
) -> bool:
    """Ask the probe's questions once more; return whether a model was changed."""
    version = state.versions[-1]
    whole = _plan(study, within, version)
    if not version.items:
        version.items = _choose(whole, store, share or lazy.watch.SHARE)
    batch = version.next_batch()
    state.save(store)
    plan = lazy.probe.plan_of(whole, version.items, batch.first + batch.count)
    if not plan.cells:
        fail("nothing that the probe asks is in this study: it was changed since")
        say("run the whole study anew with --whole")
        raise typer.Exit(ExitCode.UNUSABLE)
    folder = state.replies(store)
    ended, code = run_to_end([plan], folder)
    if ended:
        (fail if code == ExitCode.UNUSABLE else say)(f"the probe is not finished: {ended}")
        say("everything that came is kept; the next watch goes on with it")
        raise typer.Exit(code)
    with lazy.open_source(folder) as source:
        looks = lazy.probe.look(source, plan, batch.first)
    _refuse_silence(plan, looks, batch.count)
    batch.done = True
    if not batch.first:
        state.save(store)
        samples = sum(cell.samples for cell in plan.cells)
        say(f"probe: the next replies will be compared with these {samples:,}")
        return False
    # The least of several p-values is less by chance.
    p_values = {seen.model: min(1.0, len(looks) * seen.swap.p_value) for seen in looks}
    batch.p_value = min(p_values.values())
    for model in looks:
        p, swap, new_name = p_values[model.model], model.swap, model.new_name
        is_changed = p <= (error or lazy.watch.ERROR) or new_name is not None
        seen.models.append((model.model, model.replies, p, swap.statistic, new_name, is_changed))
        if is_changed:
            say(_sentence(model, p))
    requests = sum(model.replies for model in looks)
    if any(is_changed for *_, is_changed in seen.models):
        return True  # it is written down with the version that begins now
    state.save(store)
    say(f"probe: no change seen in {counted(requests, 'reply')} (p = {batch.p_value:.3g})")
    return False


def _probe_table(seen: _Seen) -> lazy.Table:
    schema = dict(zip(_PROBED, (str, int, float, str, str, bool), strict=True))
    rows = lazy.pl.DataFrame(seen.models, schema, orient="row")
    columns = {name: name.replace("_", " ") for name in _PROBED}
    return table_of("probe", "What the probe saw", columns, rows)


def _sentence(seen: lazy.probe.Seen, p_value: float) -> str:
    if seen.new_name is not None:
        return f"probe: {seen.model} calls itself by another name now: {seen.new_name}"
    swap = seen.swap
    direction = "more" if swap.z > 0 else "less"
    return (
        f"probe: {seen.model} answers otherwise than before (p = {p_value:.2g}; {direction} of: "
        f"{swap.statistic})"
    )


def _refuse_silence(plan: lazy.Plan, looks: list[lazy.probe.Seen], count: int) -> None:
    """Exit where too few replies came: that nothing was seen would not be true."""
    came = {seen.model: seen.replies for seen in looks}
    requests: dict[str, int] = {}
    for cell in plan.cells:
        requests[cell.model.label] = requests.get(cell.model.label, 0) + count * cell.subset.size
    silent = [model for model, n in requests.items() if came.get(model, 0) < _MIN_CAME * n]
    for model in silent:
        fail(f"the probe: {model} gave {came.get(model, 0):,} of {requests[model]:,} replies")
    if silent:
        say("nothing was compared; the next watch asks again for what failed")
        raise typer.Exit(ExitCode.UNUSABLE)


def _run_whole(study: Path, within: Within, store: Path, state: lazy.watch_state.State) -> None:
    version = state.versions[-1]
    if version.is_whole:
        return
    run_and_report(_plan(study, within, *state.versions), store)
    version.is_whole = True
    state.save(store)


def _compare(
    study: Path,
    within: Within,
    store: Path,
    state: lazy.watch_state.State,
    seen: _Seen,
) -> None:
    """Say where models are less safe than in the version before, and exit with 5 if they are."""
    compared, less_safe = None, lazy.pl.DataFrame()
    if len(state.versions) > 1:
        before, now = (_plan(study, within, version).study for version in state.versions[-2:])
        compared = lazy.probe.rates_of(lazy.results.open(store).frame(), before, now)
        less_safe = lazy.probe.worse(compared)
        seen.figures = compared
        for row in less_safe.iter_rows(named=True):
            names = (row[name] for name in ("model", "dataset", "attack", "defense", "scenario"))
            where = " · ".join(name for name in names if name not in ("none", "all"))
            change = f"{100 * row['rate_a']:.1f} % before, {100 * row['rate_b']:.1f} % now"
            say(f"less safe: {where}, {row['part']}: {change} (p = {row['p_holm']:.2g})")
    # Only after it was printed: a watch that is killed before this compares again the next time.
    state.versions[-1].is_compared = True
    state.save(store)
    if compared is None:
        return
    if len(less_safe):
        raise typer.Exit(ExitCode.AUDIT_FAILED)
    if compared["p_value"].is_null().all():
        say("nothing can be compared: see `safemlrm table coverage`; or take `stop` out")
        raise typer.Exit(ExitCode.AUDIT_UNDECIDED)
    say("no model is shown to be less safe than before")


def _plan(study: Path, within: Within, *versions: lazy.watch_state.Version) -> lazy.Plan:
    """Return the plan of the last of these versions; a whole run tells the store of all of them."""
    names = [version.name for version in versions]
    return lazy.api.make_plan(
        lazy.probe.with_series(lazy.study.load(study), names).map_models(within)
    )


def _choose(plan: lazy.Plan, store: Path, share: float) -> dict[str, list[str]]:
    cells = [cell for cell in plan.cells if lazy.probe.can_change(cell.model)]
    return lazy.probe.choose(lazy.results.open(store).frame(), cells or plan.cells, share)
