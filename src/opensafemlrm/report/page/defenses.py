"""What a page says of defenses: safety, and what it is paid with."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from typing import Any, Final

import polars as pl

from opensafemlrm.analysis.defense import UNDEFENDED
from opensafemlrm.report.defense import defense_table
from opensafemlrm.report.figures import pareto
from opensafemlrm.report.figures.forest import signed
from opensafemlrm.report.page.charts import MAX_PANELS, PARTS, Picture
from opensafemlrm.report.page.findings import Findings, frame_of, is_defended
from opensafemlrm.report.page.settings import Setting

_USELESS: Final = 0.5
"""Share of benign items refused from which a page calls a defense a refusal of help."""
_NAMED: Final = 4
_OPTIONS: Final = re.compile(r"\[(?:[^\[\]]|\[[^\[\]]*\])*\]")
"""Options in a label, and those of a component among them."""


def words(found: Findings) -> tuple[str, ...]:
    """Return what is said of the store's defenses; nothing where it has none."""
    if not any(map(is_defended, found.asr)):
        return ()
    rows = [row for row in _shown(found) if row.defense != UNDEFENDED]
    compared = [row for row in rows if row.asr_change is not None]
    if not compared:
        return (
            "No defense can be compared: the same model without a defense was not measured under "
            "the same conditions. Add none to the study\u2019s defenses.",
            *_not_applicable(found),
        )
    return tuple(
        filter(
            None,
            [
                _safety(found, compared),
                _help(found, rows),
                _useless(found, rows),
                *_not_applicable(found),
            ],
        )
    )


def fronts(found: Findings) -> tuple[Picture, ...]:
    """Picture safety against over-refusal, one picture a setting, one panel a model."""
    pictures: list[Picture] = []
    rows = _shown(found)
    short = _short_names(rows)
    for setting in found.settings.drawn:
        here = [row for row in rows if Setting.of(_undefended(row)) == setting]
        mine = [row for row in here if row.pareto is not None]
        models = [model for model in found.models if any(row.model == model for row in mine)]
        if not any(row.defense != UNDEFENDED for row in mine):
            continue
        drawn = [
            (
                found.shown(row.model),
                short[row.defense],
                1 - (row.asr or 0),
                row.overrefusal or 0,
                row.requests or 0,
                bool(row.pareto),
                row.defense == UNDEFENDED,
            )
            for model in models[:MAX_PANELS]
            for row in mine
            if row.model == model
        ]
        left_out = len(here) - len(mine)
        cut = len(models) - MAX_PANELS
        pictures.append(
            Picture(
                name=f"defenses-{len(pictures) + 1}",
                title=f"Safety against over-refusal, with and without defenses: "
                f"{found.settings.names[setting]}",
                reading=_reading(found, mine),
                draw=partial(pareto.pareto, pl.DataFrame(drawn, pareto.COLUMNS, orient="row")),
                table=defense_table(
                    frame_of(
                        [
                            row
                            for row in found.defenses
                            if row.part == found.part and Setting.of(_undefended(row)) == setting
                        ]
                    )
                ),
                note=f"Safe: scored replies ({PARTS[found.part]}) below {found.lenient:g}. Behind "
                "a name: requests a reply takes. The line joins what no other defense of the model "
                "beats in the two; a filled dot stands where none is as good in safety, "
                "over-refusal and requests and better in one."
                + (f" Not measured in all three: {left_out}." if left_out else "")
                + (f" {cut} more models are in the tables." if cut > 0 else ""),
            )
        )
    return tuple(pictures)


def _shown(found: Findings) -> list[Any]:
    """Return the rows of the drawn settings, part and threshold, the undefended ones included."""
    return [
        row
        for row in found.defenses
        if (row.part, row.threshold) == (found.part, found.lenient)
        and _undefended(row) in found.settings
    ]


def _short_names(rows: list[Any]) -> dict[str, str]:
    """Return what a chart calls each defense: without its options, where that tells them apart."""
    names = {row.defense: _OPTIONS.sub("", row.defense) for row in rows}
    times = Counter(names.values())
    return {name: short if times[short] == 1 else name for name, short in names.items()}


def _undefended(row: Any) -> Setting:
    """Return the setting of the undefended side of a row."""
    return Setting(row.dataset, row.attack, UNDEFENDED, row.judge, row.sampling)


def _reading(found: Findings, rows: list[Any]) -> str:
    """Say in one line which defense gained most, and what it is paid with."""
    gained = [row for row in rows if row.asr_change is not None]
    best = min(gained, key=lambda row: row.asr_change or 0)
    change = best.asr_change or 0
    if change >= 0:
        return "No defense lowers the share of unsafe replies."
    requests = best.requests or 0
    return (
        f"Most gained: {found.shown(best.model)} with {best.defense}, {signed(100 * change)} "
        f"points of unsafe replies, {signed(100 * (best.overrefusal_change or 0))} of benign "
        f"requests refused, {requests:.3g} request{'' if requests == 1 else 's'} a reply."
    )


def _safety(found: Findings, rows: list[Any]) -> str:
    safer = sum(row.asr_change_high is not None and row.asr_change_high < 0 for row in rows)
    worse = sum(row.asr_change_low is not None and row.asr_change_low > 0 for row in rows)
    return (
        f"Each model under each defense beside itself undefended, paired by item, at a score of "
        f"{found.lenient:g} ({PARTS[found.part]}): unsafe replies fall in {safer} of {len(rows)} "
        f"comparisons and rise in {worse}; {len(rows) - safer - worse} are undecided at 95 % "
        "confidence."
    )


def _help(found: Findings, rows: list[Any]) -> str:
    known = [row for row in rows if row.overrefusal_change is not None]
    if not known:
        return (
            "Over-refusal was not measured: there are no benign items. A defense that refuses "
            "everything cannot be told from one that helps, so no front is drawn."
        )
    more = sum(
        row.overrefusal_change_low is not None and row.overrefusal_change_low > 0 for row in known
    )
    return (
        f"Refusals of benign requests rise in {more} of {len(known)}. Safety without help is no "
        "gain: up and to the left is better."
    )


def _useless(found: Findings, rows: list[Any]) -> str:
    """Name the defenses that are safe because they refuse."""
    refusing = [
        row
        for row in rows
        if (row.overrefusal or 0) >= _USELESS and (row.overrefusal_change_low or 0) > 0
    ]
    if not refusing:
        return ""
    named = [
        f"{found.shown(row.model)} with {row.defense} under {row.attack} refuses "
        f"{100 * (row.overrefusal or 0):.1f} % of benign requests"
        for row in refusing[:_NAMED]
    ]
    more = len(refusing) - len(named)
    return (
        f"{'; '.join(named)}{f'; {more} more do' if more else ''}: what this gains in safety it "
        "gains by refusing, and it is no defense that could be used."
    )


def _not_applicable(found: Findings) -> list[str]:
    rows = found.not_applicable.filter(pl.col("defense") != UNDEFENDED)
    if rows.is_empty():
        return []
    return [
        f"Not sent, because a defense could not be applied or an attack could not carry an item: "
        f"{rows['items'].sum():,} prompts under {', '.join(rows['defense'].unique().sort())}; the "
        "reasons stand under “What was not measured”. They are in no rate."
    ]
