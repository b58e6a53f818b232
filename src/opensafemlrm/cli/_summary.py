"""What ``safemlrm run`` says when it has ended, and what ``--fail-on`` makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import LOUDNESS, say
from opensafemlrm.cli._output import table_of
from opensafemlrm.text import counted

_LOST: Final = {"not_applicable": "not sent", "blocked": "blocked by the provider"}
_EXAMPLES: Final = 3
_REPLIES: Final = (
    *("stored_replies", "stored_failed", "made", "ok", "truncated", "blocked", "failed"),
    *("not_applicable", "spared"),
)
_VERDICTS: Final = ("stored_judged", "stored_unjudged", "judged", "unscored")


def summarize(turns: Sequence[lazy.Plan], results: str, *, whole: bool) -> None:
    """Say what came of replies and of verdicts; ``whole``: the store was read to its end.

    ``turns`` are those of the study's judges: replies are made in the first.
    """
    plan = turns[0]
    total = _total(plan)
    standing = None if whole else _standing(plan, Path(results))
    if standing is not None:
        total["stored_replies"] = standing.replies - total["made"]
    samples = sum(cell.samples for cell in plan.cells)
    had, made, failed = (total[name] for name in ("stored_replies", "made", "failed"))
    for_good = total["stored_failed"]
    left = samples - had - made - failed - for_good - total["not_applicable"]
    left -= total["spared"]
    before = f" ({for_good:,} more had failed for good before)" if for_good else ""
    kinds = {"ok": "ok", "truncated": "truncated", "blocked": "blocked by the provider"}
    came = ", ".join(f"{total[name]:,} {kind}" for name, kind in kinds.items() if total[name])
    say(
        f"replies: {samples:,} asked for; {had:,} were in the store, {made:,} made now"
        f"{f' ({came})' if came else ''}, {failed:,} failed{before}, {left:,} left"
    )
    if total["spared"]:
        say(
            f"stopped early: {counted(total['spared'], 'sample is', 'samples are')} not needed "
            f"(`safemlrm table stopping {results}`)"
        )
    for turn in turns:
        _say_verdicts(turn, results, f" by {turn.judge.label}" * (len(turns) > 1), whole=whole)
    for name in ("speaking", "unpriced", "dollars"):
        total[name] = sum(getattr(cell.tally, name) for turn in turns for cell in turn.cells)
    if total["speaking"]:
        say(
            "look at this: by its words, "
            f"{counted(total['speaking'], 'text speaks', 'texts speak')} to the judge; "
            "`safemlrm calibrate --probe` measures what comes of that"
        )
    if total["dollars"]:
        least = "at least " if total["unpriced"] else ""
        say(f"cost: {least}{total['dollars']:,.2f} US dollars, by the models' prices")
    if failed:
        say(
            "the next run asks again for what failed, after all else; with --retry-failed also for "
            "what a server turned down while it answered others"
        )
    for cell in plan.cells:
        ends = ("not_applicable", "failed", "blocked")
        lost = [(name, n) for name in ends if (n := getattr(cell.tally, name))]
        if LOUDNESS.verbose:
            cost = f", {cell.tally.dollars:,.2f} US dollars" if cell.tally.dollars else ""
            say(
                f"{' · '.join(cell.label)}: replies in the store before, "
                f"{cell.tally.stored_replies:,}; made now, {cell.tally.made:,}{cost}"
            )
        if lost:
            words = ", ".join(f"{n:,} {_LOST.get(name, name)}" for name, n in lost)
            say(f"{' · '.join(cell.label)}: {words}, for example:")
            for note in dict.fromkeys(cell.tally.notes[: None if LOUDNESS.verbose else _EXAMPLES]):
                say(f"    {note}")


def run_table(turns: Sequence[lazy.Plan]) -> lazy.Table:
    """Return what came of each cell, by each judge, for programs."""
    rows = [
        {
            **dict(zip(("model", "dataset", "attack", "defense"), cell.label, strict=True)),
            "judge": turn.judge.label,
            "samples": cell.samples,
            **{name: getattr(first.tally, name) for name in _REPLIES},
            **{name: getattr(cell.tally, name) for name in _VERDICTS},
            "dollars": cell.tally.dollars,
        }
        for turn in turns
        for first, cell in zip(turns[0].cells, turn.cells, strict=True)
    ]
    forms = {"dollars": lazy.Form.NUMBER, "samples": lazy.Form.COUNT}
    forms |= dict.fromkeys((*_REPLIES, *_VERDICTS), lazy.Form.COUNT)
    columns = {n: (n.replace("_", " "), forms.get(n, lazy.Form.TEXT)) for n in rows[0]}
    return table_of("run", "What came of each cell", columns, rows)


def _total(plan: lazy.Plan) -> dict[str, Any]:
    return {
        name: sum(getattr(cell.tally, name) for cell in plan.cells)
        for name in (*_REPLIES, *_VERDICTS)
    }


def _say_verdicts(plan: lazy.Plan, results: str, judge: str, *, whole: bool) -> None:
    total = _total(plan)
    had, judged, unscored = (total[name] for name in ("stored_judged", "judged", "unscored"))
    left = total["stored_unjudged"] + total["ok"] + total["truncated"] - judged
    if not whole and (standing := _standing(plan, Path(results))) is not None:
        # What a judge that gave nothing left unscored is judged again, so it counts as left.
        judged = min(judged, standing.judged)
        had, left = standing.judged - judged, standing.unjudged
    lost = counted(unscored, "text that it could not score", "texts that it could not score")
    say(
        f"judged{judge}: {had:,} replies before, {judged:,} now, {left:,} left to judge"
        f"{f'; {lost} (`safemlrm table coverage {results}` says why)' if unscored else ''}"
    )


def _standing(plan: lazy.Plan, store: Path) -> lazy.Standing | None:
    """Count the replies in a store, judged and not; ``None`` where there is none to count."""
    if not (store / lazy.DATABASE).is_file():
        return None
    with lazy.Store.open(store) as opened:
        counts = [lazy.engine.standing(plan, cell, opened.connection) for cell in plan.cells]
    return lazy.Standing(
        sum(count.replies for count in counts),
        sum(count.judged for count in counts),
        sum(count.unjudged for count in counts),
    )


def gave_nothing(plan: lazy.Plan) -> Iterator[str]:
    """Yield a sentence for each model that has given no usable reply, in this run or before, also
    with one of its defenses alone, and for each that was sent nothing.
    """
    by_model = plan.by_model()
    for label, tally in by_model.items():
        cells = [cell for cell in plan.cells if cell.model.label == label]
        if not sum(cell.samples for cell in cells):
            if cells[0].subset.shard is None:  # of few items, a shard may have none
                yield f"no item is left to send to the model {label}"
        elif tally.only_unsent:
            yield f"no prompt could be sent to the model {label}{_example(tally)}"
        elif tally.only_failed:
            yield f"every sample of the model {label} failed{_example(tally)}"
    for (label, defense), tally in plan.by_defense().items():
        if tally.only_failed and not by_model[label].only_failed:
            yield f"every sample of the model {label} with {defense} failed{_example(tally)}"


def _example(tally: lazy.Tally) -> str:
    return f", for example: {tally.notes[0]}" if tally.notes else ""


_OF_REPLIES: Final = ("failed", "blocked", "truncated")
_UNSCORED: Final = "unscored"
_KINDS: Final = (_UNSCORED, *_OF_REPLIES)


def shares(text: str | None) -> dict[str, float]:
    """Read ``--fail-on``, which shares of a cell may be missing: ``unscored=10%,failed=0.05``.

    Nothing where there is none. Raises BadParameter.
    """
    limits = {}
    for entry in (text or "").split(",") if text is not None else ():
        name, _, share = entry.strip().partition("=")
        try:
            limit = float(share.removesuffix("%")) / (100 if share.endswith("%") else 1)
        except ValueError:
            limit = -1.0
        if name not in _KINDS or not 0 <= limit <= 1:
            raise typer.BadParameter(
                f"--fail-on: {entry.strip()!r} is not KIND=SHARE, such as unscored=10%; kinds: "
                f"{', '.join(_KINDS)}, by a share from 0 to 100%"
            )
        limits[name] = limit
    return limits


def exceeded(plan: lazy.Plan, path: str, limits: Mapping[str, float]) -> Iterator[str]:
    """Yield a sentence for each share that a cell of ``plan`` exceeds.

    ``unscored`` is of the whole replies that a judge of the study has no score for; the others are
    of how replies ended.
    """
    results = lazy.Results(path)
    cells = [cell.id for cell in plan.cells]
    judges = [judge.label for judge in plan.study.judges]
    tables = {name: results.coverage() for name in _OF_REPLIES}
    verdicts = results.verdict_coverage()
    # Of two judges of one label, tables have a piece of the key behind each.
    of_judge = verdicts["judge"].cast(str).str.split("#").list.first().is_in(judges)
    tables[_UNSCORED] = verdicts.filter(of_judge & (verdicts["part"] == "full")).with_columns(
        unscored=lazy.pl.col("n") - lazy.pl.col("safe") - lazy.pl.col("unsafe")
    )
    for name, limit in limits.items():
        rows = tables[name]
        for row in rows.filter(rows["cell"].cast(str).is_in(cells)).iter_rows(named=True):
            share = row[name] / row["n"]
            if share > limit:
                where = " · ".join(row[key] for key in ("model", "dataset", "attack", "defense"))
                yield f"{where}: {100 * share:.1f} % {name}, more than {100 * limit:g} %"
