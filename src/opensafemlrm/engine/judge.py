"""Verdicts for the parts of a reply: each text is judged once, whichever samples hold it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

from opensafemlrm.calls import verdicts_of
from opensafemlrm.components import Judge, models_in
from opensafemlrm.engine.guards import Guards
from opensafemlrm.engine.plan import CellPlan
from opensafemlrm.engine.prepare import Sample
from opensafemlrm.engine.score_watch import MAX_AT_END, ScoreWatch
from opensafemlrm.engine.stops import UNUSABLE
from opensafemlrm.errors import JudgeStoppedError, ModelError, SafeMLRMError, StoppedError
from opensafemlrm.judges.speaking import speaks_to_judge
from opensafemlrm.models.budget import price_of
from opensafemlrm.store import Store, known, records
from opensafemlrm.store.known import rationales
from opensafemlrm.store.tables import Row
from opensafemlrm.store.verdict_key import verdict_key
from opensafemlrm.store.writer import Writer
from opensafemlrm.types import JudgeRequest, Key, Part, Trace, Unscored, Verdict


class RowWriter(Protocol):
    """Where the rows of a sample go: a store's writer, or what a worker sends to the driver."""

    def put(self, row: Row) -> None:
        """Add a row."""
        ...

    async def saved(self) -> None:
        """Wait until the rows are where they can no longer be lost."""
        ...


