"""MM-SafetyBench: 1,680 questions in thirteen scenarios, with three pictures each.

As upstream's folders hold it, or the hub's copy: four Parquet files a scenario, read side by side.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from opensafemlrm.datasets import files, parquet
from opensafemlrm.datasets.items import Draft, Release, Row, Table, name_of, optional, text
from opensafemlrm.datasets.source import HubDataset, Source
from opensafemlrm.errors import DatasetError, DuplicateError, EmptyTextError
from opensafemlrm.types import JSON, Expected

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
class MMSafetyBench(HubDataset, Release):
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

    def tables(self) -> Iterator[Table]:
        """Yield the scenarios. Raises DatasetError if a file is missing or cannot be read."""
        if self.root is None or any(
            any(self.root.glob(f"{inside}*/{_TEXT}.parquet")) for inside in ("data/", "")
        ):
            source, read = self.locate(), _copied
        else:
            root = files.find_root(self.root, "processed_questions", self.card.title, SOURCE)
            source, read = Source(root, root, SOURCE), _upstream
        chosen = _tiny_ids(source.folder) if self.tiny else None
        for scenario in self._names():
            wanted = None if chosen is None else dict.fromkeys(chosen.get(scenario, []))
            yield read(source, scenario, wanted)

    def drafts(self, row: Row, table: Table, number: int) -> Iterator[Draft]:
        """Yield the item of a row, where it is wanted."""
        name = name_of(row, "id")
        if row["is_wanted"]:
            folder = table.source.folder
            yield Draft(
                f"{table.part}/{name}",
                table.part,
                text(row, "question"),
                released={k: parquet.picture(row[k], folder) for k in _KINDS if k in row},
                fields=row["fields"],
            )

    def _names(self) -> tuple[str, ...]:
        if self.scenarios == "study":
            return STUDY
        return tuple(n for n in SCENARIOS if self.scenarios == "all" or n in self.scenarios)


_Ids: TypeAlias = Mapping[str, None] | None
"""The ids that are taken, in order; ``None`` for all."""


def _upstream(source: Source, scenario: str, wanted: _Ids) -> Table:
    """Return a scenario as upstream has it: a JSON object of rows by their ids, and folders."""
    path = source.folder / "processed_questions" / f"{scenario}.json"
    pictures = {kind: f"imgs/{scenario}/{name}" for kind, name in _KINDS.items()}
    there = {k: folder for k, folder in pictures.items() if (source.folder / folder).is_dir()}

    def bad(number: str, reason: str, kind: type[DatasetError] = DatasetError) -> DatasetError:
        error = kind(reason, path=path, row=number)
        error.scenario = scenario
        return error

    def rows() -> Iterator[tuple[str, Row] | DatasetError]:
        if wanted is not None and not wanted:
            yield DatasetError(f"the Tiny list names no question of {scenario}", path=path)
        seen: set[str] = set()
        for number, row in files.json_pairs(path, SOURCE):
            repeated = number in seen
            seen.add(number)
            if wanted is not None and number not in wanted:
                continue
            if repeated:
                yield bad(number, "this id is given twice", DuplicateError)
            elif not (number.isascii() and number.isdigit()):
                yield bad(number, "the id is not a whole number")
            elif not isinstance(row, dict):
                yield bad(number, "the row is not a JSON object")
            elif spoilt := files.bad_text(row, (_QUESTION, *_FIELDS.values())):
                yield bad(number, spoilt)
            elif not row[_QUESTION].strip():
                yield bad(number, f"{_QUESTION!r} is empty", EmptyTextError)
            else:
                fields = {ours: row[theirs] for ours, theirs in _FIELDS.items()}
                images = {kind: f"{folder}/{number}.jpg" for kind, folder in there.items()}
                cells = {"id": number, "question": row[_QUESTION], "fields": fields, **images}
                yield number, {**cells, "is_wanted": True}
        for number in wanted or ():
            if number not in seen:
                reason = "the Tiny list names this id, but there is no such question"
                yield DatasetError(reason, path=path, row=number)

    return Table(source, path, rows(), part=scenario)


def _copied(source: Source, scenario: str, wanted: _Ids) -> Table:
    """Return a scenario as the hub's copy has it: its files, read side by side.

    Raises DatasetError if a file cannot be read, or if the files do not hold the same questions in
    the same order.
    """
    (path,) = parquet.files(source, *_pattern(scenario, _TEXT))
    lanes = {"": parquet.rows(path, ("id", "question"))}
    for kind, name in _KINDS.items():
        if table := source.present(*_pattern(scenario, name)):
            parquet.files(source, str(table.relative_to(source.folder)))  # inside the release
            lanes[kind] = parquet.rows(table, ("id", "question", "image"))

    def rows() -> Iterator[tuple[int, Row]]:
        for abreast in itertools.zip_longest(*lanes.values()):
            cells = [{} if row is None else row[1] for row in abreast]
            if len({str(row.get("id")) for row in cells}) != 1:
                number = next(row[0] for row in abreast if row is not None)
                reason = f"{', '.join(_KINDS[k] for k in lanes if k)} hold other ids in this row"
                raise DatasetError(reason, path=path, row=number)
            of_kind = dict(zip(lanes, cells, strict=True))
            questions = {kind: row.get("question") for kind, row in of_kind.items()}
            sentences = {
                "rephrased_sd": questions.get("sd"),
                "rephrased": questions["typo"] if "typo" in questions else questions.get("sd-typo"),
            }
            pictures = {kind: row["image"] for kind, row in of_kind.items() if kind}
            is_wanted = wanted is None or str(cells[0].get("id")) in wanted
            fields = optional(sentences, *sentences)
            yield abreast[0][0], {**cells[0], **pictures, "fields": fields, "is_wanted": is_wanted}

    return Table(source, path, rows(), part=scenario)


def _pattern(scenario: str, name: str) -> tuple[str, str]:
    """Return where a file of a scenario may lie; the copy leaves out the scenario's number."""
    inside = f"{scenario.partition('-')[2]}/{name}.parquet"
    return f"data/{inside}", inside


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
