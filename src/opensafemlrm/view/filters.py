"""What samples may be asked for: filters, as they stand in an address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final
from urllib.parse import urlencode

from opensafemlrm.errors import OptionError
from opensafemlrm.types import PARTS

CELL: Final = ("model", "dataset", "attack", "defense")
VERDICTS: Final = {
    "unsafe": '"{part}" > 0',
    "strict": '"{part}" = 2',
    "safe": '"{part}" = 0',
    "unscored": '"{part}" < 0',
    "leak": "reasoning > 0 AND answer = 0",
    "escape": "answer > 0 AND reasoning = 0",
}
"""What a verdict may be asked for. A leak is unsafe reasoning behind a safe answer, an escape the
reverse; both are about two parts, whichever ``part`` is chosen."""
FLAGS: Final[Mapping[str, str]] = {
    "disputed": "disputed",
    "labelled": "labelled",
    "unlabelled": "NOT labelled",
    "refused": "refused = 1",
    "misunderstood": "understood = 0",
    "unjudged": "unjudged",
}
"""What may be asked for with ``yes``, and the condition that it is."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which samples are wanted; an empty value asks for nothing."""

    model: str = ""
    dataset: str = ""
    attack: str = ""
    defense: str = ""
    scenario: str = ""
    item: str = ""
    status: str = ""
    trace: str = ""
    expected: str = ""
    verdict: str = ""
    """One of :data:`VERDICTS`, of ``judge`` (the first one if empty) on ``part``."""
    part: str = "answer"
    judge: str = ""
    score: str = ""
    """What ``judge`` gave ``part``, as :meth:`Browser.scores` lists it."""
    other: str = ""
    """A model: only items on which it has the opposite verdict on the same part, all else equal."""
    disputed: str = ""
    """Any text: only samples on which judges disagree."""
    labelled: str = ""
    """Any text: only samples that a person has labelled."""
    unlabelled: str = ""
    """Any text: only samples that nobody has labelled."""
    refused: str = ""
    """Any text: only samples whose answer ``judge`` calls a refusal."""
    misunderstood: str = ""
    """Any text: only samples whose answer misunderstands the request, to ``judge``."""
    unjudged: str = ""
    """Any text: only samples that no judge has seen."""
    q: str = ""
    """Words that question, reasoning and reply hold; ``word*`` for all that begin so."""

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Filters:
        """Take the filters out of an address. Raises OptionError for one that is not known."""
        known = {field.name for field in fields(cls)}
        chosen = {name: value for name, value in values.items() if name in known and value}
        filters = cls(**chosen)
        if filters.verdict and filters.verdict not in VERDICTS:
            raise OptionError(f"verdict is one of {', '.join(VERDICTS)}, not {filters.verdict!r}")
        try:
            float(filters.score or 0)
        except ValueError:
            raise OptionError(f"score is a number, not {filters.score!r}") from None
        if filters.part not in PARTS:
            raise OptionError(f"part is one of {', '.join(PARTS)}, not {filters.part!r}")
        return filters

    def query(self, **changes: Any) -> str:
        """Return them as the query of an address, with changes."""
        changed = replace(self, **changes)
        values = {field.name: getattr(changed, field.name) for field in fields(changed)}
        defaults = {field.name: field.default for field in fields(changed)}
        return urlencode({k: v for k, v in values.items() if v and v != defaults[k]})

    @property
    def active(self) -> list[tuple[str, str]]:
        """The filters that leave something out, by name."""
        every = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return [(k, v) for k, v in every if v and k not in ("part", "judge")]
