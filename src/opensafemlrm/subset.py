"""The items of a dataset that a study takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from opensafemlrm.calls import called
from opensafemlrm.components import Dataset
from opensafemlrm.contract import BrokenPromiseError
from opensafemlrm.errors import DatasetError, DuplicateError, OptionError
from opensafemlrm.faults import named_faults
from opensafemlrm.types import Item, Key, content_key


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several runs that share a study: number ``index`` of ``count``, from 1."""

    index: int
    count: int
    whole_scenarios: bool = False
    """Whether a scenario is all in one shard, as a rule that ends it needs."""

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``2/8``. Raises OptionError."""
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            raise OptionError(f"a shard is written as 2/8, the second of eight; not {text!r}")
        return cls(int(index), int(count))

    def holds(self, item: Item) -> bool:
        """Whether the item is in this shard: by its content, the same in every run."""
        key = content_key(item.dataset, item.scenario) if self.whole_scenarios else item.key
        return int.from_bytes(key[:8], "big") % self.count == self.index - 1


@dataclass(frozen=True, slots=True)
class Chosen:
    """Items that were chosen one by one."""

    items: frozenset[Key]

    def holds(self, item: Item) -> bool:
        """Whether the item is one of them."""
        return item.key in self.items


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
    shard: Shard | Chosen | None = None
    """The part of these items that is meant."""

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        limit: int | None,
        *,
        skip_invalid: bool = False,
        shard: Shard | None = None,
    ) -> Subset:
        """Read the dataset once and count. Raises DatasetError as said above."""
        counts: Counter[tuple[str, str]] = Counter()
        skipped: list[DatasetError] = []
        keys: list[Key] = []
        ids: set[tuple[str, ...]] = set()
        for row in _rows(dataset):
            if isinstance(row, DatasetError):
                if not skip_invalid:
                    raise row
                skipped.append(row)
            else:
                stratum = (row.scenario, row.kind.value)
                if (row.id, *stratum) in ids:
                    raise DuplicateError(
                        f"{dataset.label}: two items of {row.scenario!r} have the id {row.id!r}"
                    )
                ids.add((row.id, *stratum))
                counts[stratum] += 1
                keys.append(row.key)
        held = None if skipped else b"".join(sorted(keys))
        quotas = counts if limit is None else _spread(counts, limit)
        subset = cls(
            dataset, quotas, sum(quotas.values()), skip_invalid, tuple(skipped), held, shard
        )
        return subset if shard is None else replace(subset, size=sum(1 for _ in subset.items()))

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
                if self.shard is None or self.shard.holds(row):
                    yield row


def _rows(dataset: Dataset) -> Iterator[Item | DatasetError]:
    with named_faults():
        for row in called(dataset, "rows", Iterable):
            yield row if isinstance(row, DatasetError) else _keyed(dataset, row)


def _keyed(dataset: Dataset, row: Any) -> Item:
    if not isinstance(row, Item):
        raise BrokenPromiseError(dataset, "rows", f"gives a {type(row).__name__}, not an Item")
    for name in ("id", "scenario"):
        if not getattr(row, name).strip():
            raise BrokenPromiseError(dataset, "rows", f"gives an item whose {name} is blank")
    try:
        _ = row.key
    except (TypeError, ValueError) as error:
        what = f"gives the item {row.id!r}, which holds what is no JSON: {error}"
        raise BrokenPromiseError(dataset, "rows", what) from error
    return row


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
