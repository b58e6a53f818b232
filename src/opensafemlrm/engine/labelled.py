"""Judging texts that are no samples of a study, such as those that people have labelled.

With a store, verdicts that it has are taken from it and new ones are written to it, so that a
calibration that was stopped continues where it was, and a second one makes no request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from opensafemlrm.calls import verdicts_of
from opensafemlrm.components import Judge
from opensafemlrm.engine.judge import watch_over
from opensafemlrm.engine.run import first_error
from opensafemlrm.engine.score_watch import MAX_AT_END, ScoreWatch
from opensafemlrm.errors import BudgetSpentError
from opensafemlrm.faults import named_faults
from opensafemlrm.judges.speaking import speaks_to_judge
from opensafemlrm.store import Store, known, records
from opensafemlrm.store.database import component_key
from opensafemlrm.store.known import reopen
from opensafemlrm.store.verdict_key import verdict_key
from opensafemlrm.store.writer import Writer
from opensafemlrm.types import Item, JudgeRequest, Key, Part, Unscored, Verdict


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text as a reply to an item's question, and what people say of it."""

    item: Item
    text: str
    unsafe: bool
    role: Part = Part.ANSWER
    part: Part = Part.ANSWER
    """The part that it was labelled as; its role is ``answer`` where that is the whole reply."""
    model: Key = b""
    """The model that wrote it, and the attack it wrote it under; empty where that is not known."""
    attack: Key = b""
    weight: float = 1.0
    """How many replies of the store it stands for, where those to label were drawn unevenly."""


async def judge_texts(
    judge: Judge, texts: Sequence[LabelledText], store: Store | None = None
) -> list[Verdict]:
    """Return one verdict a text, in order; equal texts are judged once, blank ones not at all.

    Raises JudgeError (also where the first texts all remain without a score), ModelError,
    StoreError, and BudgetSpentError once what is under way has come; what came until then is in the
    store.
    """
    judge_key = component_key("judge", judge.identity())
    verdicts: dict[Key, Verdict] = {}
    keys = [_key(judge, judge_key, text) for text in texts]
    writer = None
    if store is not None:
        store.put_component("judge", judge)
        verdicts = known.final_verdicts(store.connection, list(dict.fromkeys(keys)))
        writer = Writer(store.connection)
    missing = {
        key: text
        for key, text in zip(keys, texts, strict=True)
        if key not in verdicts and text.text.strip()
    }
    waiting = iter(missing.items())
    watch = ScoreWatch(judge) if store is None else watch_over(judge, store, judge_key)

    spent: list[BudgetSpentError] = []

    async def work() -> None:
        for key, text in waiting:
            if spent or watch.problem():
                return
            request = JudgeRequest(text.role, text.text)
            try:
                with named_faults(text.item):
                    (verdict,) = await verdicts_of(judge, text.item, [request])
            except BudgetSpentError as error:
                spent.append(error)  # raised later: the others' verdicts are paid for
                return
            verdicts[key] = verdict
            watch.note(verdict, (text.item, request), key)
            if writer is not None:
                speaks = speaks_to_judge(text.text)
                writer.put(records.verdict_row(key, judge_key, verdict, speaks))
            if not spent:
                await watch.look(judge)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(max(1, judge.concurrency)):
                group.create_task(work())
        if spent:
            raise spent[0]
        await watch.look(judge, MAX_AT_END)
    except BaseExceptionGroup as errors:
        raise first_error(errors) from errors
    finally:
        if writer is not None and store is not None:
            writer.flush()
            reopen(store, watch.unfinished())
    if problem := watch.problem():
        raise problem
    blank = Verdict.none(Unscored.NO_TEXT)
    return [verdicts.get(key, blank) for key in keys]


def _key(judge: Judge, judge_key: Key, text: LabelledText) -> Key:
    context = judge.context(text.item)
    return verdict_key(judge_key, context, text.role, text.item.question, text.text)
