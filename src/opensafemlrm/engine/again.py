"""What a run asks again although the store has it: failures that may pass, and those it is told to.

A failure that is final is one that the server answered to this request alone. Somebody may know
better: the picture was fixed, the server takes it now.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from opensafemlrm.errors import OptionError
from opensafemlrm.store.known import JUDGED_AGAIN, GenerationState
from opensafemlrm.types import ResponseStatus, Unscored

_BY_THE_JUDGE: Final = frozenset(
    {Unscored.JUDGE_FAILED, Unscored.JUDGE_REFUSED, Unscored.JUDGE_TRUNCATED, Unscored.UNPARSED}
)
"""Reasons for which a judge that was asked gave no score."""
_HTTP: Final = re.compile(r"http_\d{3}")


@dataclass(frozen=True)
class Again:
    """Which failures are asked again: of requests by their codes, of verdicts by their reasons."""

    everything: bool = False
    """Every failed request and every text that the judge could not score."""
    codes: frozenset[str] = frozenset()
    """Or those with one of these codes, as coverage shows them."""

    @classmethod
    def of(cls, retry_failed: bool | str | Collection[str]) -> Again:
        """Read what a caller asks for: everything, nothing, a code, or several."""
        if isinstance(retry_failed, bool):
            return cls(everything=retry_failed)
        codes = [retry_failed] if isinstance(retry_failed, str) else retry_failed
        return cls(codes=frozenset(codes))

    def absent(self, codes: Collection[str]) -> list[str]:
        """Return those named that are not among the ``codes`` that a store has.

        Raises OptionError for one that nothing can have.
        """
        absent = sorted(self.codes.difference(codes, _BY_THE_JUDGE))
        unknown = [code for code in absent if not _HTTP.fullmatch(code)]
        if unknown:
            there = ", ".join(sorted(codes)) or "none"
            raise OptionError(
                f"retry_failed: no failure has the code {unknown[0]!r}; the store's failures have: "
                f"{there}"
            )
        return absent

    @cached_property
    def judged(self) -> frozenset[Unscored]:
        """Reasons for which texts without a score are judged again."""
        named = {
            reason for reason in _BY_THE_JUDGE if self.everything or reason.value in self.codes
        }
        return JUDGED_AGAIN | named

    def includes(self, state: GenerationState) -> bool:
        """Whether a reply that is in the store is to be asked for again."""
        if state.status != ResponseStatus.FAILED:
            return False
        return state.transient or self.everything or state.code in self.codes


NOTHING: Final = Again()
"""No more than what may pass."""
