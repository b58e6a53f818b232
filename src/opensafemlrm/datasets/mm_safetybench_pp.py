"""MM-SafetyBench++: unsafe pictures and questions, each with a safe twin that differs little."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from opensafemlrm.datasets import files
from opensafemlrm.datasets.items import Draft, Maker, kind_of, text
from opensafemlrm.datasets.source import HubDataset
from opensafemlrm.errors import DatasetError
from opensafemlrm.types import Card, Expected, Item

HUB: Final = "EchoSafe-MLLM/MM-SafetyBench-plus-plus"
ITEMS: Final = 2844
"""711 pairs of an unsafe and a safe item, in two modes."""

_PICTURE: Final = ("image", "file_name", "image_path")
_QUESTION: Final = ("question", "Changed Question", "query", "prompt")


@dataclass(frozen=True, slots=True)
class MMSafetyBenchPP(HubDataset):
    """Read MM-SafetyBench++ (``test.jsonl`` and the pictures that it names).

    ``root`` is a local folder; without it, ``revision`` of the hub's data set is fetched. ``mode``
    is the kind of picture: ``Gen`` (drawn), ``GenOCR`` (drawn, with the phrase written in it) or
    both. Unsafe rows and safe rows of a category and mode are matched in their order: the two of
    a pair share the field ``pair``.
    """

    name = "mm-safetybench-pp"
    hub = HUB
    card = Card(
        title="MM-SafetyBench++",
        paper="Evolving Contextual Safety in Multi-Modal Large Language Models via Inference-Time "
        "Self-Reflective Memory, arXiv 2603.15800",
        licence="CC-BY-4.0",
        source=f"https://huggingface.co/datasets/{HUB}",
        notes="The columns of the picture and of the question are found by their usual names; "
        "what a row calls them was not checked against a release.",
        size="2,844 items: 711 pairs in 6 categories, in two modes",
        kinds="Rows labelled unsafe are harmful, their safe twins benign.",
    )

    mode: Literal["all", "Gen", "GenOCR"] = "all"

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        return Expected(ITEMS if self.mode == "all" else ITEMS // 2, images=1)

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items in the order of the file, and for each bad row its error."""
        source = self.locate("test.jsonl", "**/*.jpg", "**/*.png", "*.zip")
        table = source.find("test.jsonl", "data/test.jsonl")
        places: Counter[tuple[str, str, str]] = Counter()

        def drafts(row: Mapping[str, Any]) -> Iterator[Draft]:
            category, mode = text(row, "category"), text(row, "mode")
            kind = kind_of(text(row, "label"))
            number = places[category, mode, kind.value]
            places[category, mode, kind.value] += 1
            if self.mode not in ("all", mode):
                return
            pair = f"{category}/{mode}/{number}"
            yield Draft(
                f"{pair}/{kind.value}",
                category,
                text(row, _first(row, _QUESTION)),
                kind,
                images=(table.parent / text(row, _first(row, _PICTURE)),),
                fields={"pair": pair, "mode": mode},
            )

        yield from Maker(self.name, source, table).items(
            files.jsonl_rows(table, source.where), drafts, scenario="category"
        )


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((name for name in names if name in row), names[0])
