"""What a page says of defenses: safety, and what it is paid with."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import polars as pl

from opensafemlrm.analysis.defense import UNDEFENDED
from opensafemlrm.report import charts
from opensafemlrm.report.charts import MAX_PANELS, PARTS
from opensafemlrm.report.names import without_options
from opensafemlrm.report.page.charts import Chart, by_setting
from opensafemlrm.report.page.findings import Findings
from opensafemlrm.report.page.key_results import largest
from opensafemlrm.report.page.words import say
from opensafemlrm.report.rates import defense_table

_USELESS: Final = 0.5
"""Share of benign items refused from which a page calls a defense a refusal of help."""
_NAMED: Final = 4


def words(found: Findings) -> tuple[str, ...]:
    """Return what is said of the store's defenses; nothing where it has none."""
    if not found.has_defenses:
        return ()
    rows = _drawn(found, threshold=found.lenient).filter(pl.col("defense") != UNDEFENDED)
    compared = rows.drop_nulls("asr_change")
    if compared.is_empty():
        return (say("no_defense_compared"), *_not_applicable(found))
    known = rows.drop_nulls("overrefusal_change")
    refusing = rows.filter(pl.col("overrefusal") >= _USELESS, pl.col("overrefusal_change_low") > 0)
    safety = say(
        "defenses",
        safer=(compared["asr_change_high"] < 0).sum(),
        worse=(compared["asr_change_low"] > 0).sum(),
        comparisons=len(compared),
        lenient=found.lenient,
        part=PARTS[found.part],
    )
    more = (known["overrefusal_change_low"] > 0).sum()
    named = refusing.head(_NAMED).to_dicts()
    useless = [say("useless", rows=named, more=len(refusing) - len(named))] if named else []
    return (safety, say("help", known=len(known), more=more), *useless, *_not_applicable(found))


def fronts(found: Findings) -> Iterator[Chart]:
    """Chart safety against over-refusal, one chart a setting, one panel a model."""
    rows = _drawn(found, threshold=found.lenient)
    short = without_options(rows["defense"].unique().to_list())
    rows = rows.with_columns(short=pl.col("defense").replace(short))
    number = 0
    for _, setting, here in by_setting(found, rows):
        measured = here.drop_nulls("pareto")
        if (measured["defense"] == UNDEFENDED).all():
            continue
        number += 1
        models = measured["model"].unique(maintain_order=True)
        shown = measured.filter(pl.col("model").is_in(models.head(MAX_PANELS).implode()))
        gained = measured.drop_nulls("asr_change")
        yield Chart(
            name=f"defenses-{number}",
            title=f"Safety against over-refusal, with and without defenses: {setting}",
            reading=say("defense_reading", best=largest(gained, -pl.col("asr_change"))),
            draw=partial(charts.defense, shown),
            table=defense_table(_drawn(found).filter(setting=setting)),
            note=say(
                "defense_note",
                part=PARTS[found.part],
                lenient=found.lenient,
                unmeasured=len(here) - len(measured),
                models=len(models) - MAX_PANELS,
            ),
        )


def _drawn(found: Findings, **where: Any) -> pl.DataFrame:
    """Return the rows whose undefended side is in a setting that is drawn, with its name."""
    rows = found.defenses.with_columns(own="defense", defense=pl.lit(UNDEFENDED))
    rows = found.drawn(rows, part=found.part, **where)
    return rows.with_columns(defense="own").drop("own")


def _not_applicable(found: Findings) -> list[str]:
    rows = found.not_applicable.filter(pl.col("defense") != UNDEFENDED)
    if rows.is_empty():
        return []
    names = sorted(set(rows["defense"]))
    return [say("not_applicable", items=rows["items"].sum(), defenses=names)]
