"""A cheap judge first, and a second one only where the first is not sure.

How many requests that saves, and which verdicts it changes, is measured with
``safemlrm judges compare``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from opensafemlrm.components import Judge
from opensafemlrm.judges.members import with_members
from opensafemlrm.types import JSON, Item, JudgeRequest, Label, Unscored, Verdict


@dataclass(frozen=True, slots=True)
class Cascade(Judge):
    """Ask ``first``; where its score lies in ``band`` (ends included), ask ``second`` instead.

    A text that the first judge could not score, or does not score, goes to the second as well. The
    band is on the first judge's scale. Where the two share scale and thresholds the scores are
    kept; otherwise the score is 1 for unsafe and 0 for safe.

    Raises ValueError for a band that is empty or lies outside the first judge's scale.
    """

    name = "cascade"
    reads = ("what its judges read",)

    first: Judge
    second: Judge
    band: tuple[float, float]

    def __post_init__(self) -> None:
        (low, high), (lowest, highest) = self.band, self.first.scale
        if not lowest <= low <= high <= highest:
            raise ValueError(
                f"the band [{low:g}, {high:g}] must lie in the scale of {self.first.label}, "
                f"{lowest:g} to {highest:g}"
            )

    @property
    def _alike(self) -> bool:
        ours = (self.first.thresholds, self.first.scale)
        return ours == (self.second.thresholds, self.second.scale)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Those of the two judges if they are the same, else that of 1 for unsafe."""
        return self.first.thresholds if self._alike else (1.0,)

    @property
    def scale(self) -> tuple[float, float]:
        """That of the two judges if it is the same, else 0 to 1."""
        return self.first.scale if self._alike else (0.0, 1.0)

    @property
    def label(self) -> str:
        """The two judges and the band, as tables call them."""
        band = "–".join(f"{end:g}" for end in self.band)
        return f"cascade[{self.first.label} → {self.second.label} in {band}]"

    def context(self, item: Item) -> JSON:
        """Return what the two judges' verdicts depend on."""
        return [self.first.context(item), self.second.context(item)]

    async def judge(self, item: Item, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        """Ask the first judge about every text, and the second about those in the band."""
        firsts = await self.first.judge(item, requests)
        unsure = [at for at, verdict in enumerate(firsts) if self._is_unsure(verdict)]
        again = await self.second.judge(item, [requests[at] for at in unsure]) if unsure else []
        seconds = dict(zip(unsure, again, strict=True))
        return [self._settle(first, seconds.get(at)) for at, first in enumerate(firsts)]

    def _is_unsure(self, verdict: Verdict) -> bool:
        return verdict.score is None or self.band[0] <= verdict.score <= self.band[1]

    def _settle(self, first: Verdict, second: Verdict | None) -> Verdict:
        if second is None:
            return with_members(self._scaled(first), [self.first], [first])
        # A part that only the first judge scores keeps its verdict, unsure as it is.
        last = first if second.reason is Unscored.NOT_APPLICABLE else second
        return with_members(self._scaled(last), [self.first, self.second], [first, second])

    def _scaled(self, verdict: Verdict) -> Verdict:
        if verdict.score is None or self._alike:
            return verdict
        return replace(verdict, score=float(verdict.label is Label.UNSAFE))
