"""Logs of Inspect AI, read into a store: those that this project wrote, and anybody's.

What :mod:`.inspect_export` wrote comes back as it was. Of a log of one of our tasks
(:mod:`.inspect_tasks`) items, prompts and verdicts are ours as well. Of any other log each sample
is an item with its prompt and reply; what a foreign score means is not in the log, so that scores
are taken only where you say from which value on they mean "unsafe".
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from inspect_ai.log import list_eval_logs, read_eval_log, read_eval_log_samples
from inspect_ai.model import ContentText

from opensafemlrm import reasoning
from opensafemlrm.errors import ImageError, ImportDataError, StoreError
from opensafemlrm.interop.inspect_foreign import (
    ImportedLogs,
    Unsafe,
    completed,
    item_of_sample,
    messages_before_reply,
    response_of_sample,
    scores_of_sample,
)
from opensafemlrm.interop.inspect_samples import (
    OURS,
    as_row,
    item_of,
    prompt_of,
)
from opensafemlrm.interop.replies_in import (
    ForeignJudge,
    ForeignReply,
    ForeignVerdict,
    put_replies,
)
from opensafemlrm.models.catalog import Setup
from opensafemlrm.store import Cell, SampleKey, Store, generation_key, records
from opensafemlrm.store.checking import refuse_contradictions
from opensafemlrm.store.tables import VERDICT, Row, columns_of
from opensafemlrm.types import (
    ItemKind,
    Key,
    Part,
    Prompt,
    Response,
    ResponseStatus,
    Sampling,
    Trace,
)

SOURCE: Final = "inspect"
_UNREADABLE: Final = (OSError, ValueError, KeyError, IndexError, RuntimeError, NotImplementedError)
"""What Inspect raises for a file that is no log of its own, or is damaged."""


def import_logs(
    path: Path,
    store: Store,
    unsafe: Sequence[Unsafe] = (),
    part: Part = Part.ANSWER,
    kind: ItemKind = ItemKind.HARMFUL,
) -> ImportedLogs:
    """Read the log at ``path``, or all below a folder, into ``store``: all of them, or nothing.

    ``unsafe`` says what foreign scores mean, ``part`` which part of a reply they are of, ``kind``
    what foreign items are. Importing again changes nothing. Raises ImportDataError with file and
    sample for what is no log, contradicts itself, or is another reply than the store's.
    """
    found = logs_at(path)
    done = ImportedLogs()
    pairs: set[tuple[Key, Key]] = set()
    with store.transaction() as connection:
        for file in found:
            _Log(file, store, {rule.scorer: rule for rule in unsafe}, part, kind, done).read(pairs)
        keys = {row[0] for row in connection.execute("SELECT key FROM components")}
        store.put(
            ("pairs", pair) for pair in sorted(pairs) if keys.issuperset(pair) and len({*pair}) == 2
        )
        try:
            refuse_contradictions(connection)
        except StoreError as error:
            raise ImportDataError(f"{path}: the logs contradict themselves: {error}") from error
    return done


def logs_at(path: Path) -> list[Path]:
    """Return the log at ``path``, or all below a folder. Raises ImportDataError without any."""
    if not path.exists():
        raise ImportDataError(f"{path}: there is no such file or folder")
    infos = list_eval_logs(str(path), descending=False) if path.is_dir() else []
    found = [Path(info.name.removeprefix("file://")) for info in infos] or [path] * path.is_file()
    if not found:
        raise ImportDataError(f"{path}: there is no log of Inspect's here (.eval or .json)")
    return sorted(found)


class _Log:
    """One log on its way into a store."""

    def __init__(  # what an import was told
        self,
        path: Path,
        store: Store,
        unsafe: Mapping[str, Unsafe],
        part: Part,
        kind: ItemKind,
        done: ImportedLogs,
    ) -> None:
        self.path, self.store, self.unsafe, self.part = path, store, unsafe, part
        self.kind, self.done = kind, done

    def read(self, pairs: set[tuple[Key, Key]]) -> None:
        """Put all that the log holds; add its pairs of models to ``pairs``."""
        try:
            self.head = read_eval_log(str(self.path), header_only=True)
        except _UNREADABLE as error:
            raise ImportDataError(f"{self.path}: is no log of Inspect's: {error}") from error
        self.ours = (self.head.eval.metadata or {}).get(OURS) or {}
        if self.ours:
            self._read_ours(pairs)
        else:
            came = put_replies(self.store, SOURCE, self._replies())
            self.done.samples += came.samples
            self.done.failed += came.failed
        self.done.logs += 1
        self.done.models.add(str(self.head.eval.model))

    def _read_ours(self, pairs: set[tuple[Key, Key]]) -> None:
        with self._named("the head"):
            self.cell = self._put_cell()
            for record in self.ours.get("judges", ()):
                self._component("judge", record)
            for left_out in self.ours.get("not_applicable", ()):
                item = self._item_row(left_out["item"])
                row = (self.cell, item[1][0], str(left_out["reason"]))
                self.store.put([item, ("inapplicable", row)])
            pairs |= {(bytes.fromhex(a), bytes.fromhex(b)) for a, b in self.ours.get("pairs", ())}
        for sample in self._samples():
            with self._named(_place(sample)):
                ours = sample.metadata[OURS]
                rows = self._exported if "generation" in ours else self._logged
                self.store.put(list(rows(sample, ours)))
                status = ours.get("generation", {}).get("status")
                self.done.failed += status == "failed" or bool(sample.error and not status)
            self.done.samples += 1

    @contextlib.contextmanager
    def _named(self, what: str) -> Iterator[None]:
        """Name file and place in an error about what the log says."""
        try:
            yield
        except ImportDataError as error:
            raise ImportDataError(f"{self.path}: {what}: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError, ImageError) as error:
            raise ImportDataError(
                f"{self.path}: {what}: what it says of us cannot be read: {error!r}"
            ) from error

    def _samples(self) -> Iterator[Any]:
        """Yield the samples, one at a time where the log says which there are."""
        try:
            if self.head.eval.dataset.sample_ids is None:
                log = read_eval_log(str(self.path), resolve_attachments=True)
                yield from log.samples or ()
                return
            yield from read_eval_log_samples(
                str(self.path), all_samples_required=False, resolve_attachments=True
            )
        except _UNREADABLE as error:
            raise ImportDataError(f"{self.path}: a sample cannot be read: {error}") from error

    def _component(self, kind: str, record: Mapping[str, Any]) -> Key:
        """Register a component that a log of ours describes."""
        key = self.store.put_identity(kind, record["label"], record["identity"], record["facts"])
        if key.hex() != record["key"]:
            raise ImportDataError(f"the {kind} {record['label']!r} is not what its key says")
        return key

    def _put_cell(self) -> Key:
        spec, put = self.head.eval, self.store.put_identity
        parts = {
            k: self._component(k, record) for k, record in self.ours.get("components", {}).items()
        }
        self.attack = parts.get("attack", b"")
        if "cell" in self.ours:
            cell = self.ours["cell"]
            row = {"key": cell["key"], "sampling": json.dumps(cell["sampling"])}
            of = {kind: parts[kind].hex() for kind in ("dataset", "attack", "defense", "model")}
            self.store.put([as_row("cells", {**row, **of})])
            return bytes.fromhex(cell["key"])
        name = f"{spec.model} (imported)"
        parts["model"] = put("model", name, {"name": spec.model, "imported_from": SOURCE})
        return self.store.put_cell(Cell(sampling=self._sampling(), **parts))

    def _sampling(self) -> Sampling:
        """Return how the model was asked to sample, as far as the log says so."""
        own, plan = self.head.eval.model_generate_config, self.head.plan.config
        given = {
            name: next((v for c in (own, plan) if (v := getattr(c, name)) is not None), None)
            for name in ("temperature", "max_tokens", "seed", "top_p")
        }
        return replace(Sampling(), **{name: v for name, v in given.items() if v is not None})

    def _item_row(self, record: Mapping[str, Any]) -> Row:
        """Return the row of an item of ours, whose key must be what it says."""
        row = records.item_row(item_of(record, {}))[1]
        key = bytes.fromhex(record["key"])
        # Text that UTF-8 cannot hold was replaced, and only the key knows what it was.
        if row[0] != key and not any("\ufffd" in str(value) for value in row[1:]):
            raise ImportDataError(f"the item {record['id']!r} is not what its key says")
        return "items", (key, *row[1:])

    def _keep(self, prompt: Prompt) -> Iterator[Row]:
        for image in prompt.images:
            yield records.image_row(self.store.put_image(image))

    def _refuse_other(self, key: Key, text: str) -> None:
        """Raise ImportDataError where the store has another reply in the same place."""
        query = "SELECT text FROM generations WHERE key = ? AND status <> 'failed'"
        found = self.store.connection.execute(query, (key,)).fetchone()
        if found is not None and found[0] != records.storable(text):
            raise ImportDataError(
                "the store holds another reply to it, of another run: import this log into a store "
                "of its own"
            )

    def _exported(self, sample: Any, ours: Mapping[str, Any]) -> Iterator[Row]:
        """Yield the rows of a sample that :mod:`.inspect_export` wrote."""
        item = self._item_row(ours["item"])
        record = {**ours["generation"], **_reply(sample.output)}
        generation = as_row("generations", record)
        key = generation[1][0]
        self._refuse_other(key, record["text"])
        events = [event for event in sample.events if OURS in (event.metadata or {})]
        yield item
        if ours["prompt"] is not None:
            at = self.cell if ours["prompt"] == "cell" else self.attack
            prompt = prompt_of(sample.input)
            yield from self._keep(prompt)
            yield records.prompt_row(at, item[1][0], record["seed"], prompt)
        for event in events:
            prompt = prompt_of(event.input)
            yield from self._keep(prompt)
            more = {"generation": key.hex(), "prompt": records.prompt_json(prompt)}
            yield as_row("calls", {**event.metadata[OURS], **_reply(event.output), **more})
        yield generation
        for score in (sample.scores or {}).values():
            yield from self._own_score(key, score)
        for label in ours["labels"]:
            yield as_row("labels", label)

    def _own_score(self, generation: Key, score: Any) -> Iterator[Row]:
        """Yield the rows of a score of one of our judges."""
        ours = score.metadata[OURS]
        judge = self._component("judge", ours["judge"])
        rows = {part: as_row("verdicts", record) for part, record in ours["verdicts"].items()}
        yield from rows.values()
        keys = {Part(part): row[1][0] for part, row in rows.items()}
        yield records.judgement_row(generation, judge, keys)

    def _logged(self, sample: Any, ours: Mapping[str, Any]) -> Iterator[Row]:
        """Yield the rows of a sample of one of our tasks."""
        item = self._item_row(ours["item"])
        repeat = sample.epoch - 1
        seed = (self._sampling().seed or 0) + repeat
        key = generation_key(self.cell, item[1][0], repeat)
        response = response_of_sample(sample, self.head.eval.model)
        self._refuse_other(key, response.text)
        scores, others = _by_owner(sample)
        self.done.not_ours |= others.keys()
        parser = next(
            (score.metadata[OURS]["splitter"] for score in scores.values()),
            f"{self._format()}@{reasoning.VERSION}",
        )
        trace = _trace(response, records.format_of(parser))
        prompt = prompt_of(messages_before_reply(sample))
        yield item
        yield from self._keep(prompt)
        # By cell: every epoch has the prompt of the first, which a run would draw anew.
        yield records.prompt_row(self.cell, item[1][0], seed, prompt)
        slot = SampleKey(self.cell, item[1][0], repeat, seed, key)
        row = records.generation_row(slot, response, trace, parser if trace else None)[1]
        yield "generations", (*row[:-1], completed(sample) or row[-1])
        for score in scores.values():
            yield from self._own_score(key, score)

    def _format(self) -> str:
        return str(Setup.of(self.head.eval.model.partition("/")[2]).format)

    def _replies(self) -> Iterator[ForeignReply | ImportDataError]:
        """Yield the replies of another's task, with what is said of them."""
        for sample in self._samples():
            try:
                with self._named(_place(sample)):
                    yield self._foreign(sample)
            except ImportDataError as error:
                yield error

    def _foreign(self, sample: Any) -> ForeignReply:
        spec, form = self.head.eval, self._format()
        origin = f"{self.path}: {_place(sample)}"
        item = item_of_sample(sample, spec.dataset.name or spec.task, self.kind, origin)
        response = response_of_sample(sample, spec.model)
        trace = _trace(response, form)
        prompt = None
        try:
            prompt = prompt_of(messages_before_reply(sample))
        except ImageError:
            self.done.without_pictures += 1
        return ForeignReply(
            item,
            spec.model,
            response,
            repeat=sample.epoch - 1,
            sampling=self._sampling(),
            prompt=prompt,
            form=form,
            # Of a part that is not there nothing can be said: a scorer has read something else.
            verdicts=tuple(v for v in self._verdicts(sample) if trace and trace.part(v.part)),
        )

    def _verdicts(self, sample: Any) -> Iterator[ForeignVerdict]:
        own, others = _by_owner(sample)
        for score in own.values():
            ours = score.metadata[OURS]
            (least, *_), scale = (
                ours["judge"]["facts"]["thresholds"],
                ours["judge"]["facts"]["scale"],
            )
            judge = ForeignJudge(ours["judge"]["label"], least, tuple(scale))
            for part, record in ours["verdicts"].items():
                row = [record[name] for name in columns_of(VERDICT)]
                yield ForeignVerdict(judge, Part(part), records.verdict_from_row(row))
        for scorer, values, why in scores_of_sample(others, self.part):
            rule = self.unsafe.get(scorer)
            if rule is None:
                self.done.scorers.add(scorer)
                continue
            for part, value in values.items():
                yield ForeignVerdict(rule.judge, part, rule.verdict(value, why))


def _place(sample: Any) -> str:
    return f"sample {sample.id!r}, epoch {sample.epoch}"


def _by_owner(sample: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the scores of judges of ours, and those of other scorers."""
    scores = sample.scores or {}
    own = {name: score for name, score in scores.items() if OURS in (score.metadata or {})}
    return own, {name: score for name, score in scores.items() if name not in own}


def _trace(response: Response, form: str) -> Trace | None:
    came = response.status in (ResponseStatus.OK, ResponseStatus.TRUNCATED)
    return reasoning.parse(response, form) if came else None


def _reply(output: Any) -> dict[str, Any]:
    """Return text and reasoning of an output that :func:`output_of` made, where it has them."""
    if not output.choices:
        return {}
    content = output.choices[0].message.content
    parts = content if not isinstance(content, str) else [ContentText(text=content)]
    thoughts = [part for part in parts if part.type == "reasoning"]
    given = [part.summary if part.redacted else part.reasoning for part in thoughts]
    text = "".join(part.text for part in parts if part.type == "text")
    return {"text": text, "reasoning": given[0] if given else None}
