"""A store as logs of Inspect AI: an ``.eval`` file for each cell, which ``inspect view`` opens.

A sample is a reply: its input the prompt that was sent, pictures included, its messages with the
reasoning apart, its output the reply as it came, and a score for each judge. What Inspect has no
place for lies in metadata (:mod:`.inspect_samples`), so that :mod:`.inspect_import` makes the same
store of the logs. What is of no sample and of no cell stays behind: :data:`LEFT_OUT`.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import polars as pl
from inspect_ai.event import ModelEvent
from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalError,
    EvalMetric,
    EvalPlan,
    EvalResults,
    EvalSample,
    EvalScore,
    EvalSpec,
    EvalStats,
)
from inspect_ai.log._recorders import create_recorder_for_location
from inspect_ai.model import ChatMessageAssistant, ContentReasoning, ContentText, GenerateConfig
from inspect_ai.viewer import ViewerConfig

from opensafemlrm import reasoning
from opensafemlrm.files import make_folder
from opensafemlrm.interop.inspect_samples import (
    OURS,
    Reader,
    as_record,
    cut_parts,
    output_of,
    row_metadata,
    score_of,
)
from opensafemlrm.models.hosted.inspect import messages_of
from opensafemlrm.selection import EVERYTHING, Selection
from opensafemlrm.store import records
from opensafemlrm.store.source import Source
from opensafemlrm.store.tables import RESPONSE, TABLES, columns_of
from opensafemlrm.text import counted
from opensafemlrm.types import (
    PARTS,
    ItemKind,
    Part,
    Prompt,
    Response,
    ResponseStatus,
    Trace,
    Unscored,
)

LEFT_OUT: Final = ("calibrations", "counts", "readings", "runs", "series", "stops")
"""Tables that no log holds: they are of a store or of a run, not of a sample."""
_CHUNK: Final = 100
"""Replies that are read together."""
_FLUSH: Final = 500
"""Samples after which a log goes to disk: until then they lie in memory."""
_KINDS: Final = ("dataset", "attack", "defense", "model")
_CONFIG: Final = ("temperature", "max_tokens", "seed", "top_p")
_RESPONSE: Final = columns_of(RESPONSE)
_REPLIES: Final = (
    "SELECT g.key AS key, g.item AS item, i.id AS id, g.repeat AS repeat, g.created AS made "
    "FROM generations g JOIN items i ON i.key = g.item WHERE g.cell = X'{}'"
)
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9.]+")
_MAX_NAME: Final = 80


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote."""

    logs: int
    samples: int
    left_out: Mapping[str, int]  # rows of the tables that no log holds

    def __str__(self) -> str:
        left = ", ".join(f"{counted(n, 'row')} of {name}" for name, n in self.left_out.items())
        left = left and f"; a log holds samples alone, so these stay in the store: {left}"
        return f"{counted(self.samples, 'sample')} in {counted(self.logs, 'log')}{left}"


def export_logs(source: Source, folder: Path, selection: Selection = EVERYTHING) -> Exported:
    """Write a log for each cell of a ``selection`` into ``folder``. The texts may be harmful.

    The same store gives the same names, so that a second export replaces the first. Raises
    StoreError, for a picture that is not there too, and OSError where a file cannot be written.
    """
    make_folder(folder)
    store = Reader(source, selection)
    samples = [asyncio.run(_write(cell, folder)) for cell in chosen_cells(store)]
    left = {name: n for name in LEFT_OUT if (n := len(store.rows(name)))}
    return Exported(len(samples), sum(samples), left)


def chosen_cells(store: Reader) -> Iterator[Cell]:
    """Yield the cells; of a selection, those that it has a reply of."""
    for row in store.rows("cells"):
        cell = Cell(store, row)
        if store.samples is None or cell.replies:
            yield cell


@dataclass(slots=True)
class _Tally:
    """The scores of one part by one judge."""

    scores: list[float] = field(default_factory=list)
    unsafe: list[bool] = field(default_factory=list)
    """Of harmful items."""
    unscored: int = 0


