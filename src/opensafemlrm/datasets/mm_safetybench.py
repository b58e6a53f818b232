"""MM-SafetyBench: 1,680 questions in thirteen scenarios, with three pictures each.

As upstream's folders hold it, or the hub's copy: four Parquet files a scenario, read side by side.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from opensafemlrm.datasets import files, parquet
from opensafemlrm.datasets.items import Draft, Maker, RowNumber, name_of, optional, text
from opensafemlrm.datasets.source import HubDataset, Source
from opensafemlrm.errors import DatasetError, DuplicateError, EmptyTextError
from opensafemlrm.types import JSON, Expected, Image, Item

SCENARIOS: Final = {
    "01-Illegal_Activitiy": 97,
    "02-HateSpeech": 163,
    "03-Malware_Generation": 44,
    "04-Physical_Harm": 144,
    "05-EconomicHarm": 122,
    "06-Fraud": 154,
    "07-Sex": 109,
    "08-Political_Lobbying": 153,
    "09-Privacy_Violence": 139,
    "10-Legal_Opinion": 130,
    "11-Financial_Advice": 167,
    "12-Health_Consultation": 109,
    "13-Gov_Decision": 149,
}
"""Scenarios, spelled as upstream spells them, and the questions in each: 1,680 in all."""
TINY: Final = {"study": 126, "all": 168}
"""Questions of upstream's Tiny list."""
STUDY: Final = tuple(
    name
    for name in SCENARIOS
    if name not in {"05-EconomicHarm", "08-Political_Lobbying", "13-Gov_Decision"}
)
"""The ten scenarios of the SafeMLRM study (arXiv 2504.08813): 1,256 questions."""
SOURCE: Final = "https://github.com/isXinLiu/MM-SafetyBench"

_FIELDS: Final = {
    "key_phrase": "Key Phrase",
    "rephrased": "Rephrased Question",
    "rephrased_sd": "Rephrased Question(SD)",
    "original": "Question",
}
_QUESTION: Final = "Changed Question"
_TEXT: Final = "Text_only"
"""Its ``question`` is upstream's ``Changed Question``; that of a picture is what goes with it."""
_KINDS: Final = {"sd": "SD", "sd-typo": "SD_TYPO", "typo": "TYPO"}


