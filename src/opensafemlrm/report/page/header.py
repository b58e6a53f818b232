"""What stands at the top of a page, and its style."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from markupsafe import Markup

from opensafemlrm.report.figures.theme import DARK, LIGHT, variables
from opensafemlrm.report.page.findings import Findings
from opensafemlrm.report.page.key_results import no_pairs
from opensafemlrm.report.page.provenance import Provenance
from opensafemlrm.report.page.words import say
from opensafemlrm.selection import selected


def header(findings: Findings, origin: Provenance) -> dict[str, Any]:
    """Return what the template says at the top: title, lead, warnings, style, calibration."""
    pairs = findings.tax.select("model", "base")
    title = say(
        "title",
        reasoners=pairs["model"].n_unique(),
        bases=pairs["base"].n_unique(),
        models=len(findings.models),
        chosen=bool(selected(findings.selection, findings.rows)),
    )
    return {
        "title": title,
        "lead": _lead(findings, origin),
        "banners": _banners(findings),
        "alarms": [f"{alarm}." for alarm in findings.alarms],
        "style": style(),
        "calibration": say("calibration", judges=sorted(set(findings.corrected["judge"]))),
    }


def caveat(findings: Findings) -> str:
    """Return what every picture says of models and benchmarks that prove nothing of others."""
    return say(
        "caveat",
        simulated=bool(findings.simulated),
        organisms=bool(findings.organisms),
        harmless=findings.is_harmless,
    )


def _banners(findings: Findings) -> list[str]:
    models = set(findings.models)
    banners = []
    if findings.simulated:
        banners.append(say("banner", all=findings.simulated >= models))
    if findings.organisms:
        banners.append(say("organisms", all=findings.organisms >= models))
    if findings.is_harmless:
        banners.append(say("harmless"))
    if chosen := selected(findings.selection, findings.rows):
        banners.append(chosen)
    if findings.rows.part is not None:
        banners.append(say("one_part"))
    return banners


def _lead(findings: Findings, origin: Provenance) -> str:
    if findings.settings.is_empty():
        return no_pairs(findings)
    return say(
        "lead",
        datasets=sorted(set(findings.settings["dataset"])),
        attacks=sorted(set(findings.settings["attack"])),
        most=findings.asr["n"].max(),
        judge=findings.judge,
        lenient=findings.lenient,
        strict=findings.strict,
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