class Cell:
    """One cell on its way into a log."""

    def __init__(self, store: Reader, row: Sequence[Any]) -> None:
        self.store = store
        self.key: bytes = row[0]
        self.hex = self.key.hex().upper()
        *parts, sampling = row[1:]
        self.parts = dict(zip(_KINDS, parts, strict=True))
        self.sampling = json.loads(sampling)
        columns: dict[str, pl.DataType]
        columns = {"key": pl.Binary(), "item": pl.Binary(), "id": pl.String()}
        columns |= {"repeat": pl.Int64(), "made": pl.Float64()}
        replies = store.source.query(_REPLIES.format(self.hex), columns)
        replies = replies.sort("id", "repeat", "key")
        if store.samples is not None:
            replies = replies.filter(replies["key"].is_in(list(store.samples)))
        self.replies: list[bytes] = replies["key"].to_list()
        self.epochs = max(replies["repeat"].to_list(), default=0) + 1
        self.created = min(replies["made"].to_list(), default=0.0)
        self.sample_ids: dict[bytes, str] = {}
        """By item: its id, and more where a data set had another item of that id before."""
        for item, name in replies.select("item", "id").unique(maintain_order=True).iter_rows():
            taken = name in self.sample_ids.values()
            self.sample_ids[item] = f"{name}#{item.hex()[:6]}" if taken else name
        self.tallies: dict[tuple[str, Part], _Tally] = {}

    def label(self, kind: str) -> str:
        """Return what tables call a part of the cell."""
        return str(self.store.components[self.parts[kind]][2])

    def spec(self) -> Any:
        """Return the head of the log."""
        return EvalSpec(
            eval_id=self.hex,
            run_id=self.hex,
            task_id=self.hex,
            created=_iso(self.created),
            task=f"{OURS}/{self.label('dataset')}",
            task_args={kind: self.label(kind) for kind in ("attack", "defense")},
            dataset=EvalDataset(
                name=self.label("dataset"),
                samples=len(self.sample_ids),
                sample_ids=list(self.sample_ids.values()),
            ),
            model=self.label("model"),
            model_generate_config=GenerateConfig(**{n: self.sampling.get(n) for n in _CONFIG}),
            config=EvalConfig(epochs=self.epochs),
            packages={name: version(name) for name in ("inspect_ai", "opensafemlrm")},
            metadata={OURS: self._metadata()},
            viewer=ViewerConfig(trust_content=False),  # what models write may be made to be run
        )

    def _metadata(self) -> dict[str, Any]:
        store = self.store
        return {
            "cell": {"key": self.hex, "sampling": self.sampling},
            "components": {kind: store.component(key) for kind, key in self.parts.items()},
            "judges": [store.component(key) for key in store.judges],
            "pairs": [[key.hex() for key in pair] for pair in store.rows("pairs")],
            "not_applicable": self._not_applicable(),
        }

    def _not_applicable(self) -> list[dict[str, Any]]:
        rows = self.store.rows("inapplicable", f"cell = X'{self.hex}'")
        items = {row[0]: row for row in self.store.among("items", "key", [row[1] for row in rows])}
        return [{**row_metadata(items[item])[OURS], "reason": reason} for _, item, reason in rows]

    def samples(self) -> Iterator[Any]:
        """Yield the samples, reading some at a time."""
        for start in range(0, len(self.replies), _CHUNK):
            yield from self._some(self.replies[start : start + _CHUNK])

    def _some(self, keys: Sequence[bytes]) -> Iterator[Any]:
        store = self.store
        names = list(TABLES["generations"].columns)
        rows = [
            dict(zip(names, row, strict=True)) for row in store.among("generations", "key", keys)
        ]
        replies = {row["key"]: row for row in rows}
        wanted = [row["item"] for row in rows]
        items = {row[0]: row for row in store.among("items", "key", wanted)}
        prompts = {
            (source, item, seed): content
            for source, item, seed, content in store.among("prompts", "item", wanted)
        }
        judged = store.among("judgements", "generation", keys)
        judgements = [row for row in judged if row[1] in store.judges]
        ids = [key for row in judgements for key in row[2:] if key is not None]
        verdicts = {
            row[0]: as_record("verdicts", row) for row in store.among("verdicts", "key", ids)
        }
        calls = store.among("calls", "generation", keys)
        labels = store.among("labels", "generation", keys)
        for key in keys:
            row = replies[key]
            places = {"cell": self.key, "attack": self.parts["attack"]}
            found = (
                (kind, prompts.get((at, row["item"], row["seed"]))) for kind, at in places.items()
            )
            kind, content = next((pair for pair in found if pair[1] is not None), (None, None))
            ours = {
                "generation": as_record("generations", tuple(row.values()), _native(row["status"])),
                "prompt": kind,
                "labels": [as_record("labels", label) for label in labels if label[0] == key],
            }
            yield self._sample(
                row,
                row_metadata(items[row["item"]], **ours),
                None if content is None else records.prompt_from_json(content, store.image),
                [
                    (judge, given)
                    for reply, judge, *given in judgements
                    if reply == key and judge in store.judges
                ],
                verdicts,
                sorted((call for call in calls if call[0] == key), key=lambda call: call[1]),
            )

    def _sample(
        self,
        row: Mapping[str, Any],
        metadata: dict[str, Any],
        prompt: Prompt | None,
        judged: Sequence[tuple[bytes, Sequence[bytes | None]]],
        verdicts: Mapping[bytes, Mapping[str, Any]],
        calls: Sequence[Sequence[Any]],
    ) -> Any:
        response = records.response_from_row([row[name] for name in _RESPONSE])
        came = response.status in (ResponseStatus.OK, ResponseStatus.TRUNCATED)
        trace = reasoning.parse(response, records.format_of(row["splitter"])) if came else None
        messages = None if prompt is None else messages_of(prompt.turns, as_parts=True)
        model = self.label("model")
        output = output_of(response, model)
        scores = {}
        for judge, given in judged:
            name, facts = self.store.judges[judge], self.store.component(judge)
            of_part = {part: verdicts[key] for part, key in zip(PARTS, given, strict=True) if key}
            cut = cut_parts(response, trace) if trace else ()
            unscored = Unscored.NO_TEXT.value if came else response.status.value
            scores[name] = score_of(facts, of_part, unscored, trace, cut, row["splitter"])
            self._count(name, scores[name], facts, metadata["kind"])
        return EvalSample(
            id=self.sample_ids[row["item"]],
            epoch=row["repeat"] + 1,
            input=messages or metadata["question"],
            target="",
            messages=[*(messages or ()), *_reply(trace, model)],
            output=output,
            scores=scores,
            metadata=metadata,
            events=[self._event(call) for call in calls],
            model_usage={model: output.usage} if output.usage else {},
            completed_at=_iso(row["created"]),
            total_time=response.latency,
            error=_error(response),
            uuid=row["key"].hex().upper(),  # as in validation sets
        )

    def _event(self, call: Sequence[Any]) -> Any:
        """Return one request that a defense or a search made as the event that it is."""
        columns = dict(zip(TABLES["calls"].columns, call, strict=True))
        native = ("generation", "prompt", *_native(columns["status"]))
        record = as_record("calls", call, native)
        response = records.response_from_row([columns[name] for name in _RESPONSE])
        prompt = records.prompt_from_json(columns["prompt"], self.store.image)
        return ModelEvent(
            model=self.label("model"),
            role=columns["purpose"],
            input=messages_of(prompt.turns, as_parts=True),
            tools=[],
            tool_choice="none",
            config=GenerateConfig(),
            output=output_of(response, self.label("model")),
            metadata={OURS: record},
        )

    def _count(self, name: str, score: Any, facts: Mapping[str, Any], kind: str) -> None:
        for part in PARTS:
            tally = self.tallies.setdefault((name, part), _Tally())
            value = score.value[part.value]
            if math.isnan(value):
                tally.unscored += 1
                continue
            tally.scores.append(value)
            if kind == ItemKind.HARMFUL:
                tally.unsafe.append(value >= facts["facts"]["thresholds"][0])

    def results(self) -> Any:
        """Return what Inspect would have made of the scores that were written."""
        return EvalResults(
            total_samples=len(self.replies),
            completed_samples=len(self.replies),
            scores=[
                EvalScore(
                    name=part.value,
                    scorer=name,
                    scored_samples=len(tally.scores),
                    unscored_samples=tally.unscored,
                    metrics={
                        metric: EvalMetric(name=metric, value=sum(values) / len(values))
                        for metric, values in (("asr", tally.unsafe), ("mean", tally.scores))
                        if values
                    },
                )
                for (name, part), tally in self.tallies.items()
            ],
        )