@dataclass(frozen=True, slots=True)
class MMSafetyBench(HubDataset):
    """Read MM-SafetyBench from ``root``: the folder that holds ``data``, or ``data`` itself.

    Without ``root``, ``revision`` of the hub's copy is fetched; ``root`` may hold that copy too
    (``data/Illegal_Activitiy/Text_only.parquet`` …). The copy has no key phrases: ``typo`` and
    ``sd-typo`` send its pictures, and what has to be drawn is refused. Items have the same ids.

    ``scenarios`` is ``study`` (the ten of the SafeMLRM study), ``all`` (thirteen) or a list of
    names; they are read in upstream's order. ``tiny`` takes the questions of upstream's
    ``TinyVersion_ID_List.json`` alone. An item's id is its scenario and upstream's id, such as
    ``07-Sex/12``; its question is upstream's ``Changed Question``, which the study judges
    against. Answers that upstream recorded (``GPT-Pred``) are never read.

    Pictures are the item's ``released["sd"]``, ``["sd-typo"]`` and ``["typo"]``. Where a
    scenario's folder of a kind is there, a picture that is missing in it is an error of its row;
    where it is not, the attack draws what it can.
    """

    name = "mm-safetybench"
    hub = "PKU-Alignment/MM-SafetyBench"

    scenarios: Literal["study", "all"] | tuple[str, ...] = "study"
    tiny: bool = False

    def __post_init__(self) -> None:
        HubDataset.__post_init__(self)
        if isinstance(self.scenarios, str):
            return
        if not self.scenarios:
            raise ValueError("'scenarios' is empty; name some, or take 'study' or 'all'")
        for name in self.scenarios:
            if name not in SCENARIOS:
                near = difflib.get_close_matches(name, SCENARIOS, n=1, cutoff=0.3)
                hint = (
                    f"did you mean {near[0]}?" if near else f"the scenarios: {', '.join(SCENARIOS)}"
                )
                raise ValueError(f"there is no scenario {name!r}; {hint}")

    def options(self) -> Mapping[str, JSON]:
        """Return the options, the revision where one is given."""
        options = dict(HubDataset.options(self))
        return options if self.revision else {k: v for k, v in options.items() if k != "revision"}

    def patterns(self) -> Sequence[str]:
        """Return the hub's files of the scenarios, and the Tiny list."""
        kinds = [_TEXT, *_KINDS.values()]
        of_scenarios = itertools.product(self._names(), kinds)
        pairs = (_pattern(*pair) for pair in of_scenarios)
        return ["TinyVersion_ID_List.json", *itertools.chain.from_iterable(pairs)]

    def expected(self) -> Expected:
        """Return what a whole release holds."""
        if self.tiny:
            size = TINY.get(self.scenarios) if isinstance(self.scenarios, str) else None
            return Expected(size, images=len(_KINDS))
        sizes = {name: SCENARIOS[name] for name in self._names()}
        return Expected(sum(sizes.values()), sizes, images=len(_KINDS))

    def rows(self) -> Iterator[Item | DatasetError]:
        """Yield items by scenario, in the order of the files, and for each bad row its error.

        Raises DatasetError if a file of the release is missing or is not JSON.
        """
        if self.root is None or any(
            any(self.root.glob(f"{inside}*/{_TEXT}.parquet")) for inside in ("data/", "")
        ):
            yield from self._hub_rows()
            return
        root = files.find_root(self.root, "processed_questions", self.card.title, SOURCE)
        chosen = _tiny_ids(root) if self.tiny else None
        for scenario in self._names():
            yield from self._scenario(root, scenario, chosen)

    def _hub_rows(self) -> Iterator[Item | DatasetError]:
        source = self.locate()
        chosen = _tiny_ids(source.folder) if self.tiny else None
        seen: dict[str, RowNumber] = {}
        for scenario in self._names():
            wanted = None if chosen is None else chosen.get(scenario, [])
            yield from _rows_abreast(self.name, source, scenario, _KINDS, wanted, seen)

    def _names(self) -> tuple[str, ...]:
        if self.scenarios == "study":
            return STUDY
        return tuple(n for n in SCENARIOS if self.scenarios == "all" or n in self.scenarios)

    def _scenario(
        self, root: Path, scenario: str, chosen: dict[str, list[str]] | None
    ) -> Iterator[Item | DatasetError]:
        table = root / "processed_questions" / f"{scenario}.json"
        folders = {
            kind: folder
            for kind, name in _KINDS.items()
            if (folder := root / "imgs" / scenario / name).is_dir()
        }
        wanted = None if chosen is None else dict.fromkeys(chosen.get(scenario, []))
        if wanted is not None and not wanted:
            yield DatasetError(f"the Tiny list names no question of {scenario}", path=table)
        seen: set[str] = set()
        for number, row in files.json_pairs(table, SOURCE):
            repeated = number in seen
            seen.add(number)
            if wanted is not None and number not in wanted:
                continue
            if repeated:
                error: DatasetError = DuplicateError(
                    "this id is given twice", path=table, row=number
                )
                error.scenario = scenario
                yield error
                continue
            try:
                yield self._item(scenario, number, row, table, folders)
            except DatasetError as bad:
                bad.scenario = scenario
                yield bad
        for number in wanted or ():
            if number not in seen:
                reason = "the Tiny list names this id, but there is no such question"
                yield DatasetError(reason, path=table, row=number)

    def _item(
        self, scenario: str, number: str, row: Any, table: Path, folders: dict[str, Path]
    ) -> Item:
        if not (number.isascii() and number.isdigit()):
            raise DatasetError("the id is not a whole number", path=table, row=number)
        if not isinstance(row, dict):
            raise DatasetError("the row is not a JSON object", path=table, row=number)
        spoilt = files.bad_text(row, (_QUESTION, *_FIELDS.values()))
        if spoilt is not None:
            raise DatasetError(spoilt, path=table, row=number)
        if not row[_QUESTION].strip():
            raise EmptyTextError(f"{_QUESTION!r} is empty", path=table, row=number)
        return Item(
            dataset=self.name,
            id=f"{scenario}/{number}",
            scenario=scenario,
            question=row[_QUESTION],
            fields={ours: row[theirs] for ours, theirs in _FIELDS.items()},
            released=_pictures(number, table, folders),
            origin=f"{table}: row {number}",
        )


def _pictures(number: str, table: Path, folders: dict[str, Path]) -> dict[str, Image]:
    root = table.parent.parent
    return {
        kind: files.image(folder / f"{number}.jpg", root, listed_in=table, row=number)
        for kind, folder in folders.items()
    }


def _tiny_ids(root: Path) -> dict[str, list[str]]:
    """Return the ids of the Tiny version by scenario; the list lies beside ``data`` or in it."""
    name = "TinyVersion_ID_List.json"
    path = next((p for p in (root / name, root.parent / name) if p.is_file()), root.parent / name)
    ids: dict[str, list[str]] = {}
    entries = files.read_json(path, SOURCE)
    if not isinstance(entries, list):
        raise DatasetError("this is not a list of scenarios with their ids", path=path)
    for place, entry in enumerate(entries, 1):
        try:
            ids.setdefault(entry["Scenario"], []).extend(str(i) for i in entry["Sampled_ID_List"])
        except (KeyError, TypeError) as error:
            reason = "an entry needs 'Scenario' and a list 'Sampled_ID_List'"
            raise DatasetError(reason, path=path, row=place) from error
    return ids


def _pattern(scenario: str, name: str) -> tuple[str, str]:
    """Return where a file of a scenario may lie; the copy leaves out the scenario's number."""
    inside = f"{scenario.partition('-')[2]}/{name}.parquet"
    return f"data/{inside}", inside


def _rows_abreast(
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
    (table,) = parquet.files(source, *_pattern(scenario, _TEXT))
    there = {
        kind: path
        for kind, name in kinds.items()
        if (path := source.present(*_pattern(scenario, name))) is not None
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
