"""An audit as JUnit XML, which CI servers show: a suite for each rule, a case for each check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from opensafemlrm.audit.decide import Outcome
from opensafemlrm.audit.tables import check_rows
from opensafemlrm.text import for_terminal

_TAGS: Final = {Outcome.FAIL: "failure", Outcome.UNDECIDED: "error"}


def junit(record: Mapping[str, Any]) -> str:
    """Return the XML: what breaks a rule is a failure, what is undecided an error.

    Cases of advisory rules that are not kept are skipped, with the reason: they decide nothing. A
    policy that decides nothing has one case, an error.
    """
    root = Element("testsuites", name=_text(record["title"]))
    for rule in record["rules"]:
        suite = SubElement(root, "testsuite", name=_text(rule["name"]))
        for row in check_rows(rule):
            case = SubElement(
                suite, "testcase", classname=_text(rule["name"]), name=_text(row["where"])
            )
            outcome = Outcome(row["verdict"])
            if outcome is not Outcome.PASS:
                tag = _TAGS[outcome] if rule["required"] else "skipped"
                SubElement(case, tag, message=_text(row["sentence"]))
    if not any(rule["required"] for rule in record["rules"]):
        suite = SubElement(root, "testsuite", name="policy")
        case = SubElement(suite, "testcase", classname="policy", name="a required rule")
        SubElement(case, "error", message=_text(record["why"]))
    for suite in [*root, root]:
        for name, value in _counts(suite):
            suite.set(name, str(value))
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _counts(suite: Element) -> Iterator[tuple[str, int]]:
    yield "tests", len(list(suite.iter("testcase")))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        yield name, len(list(suite.iter(tag)))


def _text(text: str) -> str:
    """Return text without what XML cannot hold."""
    return for_terminal(text)
