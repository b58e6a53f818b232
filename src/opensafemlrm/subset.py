"""The items of a dataset that a study takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from opensafemlrm.components import Dataset
from opensafemlrm.errors import DatasetError
from opensafemlrm.faults import named_faults
from opensafemlrm.types import Item, Key


@dataclass(frozen=True, slots=True)
class Subset:
    """The items of a dataset that a study takes: all of them, or ``limit`` of them.

    A limit is spread evenly over scenarios and kinds, in the dataset's own order within each, so
    that a small run still meets every scenario. With ``skip_invalid``, bad rows are left out and
    kept in ``skipped``; otherwise the first one is raised.
    """

    dataset: Dataset
    quotas: Mapping[tuple[str, str], int]
    size: int
    skip_invalid: bool = False
    skipped: tuple[DatasetError, ...] = field(default=(), compare=False)
    held: bytes | None = field(default=None, compare=False, repr=False)
    """The keys of all items of the dataset, sorted; ``None`` where not all of it could be read."""

    @classmethod
    def of(cls, dataset: Dataset, limit: int | None, *, skip_invalid: bool = False) -> Subset:
        """Read the dataset once and count. Raises DatasetError as said above."""
        counts: Counter[tuple[str, str]] = Counter()
        skipped: list[DatasetError] = []
        keys: list[Key] = []
        for row in _rows(dataset):
            if isinstance(row, DatasetError):
                if not skip_invalid:
                    raise row
                skipped.append(row)
            else:
                counts[row.scenario, row.kind.value] += 1
                keys.append(row.key)
        held = None if skipped else b"".join(sorted(keys))
        quotas = counts if limit is None else _spread(counts, limit)
        return cls(dataset, quotas, sum(quotas.values()), skip_invalid, tuple(skipped), held)

    def items(self) -> Iterator[Item]:
        """Yield the items, lazily."""
        left = dict(self.quotas)
        for row in _rows(self.dataset):
            if isinstance(row, DatasetError):
                if not self.skip_invalid:
                    raise row
                continue
            stratum = (row.scenario, row.kind.value)
            if left.get(stratum, 0) > 0:
                left[stratum] -= 1
                yield row


def _rows(dataset: Dataset) -> Iterator[Item | DatasetError]:
    with named_faults():
        yield from dataset.rows()


def _spread(counts: Mapping[tuple[str, str], int], limit: int) -> dict[tuple[str, str], int]:
    """Share ``limit`` evenly: one each in turn, until it or every stratum is used up."""
    quotas = dict.fromkeys(counts, 0)
    left = min(limit, sum(counts.values()))
    while left:
        open_strata = [stratum for stratum in counts if quotas[stratum] < counts[stratum]]
        share = max(1, left // len(open_strata))
        for stratum in open_strata:
            more = min(share, counts[stratum] - quotas[stratum], left)
            quotas[stratum] += more
            left -= more
    return quotas
