"""Replies of other tools, put into a store: rows as our own, whose components say "imported".

Models, data sets, attacks, defenses and judges of an import are components of their own: their
identity holds ``imported_from`` and their label ends in "(imported)", so that no figure mixes them
with what was asked here. Only "no attack" and "no defense" are the store's own, since analyses look
for them.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from opensafemlrm import reasoning
from opensafemlrm.attacks.direct import Direct
from opensafemlrm.defenses.composed import NoDefense
from opensafemlrm.errors import ImportDataError
from opensafemlrm.store import Cell, SampleKey, Store, generation_key, records
from opensafemlrm.store.labels import PersonLabel, put_labels
from opensafemlrm.store.tables import Row
from opensafemlrm.text import counted
from opensafemlrm.types import (
    PARTS,
    Image,
    Item,
    Key,
    Label,
    Part,
    Prompt,
    Response,
    ResponseStatus,
    Sampling,
    Trace,
    TraceStatus,
    Verdict,
    content_key,
)

MAX_ERRORS: Final = 20
"""Bad rows that one error names."""
_OURS: Final[Mapping[str, Any]] = {"direct": Direct, "none": NoDefense}
_MARK: Final = " (imported)"
_MODEL: Final = (
    "SELECT key FROM components WHERE kind = 'model' AND label = ? "
    "AND json_extract(identity, '$.imported_from') = ?"
)
_NOT_RECORDED: Final = Sampling()
_CAME: Final = (ResponseStatus.OK, ResponseStatus.TRUNCATED)


@dataclass(frozen=True, slots=True)
class ForeignJudge:
    """Who gave scores elsewhere: higher is worse; ``thresholds``, lenient first, mean unsafe."""

    name: str
    thresholds: tuple[float, ...] = (0.5,)
    scale: tuple[float, float] | None = (0.0, 1.0)
    """The least and the greatest score; ``None`` where nobody says."""

    @property
    def unsafe_from(self) -> float:
        """The score from which a text is unsafe."""
        return self.thresholds[0]


@dataclass(frozen=True, slots=True)
class ForeignVerdict:
    """What a foreign judge said of a part; of a reply without reasoning, answer and whole agree."""

    judge: ForeignJudge
    part: Part
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ForeignReply:
    """One reply of another tool. ``item.origin`` says where it was read, for errors.

    ``attack`` and ``defense`` are names; ``direct`` and ``none`` stand for there being none. A
    reply whose text is not recorded, only what was said of it, has an empty text.
    """

    item: Item
    model: str
    response: Response
    attack: str = "direct"
    defense: str = "none"
    repeat: int = 0
    simulated: bool = False
    """Whether a simulated model wrote it."""
    sampling: Sampling = _NOT_RECORDED
    prompt: Prompt | None = None
    """What was sent, where that is known."""
    form: str = "auto"
    """The reasoning format that the reply is parsed by."""
    bases: tuple[str, ...] = ()
    """The models that this one is compared with; those without replies are left out."""
    verdicts: tuple[ForeignVerdict, ...] = ()
    labels: tuple[PersonLabel, ...] = ()
    """What people said of it; the key of the reply and its text are still to be filled in."""


@dataclass(slots=True)
class ImportedReplies:
    """What an import read, whether or not the store had it already."""

    samples: int = 0
    failed: int = 0
    """Of them, those that are known to have given no reply."""
    verdicts: int = 0
    labels: int = 0
    models: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        parts = [f"{counted(self.samples, 'reply')} of {counted(len(self.models), 'model')}"]
        parts += [f"{self.failed:,} of them failed"] if self.failed else []
        parts += [counted(self.verdicts, "verdict")] if self.verdicts else []
        parts += [f"{counted(self.labels, 'label')} of people"] if self.labels else []
        return ", ".join(parts)


def put_replies(
    store: Store,
    source: str,
    replies: Iterable[ForeignReply | ImportDataError],
    pairs: Mapping[str, str] | None = None,
) -> ImportedReplies:
    """Put ``replies`` into ``store``: all of them, or nothing. Importing again changes nothing.

    ``source`` says whose they are, ``pairs`` names the base of reasoning models. The same reply in
    the same place may come several times, with verdicts of several judges. Raises ImportDataError
    with what is wrong, also where a place holds another reply, and StoreError.
    """
    done = ImportedReplies()
    with _no_pictures_left() as new, store.joined():
        writer = _Writer(store, source, new, done)
        _all_good(replies, writer.put)
        writer.put_pairs(pairs or {})
    done.samples = len(writer.places)
    return done


def check_replies(replies: Iterable[ForeignReply | ImportDataError]) -> None:
    """Raise ImportDataError with what is wrong with rows of files, or where there are none."""
    if not _all_good(replies, lambda _: None):
        raise ImportDataError("there are no replies in what was read: nothing was imported")


def _all_good(
    replies: Iterable[ForeignReply | ImportDataError], put: Callable[[ForeignReply], None]
) -> int:
    """Put every reply, and return how many there are.

    Raises ImportDataError with all that is wrong, up to :data:`MAX_ERRORS`.
    """
    errors: list[str] = []
    count = 0
    for reply in replies:
        count += 1
        try:
            if isinstance(reply, ImportDataError):
                raise reply
            put(reply)
        except ImportDataError as error:
            errors.append(str(error))
            if len(errors) == MAX_ERRORS:
                errors.append("there may be more")
                break
    if errors:
        raise ImportDataError(*errors, "nothing was imported")
    return count


@contextlib.contextmanager
def _no_pictures_left() -> Iterator[list[Path]]:
    """Take back the new pictures that the block notes, if it fails: no transaction holds files."""
    new: list[Path] = []
    try:
        yield new
    except BaseException:
        for path in new:
            path.unlink(missing_ok=True)
        raise


class _Writer:
    """Puts replies into the store, in the transaction that is open."""

    def __init__(self, store: Store, source: str, new: list[Path], done: ImportedReplies) -> None:
        self.store, self.new, self.done = store, new, done
        self.origin: dict[str, Any] = {"imported_from": source}
        self.places: dict[Key, str] = {}
        """The samples of this import, and where each was read first."""
        self.models: dict[str, Key] = {}
        self.bases: dict[str, dict[str, None]] = {}
        self.component = cache(self._component)
        self.judge = cache(self._judge)
        self.cell = cache(self._cell)

    def _component(self, kind: str, name: str, simulated: bool = False) -> Key:
        ours = _OURS.get(name) if kind in ("attack", "defense") else None
        if ours is not None and ours().name == name:
            return self.store.put_component(kind, ours())
        name = name.removesuffix(_MARK)
        identity = {"name": name, **self.origin}
        if kind == "model" and simulated:
            identity["simulated"] = True
        return self.store.put_identity(kind, f"{name}{_MARK}", identity)

    def _judge(self, judge: ForeignJudge) -> Key:
        facts: dict[str, Any] = {"thresholds": list(judge.thresholds)}
        facts |= {} if judge.scale is None else {"scale": list(judge.scale)}
        name = judge.name.removesuffix(_MARK)
        identity = {"name": name, **facts, **self.origin}
        return self.store.put_identity("judge", f"{name}{_MARK}", identity, facts)

    def _cell(self, dataset: str, attack: str, defense: str, model: Key, sampling: Sampling) -> Key:
        named = (("dataset", dataset), ("attack", attack), ("defense", defense))
        keys = {kind: self.component(kind, name) for kind, name in named}
        return self.store.put_cell(Cell(model=model, sampling=sampling, **keys))

    def put(self, reply: ForeignReply) -> None:
        """Put one reply with what was said of it. Raises ImportDataError."""
        item, where = reply.item, reply.item.origin
        model = self.models[reply.model] = self.component("model", reply.model, reply.simulated)
        self.bases.setdefault(reply.model, {}).update(dict.fromkeys(reply.bases))
        cell = self.cell(item.dataset, reply.attack, reply.defense, model, reply.sampling)
        key = generation_key(cell, item.key, reply.repeat)
        response = reply.response
        came = response.status in _CAME and bool(response.text or response.reasoning)
        trace = reasoning.parse(response, reply.form) if came else None
        is_known = self._is_known(where, key, response)
        self.places.setdefault(key, where)
        seed = (reply.sampling.seed or 0) + reply.repeat
        slot = SampleKey(cell, item.key, reply.repeat, seed, key)
        parser = f"{reply.form}@{reasoning.VERSION}" if came else None
        rows = [records.item_row(item), *self._pictures(item, reply.prompt)]
        if reply.prompt is not None:
            # By cell: two tools may have sent different prompts under one attack's name.
            rows.append(records.prompt_row(cell, item.key, seed, reply.prompt))
        if not is_known:  # a failure gives way to what comes later, and would get its time
            rows.append(records.generation_row(slot, response, trace, parser))
        rows += self._verdicts(where, key, trace, reply)
        self.store.put(rows)
        self._put_labels(where, key, trace, reply)
        self.done.failed += response.status is ResponseStatus.FAILED
        self.done.models.add(reply.model)

    def _is_known(self, where: str, key: Key, response: Response) -> bool:
        """Whether the store has this reply. Raises ImportDataError where it has another."""
        query = "SELECT status, text, reasoning FROM generations WHERE key = ?"
        found = self.store.connection.execute(query, (key,)).fetchone()
        texts = (text and records.storable(text) for text in (response.text, response.reasoning))
        if found is None or found == (response.status.value, *texts):
            return found is not None
        if found[0] == ResponseStatus.FAILED.value:
            return False
        if key in self.places:
            raise ImportDataError(
                f"{where}: another reply of the same model to the same item stands in "
                f"{self.places[key]}; give each item an id of its own, or say with `repeat` which "
                "try each reply is"
            )
        raise ImportDataError(
            f"{where}: the store holds another reply to it, from an earlier import; import these "
            "results into a store of their own"
        )

    def _pictures(self, item: Item, prompt: Prompt | None) -> Iterator[Row]:
        images = [*item.images, *item.released.values(), *(prompt.images if prompt else ())]
        for image in images:
            yield records.image_row(self._keep(image))

    def _keep(self, image: Image) -> Image:
        path = self.store.image_path(image.sha256, image.media_type)
        if not path.exists():
            self.new.append(path)
        return self.store.put_image(image)

    def _verdicts(
        self, where: str, generation: Key, trace: Trace | None, reply: ForeignReply
    ) -> Iterator[Row]:
        by_judge: dict[Key, dict[Part, Key]] = {}
        for given in reply.verdicts:
            verdict, judge = given.verdict, given.judge
            if not _has_part(trace, given.part, reply.response):
                if verdict.score is None:
                    continue
                raise ImportDataError(
                    f"{where}: {judge.name} judged the {given.part.value}, which this reply lacks"
                )
            unsafe = verdict.score is not None and verdict.score >= judge.unsafe_from
            low, high = judge.scale or (-math.inf, math.inf)
            if verdict.score is not None and not low <= verdict.score <= high:
                raise ImportDataError(
                    f"{where}: the score {verdict.score:g} of {judge.name} is not on its scale "
                    f"from {low:g} to {high:g}; say another `scale`"
                )
            if unsafe != (verdict.label is Label.UNSAFE):
                raise ImportDataError(
                    f"{where}: {judge.name} says {verdict.label.value} with the score "
                    f"{verdict.score}, but unsafe is from {judge.unsafe_from:g} on; mend "
                    "`unsafe_from`, or map only the label or only the score"
                )
            by, self.done.verdicts = self.judge(judge), self.done.verdicts + 1
            # A text may be scored twice and differently, so the sample is in the key.
            key = content_key(by, generation, given.part.value, verdict.score)
            yield records.verdict_row(key, by, verdict)
            of = by_judge.setdefault(by, self._known(generation, by))
            of.update(dict.fromkeys(_same(trace, given.part), key))
        for by, keys in by_judge.items():
            yield records.judgement_row(generation, by, keys)

    def _known(self, generation: Key, judge: Key) -> dict[Part, Key]:
        """Return the verdicts on other parts that came with an earlier row."""
        query = (
            'SELECT reasoning, answer, "full" FROM judgements WHERE generation = ? AND judge = ?'
        )
        row = self.store.connection.execute(query, (generation, judge)).fetchone()
        return {} if row is None else {p: k for p, k in zip(PARTS, row, strict=True) if k}

    def _put_labels(
        self, where: str, generation: Key, trace: Trace | None, reply: ForeignReply
    ) -> None:
        query = (
            "SELECT text, unsafe, response_class, understood, note FROM labels "
            "WHERE generation = ? AND part = ? AND labeller = ?"
        )
        for given in reply.labels:
            if not _has_part(trace, given.part, reply.response):
                raise ImportDataError(
                    f"{where}: {given.labeller} labelled the {given.part.value}, which this reply "
                    "lacks"
                )
            text = records.storable((trace and trace.part(given.part)) or "")
            by = records.storable(given.labeller)
            place = (generation, given.part.value, by)
            content = (given.unsafe, given.response_class, given.understood, given.note)
            known = self.store.connection.execute(query, place).fetchall()
            if (text, *content) not in known:  # else it keeps the time that it has
                label = replace(given, generation=generation, labeller=by, text=text)
                put_labels(self.store, [label])
            self.done.labels += 1

    def put_pairs(self, pairs: Mapping[str, str]) -> None:
        """Register which model was trained from which, where both have replies."""
        for model, base in pairs.items():
            for lost in sorted({model, base} - self.models.keys()):
                there = ", ".join(sorted(self.models))
                raise ImportDataError(f"pairs: no reply is of {lost!r}; there are: {there}")
            self.bases[model][base] = None
        for model, bases in self.bases.items():
            for base in bases:
                if base == model or model in self.bases.get(base, ()):
                    raise ImportDataError(f"pairs: {model!r} is its own base, or its base's base")
                before = (f"{base.removesuffix(_MARK)}{_MARK}", self.origin["imported_from"])
                for (key,) in self.store.connection.execute(_MODEL, before).fetchall()[:1]:
                    self.store.put_pair(self.models[model], self.models.get(base, key))


def _has_part(trace: Trace | None, part: Part, response: Response) -> bool:
    """Whether something can be said of a part: of a text that is not recorded, of any."""
    if trace is None:
        return response.status in _CAME
    return trace.part(part) is not None


def _same(trace: Trace | None, part: Part) -> tuple[Part, ...]:
    """Return the parts whose text is the same: where there is no reasoning, two."""
    whole = (Part.ANSWER, Part.FULL)
    is_plain = trace is None or trace.status is TraceStatus.ABSENT
    return whole if is_plain and part in whole else (part,)
