"""One evaluation, from end to end.

A run is a build: it brings a store up to date with a study, making what is missing and nothing
else. The steps, in order, and where to find them::

    plan       models × defenses × datasets × attacks: the cells     plan.py
    missing    what the store lacks of a cell, 128 samples at a time  missing.py
    rounds     where a rule may end a scenario: which items now       stopping.py
    schedule   which models run side by side, and how many samples    run.py
    attack     item → prompt                                          prepare.py, search.py
    generate   prompt → response                                      here
    parse      response → reasoning and answer                        opensafemlrm.reasoning
    judge      reasoning, answer and the whole → verdicts             judge.py
    write      rows under content keys, committed together            opensafemlrm.store.writer

The workers of a cluster call :func:`process_sample` for the samples that the driver sends them.
"""

from __future__ import annotations

import dataclasses

from opensafemlrm import reasoning
from opensafemlrm.calls import reply_of
from opensafemlrm.engine.guards import Guards
from opensafemlrm.engine.judge import RowWriter, SampleJudge, raise_if_scoreless
from opensafemlrm.engine.missing import rounds
from opensafemlrm.engine.plan import Plan
from opensafemlrm.engine.prepare import Sample
from opensafemlrm.engine.prompt_images import PromptImages
from opensafemlrm.engine.run import run_models
from opensafemlrm.engine.score_watch import MAX_AT_END, MAX_UNSCORED
from opensafemlrm.engine.search import search_prompt
from opensafemlrm.engine.tally import CAME, Outcome
from opensafemlrm.errors import DefenseError
from opensafemlrm.faults import named_faults
from opensafemlrm.store import Store, records
from opensafemlrm.store.known import reopen
from opensafemlrm.store.writer import Writer
from opensafemlrm.types import Prompt, Response


async def evaluate(plan: Plan, store: Store) -> None:
    """Bring ``store`` up to date with ``plan``; progress is in the tallies of its cells.

    However it ends (done, an error, a cancelled task), every reply and verdict that came is
    committed; of a model that is stopped before it answers anything, nothing is left. A model that
    cannot be used is stopped, and the others go on; a judge that cannot be used, or gives no score,
    stops all of them, as a spent budget does. None of that cancels what is under way; then
    StoppedError or BudgetSpentError is raised. Any other SafeMLRMError, such as StoreError, ends
    the run at once.
    """
    plan.register(store)
    writer = Writer(store.connection)
    images = PromptImages(store)
    judge = SampleJudge(plan.judge, plan.judge_key, store, writer, plan.again.judged, plan.cells)

    async def process(sample: Sample) -> None:
        await process_sample(sample, images, judge, writer)

    is_done = False
    try:
        for wanted in rounds(plan, store):
            await run_models(plan, store, images, process, wanted)
            writer.flush()
        await judge.look_at_end()
        is_done = True
    finally:
        try:
            writer.flush()
            # Of a run that was ended, nobody has looked whether the judge was gone by then.
            limit = MAX_UNSCORED if is_done else MAX_AT_END
            reopen(store, judge.watch.unfinished(limit), judge.guards.unfinished())
            if not is_done:
                plan.drop_unanswered(store)
        finally:
            await plan.aclose()
    raise_if_scoreless(judge.watch, judge.guards.scoreless())


async def process_sample(
    sample: Sample, images: PromptImages, judge: SampleJudge, writer: RowWriter
) -> None:
    """Bring one sample up to date: attack, generate, parse, judge; write what each step makes."""
    with named_faults(sample.item):
        if sample.search is not None:
            await search_prompt(sample, sample.search, judge.component, images)
        if sample.response is not None:
            outcome = _parse_again(sample, sample.response, writer)
        elif sample.prompt is not None:
            outcome = await _generate(sample, sample.prompt, judge.guards, writer)
        else:
            outcome = _not_applicable(sample, writer)
        if outcome.to_judge is not None:
            await judge.judge(sample, outcome.to_judge, writer)
            judge.raise_if_stopped()


async def _generate(sample: Sample, prompt: Prompt, guards: Guards, writer: RowWriter) -> Outcome:
    """Send the prompt and parse the reply; both are committed when this returns."""
    cell = sample.cell
    try:
        response = _storable(await reply_of(cell.target, prompt, sample.sampling))
    except DefenseError as error:
        sample.give_up(str(error))
        return _not_applicable(sample, writer)
    trace = parser = None
    if response.status in CAME:
        trace = reasoning.parse(response, cell.target.reasoning_format)
        parser = cell.reasoning_parser
    _write(sample, writer)
    for step, call in enumerate((*sample.calls, *response.calls)):
        writer.put(records.call_row(sample.key.key, step, call))
    writer.put(records.generation_row(sample.key, response, trace, parser))
    # Before it is committed, as whatever was put is, however the run ends.
    cell.tally.count(response)
    for request in (response, *(call.response for call in (*sample.calls, *response.calls))):
        cell.tally.spend(cell.price, request.usage)
    await writer.saved()
    await guards.note(cell, response, sample.key.key)
    return Outcome(response, trace)


def _parse_again(sample: Sample, response: Response, writer: RowWriter) -> Outcome:
    """Parse a stored reply that lacks verdicts: perhaps an older format parsed it otherwise."""
    trace = reasoning.parse(response, sample.cell.target.reasoning_format)
    writer.put(records.trace_row(sample.key.key, trace, sample.cell.reasoning_parser))
    return Outcome(response, trace)


def _not_applicable(sample: Sample, writer: RowWriter) -> Outcome:
    """Note that nothing can be sent: the attack or the defense cannot be applied to the item."""
    _write(sample, writer)
    sample.cell.tally.skip(sample.not_applicable)
    return Outcome(None)


def _write(sample: Sample, writer: RowWriter) -> None:
    for row in sample.rows:
        writer.put(row)


def _storable(response: Response) -> Response:
    """Make the text what the store will give back, so that keys computed now hold later."""
    text = records.storable(response.text)
    thought = None if response.reasoning is None else records.storable(response.reasoning)
    if text is response.text and thought is response.reasoning:
        return response
    return dataclasses.replace(response, text=text, reasoning=thought)
