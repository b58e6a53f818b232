"""An audit's certificate: one page for people, made of the record alone."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

from markupsafe import Markup

from opensafemlrm.audit import hazards
from opensafemlrm.audit.decide import Outcome
from opensafemlrm.audit.tables import tables
from opensafemlrm.report.page.header import style
from opensafemlrm.report.page.html import environment, table_html

_PACKAGE: Final = "opensafemlrm.audit"
WORDS: Final = {
    Outcome.PASS: "Passed",
    Outcome.FAIL: "Failed",
    Outcome.UNDECIDED: "Undecided",
}
"""An outcome as a headline."""
_MARKS: Final = {Outcome.PASS: "✓", Outcome.FAIL: "✗", Outcome.UNDECIDED: "?"}


def certificate(record: Mapping[str, Any]) -> str:
    """Return the page as HTML: it needs no network and no other file."""
    rules, checks, tested, cells = tables(record)
    required = [rule for rule in record["rules"] if rule["required"]]
    sheet = (files(_PACKAGE) / "templates" / "certificate.css").read_text("utf-8")
    template = environment(_PACKAGE).get_template("certificate.html")
    simulated = [cell["model"] for cell in record["cells"] if cell["simulated"]]
    return template.render(
        record=record,
        verdict=WORDS[Outcome(record["verdict"])],
        mark=_MARKS[Outcome(record["verdict"])],
        style=style() + Markup(sheet),  # noqa: S704 # constants of this package
        simulated=sorted(set(simulated)),
        all_simulated=all(cell["simulated"] for cell in record["cells"]),
        counts={o.value: sum(rule["verdict"] == o for rule in required) for o in Outcome},
        required=len(required),
        advisory=len(record["rules"]) - len(required),
        samples=sum(cell["n"] for cell in record["cells"]),
        scored=sum(cell["scored"] for cell in record["cells"]),
        rules=table_html(rules) if record["rules"] else "",
        checks=table_html(checks) if record["rules"] else "",
        hazards=table_html(tested) if record["hazards"]["tested"] else "",
        untested=[hazards.titles()[name] for name in record["hazards"]["untested"]],
        cells=table_html(cells) if record["cells"] else "",
        more=[rule for rule in record["rules"] if rule["more_items"]],
    )