def _native(status: str) -> tuple[str, ...]:
    """Return the columns of a reply that lie in Inspect's own output, which a failure has none."""
    return () if status == ResponseStatus.FAILED else ("text", "reasoning")


def _reply(trace: Trace | None, model: str) -> Iterator[Any]:
    """Yield a reply, if one came, with its reasoning apart, however the model marked it."""
    if trace is None:
        return
    thought, answer = trace.part(Part.REASONING), trace.part(Part.ANSWER)
    content: list[Any] = [] if thought is None else [ContentReasoning(reasoning=thought)]
    content += [] if answer is None else [ContentText(text=answer)]
    yield ChatMessageAssistant(content=content, model=model, source="generate")


def _error(response: Response) -> Any:
    if response.status is not ResponseStatus.FAILED:
        return None
    message = f"{response.code}: {response.detail or ''}"
    return EvalError(message=message, traceback=message, traceback_ansi=message)


def _iso(created: float) -> str:
    return datetime.fromtimestamp(created, UTC).isoformat(timespec="seconds")


async def _write(cell: Cell, folder: Path) -> int:
    """Write the log of a cell and return how many samples it has."""
    spec = cell.spec()
    names = (cell.label(kind) for kind in ("dataset", "attack", "model"))
    task = "-".join(_NOT_IN_NAMES.sub("-", name).strip("-") for name in names)[:_MAX_NAME]
    path = folder / f"{_iso(cell.created).replace(':', '-')}_{task}_{cell.hex}.eval"
    recorder = create_recorder_for_location(str(path), str(folder))
    await recorder.log_init(spec, str(path), clean=True)
    await recorder.log_start(spec, EvalPlan())
    for n, sample in enumerate(cell.samples(), 1):
        await recorder.log_sample(spec, sample)
        if n % _FLUSH == 0:
            await recorder.flush(spec)
    await recorder.log_finish(spec, "success", EvalStats(), cell.results(), None)
    path.chmod(0o600)
    return len(cell.replies)