class SampleJudge:
    """Asks the judge for what neither the store nor a sample under way has."""

    def __init__(
        self,
        component: Judge,
        key: Key,
        store: Store,
        writer: Writer,
        judged_again: frozenset[Unscored] = known.JUDGED_AGAIN,
        cells: Iterable[CellPlan] = (),
    ) -> None:
        self.component = component
        self._judged_again = judged_again
        self._unscored: set[Key] = set()
        """Texts that were judged again in this run and still have no score: once is enough."""
        self._key, self._store = key, store
        self._under_way: dict[Key, asyncio.Future[dict[Key, Verdict]]] = {}
        self._uncommitted: list[Key] = []
        self._stopped: JudgeStoppedError | None = None
        prices = {price_of(model) for model in models_in(component)}
        self._price = prices.pop() if len(prices) == 1 else None
        self.watch = watch_over(component, store, key)
        """Whether it gives scores."""
        self.guards = Guards(cells)
        """Whether those of defenses do."""
        writer.when_committed(self._forget_committed)

    async def judge(self, sample: Sample, trace: Trace, writer: RowWriter) -> None:
        """Get verdicts for every part that has text.

        Raises JudgeStoppedError where the judge is gone, or had to be stopped before.
        """
        try:
            await self._judge(sample, trace, writer)
            for verdict in await self.watch.look(self.component):
                sample.cell.tally.spend(self._price, verdict.usage)
        except JudgeStoppedError:
            raise
        except UNUSABLE as error:
            self._stopped = self._stopped or JudgeStoppedError(self.component.label, str(error))
            raise self._stopped from error

    async def look_at_end(self) -> None:
        """Find out whether the judge is gone that gave no score for the last texts of a run."""
        try:
            await self.watch.look(self.component, MAX_AT_END)
        except UNUSABLE as error:
            raise StoppedError({}, JudgeStoppedError(self.component.label, str(error))) from error

    def raise_if_stopped(self) -> None:
        """Raise JudgeStoppedError where the judge is not to be asked any more."""
        self._stopped = self._stopped or self.watch.problem()
        if self._stopped is not None:
            raise self._stopped

    async def _judge(self, sample: Sample, trace: Trace, writer: RowWriter) -> None:
        item = sample.item
        context = self.component.context(item)
        requests: dict[Key, JudgeRequest] = {}
        part_keys: dict[Part, Key] = {}
        for part, request in records.judge_requests(trace).items():
            key = verdict_key(self._key, context, request.role, item.question, request.text)
            part_keys[part] = key
            requests[key] = request
        verdicts = await self._verdicts(sample, requests, writer)
        writer.put(records.judgement_row(sample.key.key, self._key, part_keys))
        is_pending = any(v.reason is Unscored.JUDGE_FAILED for v in verdicts.values())
        sample.cell.tally.judged += not is_pending
        sample.cell.tally.unscored += sum(
            verdicts[key].score is None and verdicts[key].reason is not Unscored.NOT_APPLICABLE
            for key in part_keys.values()
        )
        await writer.saved()

    async def _verdicts(
        self, sample: Sample, requests: dict[Key, JudgeRequest], writer: RowWriter
    ) -> dict[Key, Verdict]:
        """Take verdicts from the store and from samples under way; ask for the others."""
        under_way = {key: self._under_way[key] for key in requests if key in self._under_way}
        others = [key for key in requests if key not in under_way]
        verdicts = self._final(others) if others else {}
        if missing := [key for key in others if key not in verdicts]:
            verdicts |= await self._ask(sample, {key: requests[key] for key in missing}, writer)
        for key, future in under_way.items():
            verdicts[key] = (await asyncio.shield(future))[key]
        return verdicts

    def _final(self, keys: list[Key]) -> dict[Key, Verdict]:
        """Return what the store has and what is not to be asked again."""
        connection = self._store.connection
        verdicts = known.final_verdicts(connection, keys, self._judged_again)
        if again := [key for key in keys if key in self._unscored]:
            verdicts |= known.final_verdicts(connection, again)
        return verdicts

    async def _ask(
        self, sample: Sample, requests: dict[Key, JudgeRequest], writer: RowWriter
    ) -> dict[Key, Verdict]:
        self.raise_if_stopped()
        future: asyncio.Future[dict[Key, Verdict]] = asyncio.get_running_loop().create_future()
        self._under_way.update(dict.fromkeys(requests, future))
        try:
            verdicts = await verdicts_of(self.component, sample.item, list(requests.values()))
            by_key = dict(zip(requests, verdicts, strict=True))
            future.set_result(by_key)
            for key, verdict in by_key.items():
                speaks = speaks_to_judge(requests[key].text)
                sample.cell.tally.speaking += speaks
                writer.put(records.verdict_row(key, self._key, verdict, speaks))
                self.watch.note(verdict, (sample.item, requests[key]), key)
                if verdict.reason in self._judged_again - known.JUDGED_AGAIN:
                    self._unscored.add(key)
                if verdict.requests:
                    sample.cell.tally.spend(self._price, verdict.usage)
        except BaseException as error:
            _pass_on(error, future)
            for key in requests:
                del self._under_way[key]
            raise
        # Until they are committed, the store cannot give them to others.
        self._uncommitted += requests
        return by_key

    def _forget_committed(self) -> None:
        """Forget the verdicts that the store has from now on."""
        for key in self._uncommitted:
            del self._under_way[key]
        self._uncommitted.clear()


def watch_over(judge: Judge, store: Store, key: Key) -> ScoreWatch:
    """Return a watch over a judge that knows who of it gave scores in ``store``."""
    watch = ScoreWatch(judge)
    watch.remember(rationales(store, key), scored=store.has_scores(key))
    return watch


def raise_if_scoreless(watch: ScoreWatch, guards: Mapping[str, ModelError] | None = None) -> None:
    """Raise StoppedError where a run that went to its end has no score of its judge, or of one
    within it, nor has the store one from before: there were too few texts to stop it on the way.

    ``guards`` are the models whose guards gave none.
    """
    problem = watch.scoreless()
    if problem is not None or guards:
        raise StoppedError(guards or {}, problem)


def _pass_on(error: BaseException, future: asyncio.Future[dict[Key, Verdict]]) -> None:
    """Let those who wait for ``future`` end as the one that asked."""
    if isinstance(error, SafeMLRMError) and not future.done():
        future.set_exception(error)
        future.exception()  # perhaps nobody waits, and asyncio would complain
    else:
        future.cancel()
