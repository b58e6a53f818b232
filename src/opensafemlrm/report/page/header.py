"""What stands at the top of a page, and its style."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from markupsafe import Markup

from opensafemlrm.report.figures.theme import DARK, LIGHT, variables
from opensafemlrm.report.page.findings import Findings
from opensafemlrm.report.page.provenance import Provenance
from opensafemlrm.report.page.words import say


def header(found: Findings, origin: Provenance) -> dict[str, Any]:
    """Return what the template says at the top: title, lead, warning, style, calibration."""
    pairs = found.tax.select("model", "base")
    title = say(
        "title",
        reasoners=pairs["model"].n_unique(),
        bases=pairs["base"].n_unique(),
        models=len(found.models),
    )
    everything = found.simulated >= set(found.models)
    return {
        "title": title,
        "lead": _lead(found, origin),
        "banner": say("banner", all=everything) if found.simulated else "",
        "alarms": [f"{alarm}." for alarm in found.alarms],
        "style": style(),
        "calibration": say("calibration", judges=sorted(set(found.corrected["judge"]))),
    }


def _lead(found: Findings, origin: Provenance) -> str:
    if found.settings.is_empty():
        return say("no_pairs", judged=False)
    return say(
        "lead",
        datasets=sorted(set(found.settings["dataset"])),
        attacks=sorted(set(found.settings["attack"])),
        most=found.asr["n"].max(),
        judge=found.judge,
        lenient=found.lenient,
        strict=found.strict,
        made=origin.made,
    )


def style() -> Markup:
    """Return the style of a page: the colours of light and dark, and the sheet."""
    css = (files("opensafemlrm.report.page") / "templates" / "style.css").read_text("utf-8")
    dark = f":root {{ {variables(DARK)} }}"
    # Made of constants of this package alone.
    return Markup(  # noqa: S704
        f":root {{ {variables(LIGHT)} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ {dark} }}\n{css}"
    )
