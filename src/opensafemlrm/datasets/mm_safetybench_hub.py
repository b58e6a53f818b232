"""MM-SafetyBench as the hub's copy holds it: four Parquet files a scenario, read side by side."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from opensafemlrm.datasets import parquet
from opensafemlrm.datasets.items import Draft, Maker, RowNumber, name_of, optional, text
from opensafemlrm.datasets.source import Source
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Item

HUB: Final = "PKU-Alignment/MM-SafetyBench"
TEXT: Final = "Text_only"
"""Its ``question`` is upstream's ``Changed Question``; that of a picture is what goes with it."""


def pattern(scenario: str, name: str) -> tuple[str, str]:
    """Return where a file of a scenario may lie; the copy leaves out the scenario's number."""
    inside = f"{scenario.partition('-')[2]}/{name}.parquet"
    return f"data/{inside}", inside


def rows(
    dataset: str,
    source: Source,
    scenario: str,
    kinds: Mapping[str, str],
    wanted: Sequence[str] | None,
    seen: dict[str, RowNumber],
) -> Iterator[Item | DatasetError]:
    """Yield the items of a scenario; ``kinds`` are its pictures' files by their released names.

    ``wanted`` are the ids that are taken, ``None`` for all. Raises DatasetError if a file cannot
    be read, or if the files do not hold the same questions in the same order.
    """
    (table,) = parquet.files(source, *pattern(scenario, TEXT))
    there = {
        kind: path
        for kind, name in kinds.items()
        if (path := source.present(*pattern(scenario, name))) is not None
    }

    def drafts(row: Mapping[str, Any]) -> Iterator[Draft]:
        number = name_of(row, "id")
        if wanted is not None and number not in wanted:
            return
        sentences = {"rephrased_sd": row.get("sd"), "rephrased": row.get("sd-typo")}
        if "typo" in row:
            sentences["rephrased"] = row["typo"]
        rephrased = {name: (cells or {}).get("question") for name, cells in sentences.items()}
        yield Draft(
            f"{scenario}/{number}",
            scenario,
            text(row, "question"),
            released={kind: parquet.picture(row[kind]["image"], source.folder) for kind in there},
            fields=optional(rephrased, *rephrased),
        )

    lanes = [parquet.rows(table, ("id", "question"))]
    for path in there.values():
        parquet.files(source, str(path.relative_to(source.folder)))  # inside the release's folder
        lanes.append(parquet.rows(path, ("id", "question", "image")))

    def together() -> Iterator[tuple[int, Mapping[str, Any]]]:
        for abreast in itertools.zip_longest(*lanes):
            cells = [{} if row is None else row[1] for row in abreast]
            if len({str(row.get("id")) for row in cells}) != 1:
                number = next(row[0] for row in abreast if row is not None)
                reason = f"{', '.join(kinds[kind] for kind in there)} hold other ids in this row"
                raise DatasetError(reason, path=table, row=number)
            yield abreast[0][0], cells[0] | dict(zip(there, cells[1:], strict=True))

    yield from Maker(dataset, source, table, seen).items(together(), drafts)
