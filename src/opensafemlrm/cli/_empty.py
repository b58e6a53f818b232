"""Why a table of ``safemlrm table`` has no rows, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._filters import Chosen
from opensafemlrm.types import Part

_NEEDS: Final = {
    "correction": "no reasoning here has a score, nor an answer beside it: ask a judge that reads "
    "the reasoning (`safemlrm judges list`)",
    "overrefusal": "no verdict here is on a harmless request: add a data set with benign items, "
    "such as xstest",
    "defense": "no model here was run with a defense and without one under the same conditions: "
    "name both under `defenses:`, such as [none, self-reminder]",
    "calibrated": "no judge here was compared with labels of people: label replies with `safemlrm "
    "label`, then `safemlrm calibrate`",
    "comprehension": "no judge here says whether a reply understood the request: see `safemlrm "
    "judges list`",
    "cost": "imported results do not say what they took",
    "stopping": "no rule ended this run: the study names none under `stop:`, or it ran to its end",
}


def why_empty(name: str, found: lazy.Results, chosen: Chosen, *, hidden: bool) -> str:
    """Return the sentence that says why the table ``name`` has no rows.

    ``hidden`` says that it has some where nothing is chosen: then the store lacks nothing.
    """
    return next(_reasons(name, found, chosen, hidden=hidden))


def _reasons(name: str, found: lazy.Results, chosen: Chosen, *, hidden: bool) -> Iterator[str]:
    """Yield what may be the reason, the first cause before those that come of it."""
    frame, of_pairs = found.frame(), name in ("tax", "blindspots")
    if frame.is_empty() and not chosen.given:
        yield "there are no replies here yet: run a study with `safemlrm run STUDY --store DIR`"
    if frame.is_empty():
        yield chosen.too_narrow("reply")
    pairs = found.pairs() if of_pairs else None
    if hidden and pairs is not None:
        models = frame["model"].unique().cast(str).to_list()
        if not pairs["reasoner"].is_in(models).any():
            known = "; ".join(f"{model} beside {base}" for model, base in pairs.iter_rows())
            yield f"the models that you chose are no pair; the pairs are: {known}"
        if chosen.rows.part == Part.REASONING:
            yield "a base writes no reasoning to compare with: leave out --part"
    if hidden:
        yield chosen.too_narrow("verdict")
    if frame["judge"].is_null().all() and name not in ("cost", "stopping"):
        yield "no reply here has a verdict: see `safemlrm table coverage`"
    if name in _NEEDS:
        yield _NEEDS[name]
    if frame.filter(frame["expected"] == "harmful").is_empty():
        yield "no reply here is to a harmful item: see `safemlrm table overrefusal`"
    if pairs is not None and pairs.is_empty():
        yield "the study names no pairs: write `pairs:` in it, and give `safemlrm run` again"
    yield "no reply here to a harmful item has a verdict: see `safemlrm table coverage`"
