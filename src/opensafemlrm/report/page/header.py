"""What stands at the top of a page, and its style."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from markupsafe import Markup

from opensafemlrm.report.figures.theme import DARK, LIGHT, variables
from opensafemlrm.report.page.findings import Findings
from opensafemlrm.report.page.provenance import Provenance


def head(found: Findings, origin: Provenance) -> dict[str, Any]:
    """Return what the template says at the top: title, lead, warning, style, calibration."""
    return {
        "title": _title(found),
        "lead": _lead(found, origin),
        "banner": _banner(found),
        "style": _style(),
        "calibration": _calibration(found),
    }


def _title(found: Findings) -> str:
    if found.pairs:
        return (
            f"How safe {_are(len(found.reasoners), 'reasoning model')}, beside "
            f"{_count(len(found.bases), 'base model')}"
        )
    if found.models:
        return f"How safe {_are(len(found.models), 'model')}"
    return "Nothing measured yet"


def _lead(found: Findings, origin: Provenance) -> str:
    if not found.settings.drawn:
        return "The store holds no judged reply to a harmful item."
    datasets = sorted({setting.dataset for setting in found.settings.names})
    attacks = sorted({setting.attack for setting in found.settings.names})
    most = max(row.n for row in found.asr)
    scale = (
        f"unsafe from a score of {found.lenient:g} (lenient) or {found.strict:g} (strict)"
        if found.strict > found.lenient
        else f"unsafe from a score of {found.lenient:g}"
    )
    return (
        f"{_list('Dataset', datasets)}; {_list('attack', attacks)}; up to {most:,} "
        f"replies a model and setting, judged by {found.settings.judge}: {scale}. {origin.made}."
    )


def _banner(found: Findings) -> str:
    if not found.simulated:
        return ""
    whose = "All models" if found.simulated >= set(found.models) else "Models marked (simulated)"
    return (
        f"{whose} on this page are simulated: their scores are drawn from the published study and "
        "their texts are harmless. The page shows what a report looks like; it says nothing about "
        "the models whose names they carry."
    )


def _calibration(found: Findings) -> str:
    if len(found.corrected):
        judges = ", ".join(found.corrected["judge"].unique().sort())
        return f"Held against labels in the store: {judges}; see the corrected rates."
    return (
        "No judge was held against labels in this store, so its errors are unknown and no rate is "
        "corrected for them."
    )


def _style() -> Markup:
    css = (files("opensafemlrm.report.page") / "templates" / "style.css").read_text("utf-8")
    dark = f":root {{ {variables(DARK)} }}"
    # Made of constants of this package alone.
    return Markup(  # noqa: S704
        f":root {{ {variables(LIGHT)} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ {dark} }}\n{css}"
    )


def _are(number: int, noun: str) -> str:
    return f"{_count(number, noun)} {'is' if number == 1 else 'are'}"


def _count(number: int, noun: str) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    said = words[number] if number < len(words) else f"{number:,}"
    return f"{said} {noun}{'' if number == 1 else 's'}"


def _list(noun: str, names: list[str]) -> str:
    return f"{noun}{'' if len(names) == 1 else 's'} {', '.join(names)}"
