"""Asking the models and judges of a study as its run asks them, and what came of it."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from opensafemlrm import reasoning
from opensafemlrm.analysis.alarms import changes_sent, is_another, shared, should_reason
from opensafemlrm.calls import reply_of, verdicts_of
from opensafemlrm.cli import _doctor_prompts as ask
from opensafemlrm.components import Component, Judge, Model, children, map_models, models_in
from opensafemlrm.engine.score_watch import advice, shape
from opensafemlrm.errors import BudgetSpentError, SafeMLRMError
from opensafemlrm.judges.classifier import ClassifierJudge
from opensafemlrm.judges.fixed_texts import ITEM, SAFE, UNSAFE
from opensafemlrm.models.hosted.whole_prompt import most_counted
from opensafemlrm.study import Study
from opensafemlrm.types import (
    Label,
    Part,
    Prompt,
    Response,
    ResponseStatus,
    Sampling,
    Unscored,
    Usage,
    Verdict,
)
from opensafemlrm.wrapped import defend

_NO_REASONING: Final = (
    "it should reason, and this reply holds no reasoning: set `format`, or look at what the server "
    "does with the marks"
)
_NO_END: Final = (
    "it should reason, and the reasoning of this whole reply never ends: set `format`, or look at "
    "what the server does with the marks"
)
_EMPTY: Final = (
    "its reply holds no text: look at its chat template, and at what the server does with the reply"
)
_NO_ANSWER: Final = (
    "its whole reply is reasoning, and there is no answer: set `format`, or look at what the "
    "server does with the marks"
)
_CUT: Final = "prompt_cut"
_LONGER_CONTEXT: Final = (
    "give the server a longer context (Ollama's OLLAMA_CONTEXT_LENGTH, llama.cpp's --ctx-size): "
    "what is cut is not seen, and the reply is to the rest"
)


DOUBTFUL: Final = "in doubt"
NOT_ASKED: Final = "not asked to the end"
_UNUSABLE: Final = "cannot be used"
_CANNOT_TELL: Final = "it calls a refusal and a fake review, both harmless, safe alike"
_OF_NO_USE: Final = ": choose another model or prompt for the judge"
_NARROW: Final = (
    "; it may be trained for other harm, or say safe to everything: see `safemlrm calibrate`"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of asking one model."""

    role: str
    """What the study uses it for: ``model``, or the component that asks it."""
    model: str
    well: bool
    outcome: str
    images: bool | None
    """Whether it takes images, where that was tried."""
    reasoning: str
    """How its reasoning was found in the reply, and what is known of it."""
    seconds: float | None
    detail: str
    answered: str | None = None
    """The model that answered, as the server calls it."""
    server: str = ""
    """The address, where the model has several."""

    @property
    def refused(self) -> str:
        """The outcome of a model that is not to be used, which always says so first."""
        is_said = self.outcome in (_UNUSABLE, NOT_ASKED)
        return self.outcome if is_said else f"{_UNUSABLE}: {self.outcome}"

    def but(self, *more: str, outcome: str = "", well: bool = True) -> Finding:
        """Return the finding with more to say of it; ``outcome`` takes the place of a good one."""
        detail = "; ".join(filter(None, (self.detail, *more)))
        outcome = outcome if outcome and self.well else self.outcome
        return dataclasses.replace(self, detail=detail, outcome=outcome, well=self.well and well)


async def findings(study: Study, within: Callable[[Any], Any] = lambda part: part) -> list[Finding]:
    """Ask everything of ``study`` that a run would ask; its components are closed afterwards.

    ``within`` puts what is asked under a budget.
    """
    servers: list[tuple[Model, str]] = []
    study = study.map_models(lambda model: model.unbatched())  # a batch would take hours to answer
    study = study.map_models(within)
    try:
        prompts, doubt = await asyncio.to_thread(ask.prompts, study)
        servers = [pair for model in study.models for pair in _at_each(model, within)]
        work = [_of_target(study, model, prompts, doubt) for model, _ in servers]
        for role, judge, model in _nested(study):
            for server, address in _at_each(model, within):
                servers.append((server, address))
                work.append(_of_nested(role, judge and _with(judge, model, server), server))
        results = await asyncio.gather(*work)
    finally:
        apart = [model for model, address in servers if address]
        for component in (*study.components, *apart):
            await component.aclose()
    results = _with_shared(results, [model.model for model, _ in servers])
    return [
        dataclasses.replace(finding, server=address)
        for finding, (_, address) in zip(results, servers, strict=True)
    ]


def _at_each(model: Model, within: Callable[[Any], Any]) -> list[tuple[Model, str]]:
    """Return the model at each of its servers, and the address: a run may ask any of them."""
    at_servers = model.servers().items()
    return [(within(server), address) for address, server in at_servers] or [(model, "")]


def _with(judge: Judge, model: Model, server: Model) -> Judge:
    """Return ``judge``, asking ``model`` at one of its servers."""
    return map_models(judge, lambda inner: server if inner is model else inner)


def _nested(study: Study) -> Iterator[tuple[str, Judge | None, Model]]:
    """Yield each model that is not one of the study's own: its role, and the judge that asks it."""
    known = {id(model) for model in study.models}
    for component in (*study.models, *study.judges, *study.attacks, *study.defenses):
        role = "model" if isinstance(component, Model) else component.label.partition("[")[0]
        for judge, model in _below(component, None):
            if id(model) not in known:
                known.add(id(model))
                yield role, judge, model


def _below(component: Component, judge: Judge | None) -> Iterator[tuple[Judge | None, Model]]:
    asks = component if isinstance(component, Judge) else judge
    is_budgeted = isinstance(component, Model) and component.wraps  # what is below is itself
    for child in () if is_budgeted else children(component):
        if isinstance(child, Model):
            yield from ((asks, model) for model in models_in(child))
        else:
            yield from _below(child, asks)


async def _of_target(study: Study, model: Model, prompts: Sequence[Prompt], doubt: str) -> Finding:
    """Ask a model of the study in each form of its prompts, through its defenses, and at length."""
    sampling = study.sampling
    try:
        finding = await _in_forms(model, prompts, sampling)
        if finding.well:
            finding = finding.but(doubt)
            finding = await _through_defenses(study, model, prompts[-1], finding)
            finding = await _at_length(model, sampling, finding)
    except SafeMLRMError as error:
        finding = _unusable("model", model, error)
    return _with_alarm(finding, study, model)


async def _of_nested(role: str, judge: Judge | None, model: Model) -> Finding:
    """Ask a model below the study's components: through its judge, where it has one."""
    try:
        if judge is not None:
            return await _of_judge(role, judge, model)
        finding = await _in_forms(model, [ask.PLAIN], Sampling(), role)
        return await _at_length(model, Sampling(), finding) if finding.well else finding
    except SafeMLRMError as error:
        return _unusable(role, model, error)


def _unusable(role: str, model: Model, error: SafeMLRMError) -> Finding:
    outcome = NOT_ASKED if isinstance(error, BudgetSpentError) else _UNUSABLE
    return Finding(role, model.label, False, outcome, None, "", None, str(error))


async def _in_forms(
    model: Model, prompts: Sequence[Prompt], sampling: Sampling, role: str = "model"
) -> Finding:
    """Ask in each form; where one fails that has pictures, a plain one tells whether they do."""
    first: Finding | None = None
    for prompt in prompts:
        response = await reply_of(model, prompt, sampling)
        has_images = bool(prompt.images)
        finding = _finding(role, model, response, sampling, images=has_images or None)
        if not finding.well and has_images:
            text = await reply_of(model, ask.PLAIN, sampling)
            if _came(text):
                outcome = f"{finding.outcome}: takes text, but not images"
                return dataclasses.replace(finding, outcome=outcome, images=False)
            return _finding(role, model, text, sampling)
        if not finding.well:
            return finding
        first = first or finding
    assert first is not None  # there is a prompt # noqa: S101
    return first


def _came(response: Response) -> bool:
    return response.status in (ResponseStatus.OK, ResponseStatus.TRUNCATED)


def _finding(
    role: str,
    model: Model,
    response: Response,
    sampling: Sampling,
    images: bool | None = None,
) -> Finding:
    well, read, lack = _came(response), "", ""
    if well:
        trace = reasoning.parse(response, model.reasoning_format)
        read = f"{trace.status.value} ({trace.found_by})" if trace.found_by else trace.status.value
        if trace.part(Part.ANSWER) is None and response.status is ResponseStatus.OK:
            lack = _EMPTY if trace.part(Part.FULL) is None else _NO_ANSWER
    cut = response.status is ResponseStatus.TRUNCATED
    finding = Finding(
        role,
        model.label,
        well,
        response.status.value,
        images if well else None,
        read,
        response.latency,
        ": ".join(filter(None, (response.code, response.detail))),
        response.model,
    )
    asked = dataclasses.asdict(sampling)
    if lack:
        outcome = "empty reply" if lack is _EMPTY else "no answer"
        finding = finding.but(lack, outcome=outcome, well=False)
    return finding.but(
        f"cut at {sampling.max_tokens:,} tokens: raise `max_tokens`" if cut else "",
        *_about(model, response.model, response.sent, asked),
    )


def _about(
    model: Model, answered: str | None, sent: str | None, sampling: Mapping[str, Any]
) -> Iterator[str]:
    """Yield who answered, where it is another, and how it was asked otherwise than it should."""
    if answered is not None and is_another([model.model], answered):
        yield f"asked for {model.model}, {answered} answered"
    changes = [] if sent is None else list(changes_sent(sampling, sent))
    if changes:
        yield f"asked {', '.join(changes)}"


async def _through_defenses(
    study: Study, model: Model, prompt: Prompt, finding: Finding
) -> Finding:
    """Ask through each defense, less what asks models of its own: they are asked by themselves."""
    for defense in study.defenses:
        layers = [layer for layer in defense.layers if next(models_in(layer), None) is None]
        if not layers:
            continue
        try:
            response = await functools.reduce(defend, layers, model).generate(
                prompt, study.sampling
            )
        except BudgetSpentError:
            raise
        except SafeMLRMError as error:
            return finding.but(str(error), outcome=f"fails with {defense.label}", well=False)
        if not _came(response):
            why = ": ".join(filter(None, (response.code, response.detail)))
            outcome = f"{response.status.value} with {defense.label}"
            return finding.but(why, outcome=outcome, well=False)
    return finding


async def _at_length(model: Model, sampling: Sampling, finding: Finding) -> Finding:
    """Send a long prompt: the tokens that the server counts in it have to fit what was sent."""
    if model.in_process:
        return finding
    try:
        response = await reply_of(model, ask.long_prompt(), sampling)
    except BudgetSpentError:
        raise
    except SafeMLRMError as error:
        return finding.but(f"asked at length: {error}")
    failed = "" if _came(response) else f"{response.code}: {response.detail}"
    return _measured(finding, response.usage, failed)


def _measured(finding: Finding, usage: Usage, failed: str) -> Finding:
    """Say whether a long prompt was cut; a server that turns it down cuts nothing."""
    tokens = most_counted(usage)
    if failed.startswith(_CUT) or (tokens and tokens < ask.MIN_TOKENS):
        count = "" if not tokens else f": it counts {tokens:,} tokens in {ask.LONG_WORDS:,} words"
        detail = f"the server cuts long prompts{count}; {_LONGER_CONTEXT}"
        return finding.but(detail, outcome="prompt cut by the server", well=False)
    if failed:
        return finding.but(f"{ask.LONG_WORDS:,} words are too long for it ({failed})")
    return finding


async def _of_judge(role: str, judge: Judge, model: Model) -> Finding:
    """Show the judge two fixed texts, one safe and one not, and a long one, in its own prompt."""
    safe, unsafe = await verdicts_of(judge, ITEM, [SAFE, UNSAFE])
    role = role if role == judge.name else f"{role}: {judge.name}"
    seconds = (safe.latency + unsafe.latency) / max(1, safe.requests + unsafe.requests)
    finding = Finding(
        role, model.label, True, "ok", None, "", seconds, "", safe.model or unsafe.model
    )
    asked = judge.identity().get("sampling")
    for verdict in (safe, unsafe):
        if verdict.reason not in (None, Unscored.NOT_APPLICABLE):
            return finding.but(_why(verdict), outcome=f"no score: {verdict.reason}", well=False)
    finding = finding.but(
        *_about(model, finding.answered, safe.sent, asked if isinstance(asked, Mapping) else {})
    )
    if safe.label is Label.UNSAFE:
        detail = "it calls a plain refusal unsafe: choose another model or prompt for the judge"
        return finding.but(detail, outcome="wrong", well=False)
    if unsafe.label is not Label.UNSAFE and model.identity().get("simulated"):
        return finding.but("simulated: it reads the marks of simulated replies alone")
    if unsafe.label is not Label.UNSAFE:
        # What a guard takes for unsafe was trained into it; a rubric says what is.
        narrow = isinstance(judge, ClassifierJudge)
        detail = _CANNOT_TELL + (_NARROW if narrow else _OF_NO_USE)
        finding = finding.but(detail, outcome=DOUBTFUL if narrow else "cannot tell", well=narrow)
    if model.in_process:
        return finding
    (long,) = await verdicts_of(judge, ITEM, [ask.LONG])
    failed = long.rationale if long.reason is Unscored.JUDGE_FAILED else ""
    return _measured(finding, long.usage, failed)


def _why(verdict: Verdict) -> str:
    reason = verdict.reason or Unscored.UNPARSED
    if reason is Unscored.JUDGE_FAILED:
        return verdict.rationale
    return f"{advice(reason)}. What came: {shape(verdict.rationale)}"


def _with_alarm(finding: Finding, study: Study, model: Model) -> Finding:
    """Say of a model that should reason if its reply held no reasoning, or one without an end.

    Reasoning that has not ended in a reply that was cut says nothing.
    """
    reasoners = {reasoner.label for reasoner, _ in study.pairs}
    bases = {base.label for _, base in study.pairs} - reasoners
    is_absent = finding.reasoning.startswith("absent")
    is_endless = finding.reasoning.startswith("unclosed") and finding.outcome.startswith("ok")
    if finding.model in bases or not (is_absent or is_endless):
        return finding
    form = str(model.reasoning_format)
    if finding.model not in reasoners and not should_reason(finding.model, form):
        return finding
    return finding.but(_NO_REASONING if is_absent else _NO_END)


def _with_shared(results: Iterable[Finding], requested: Sequence[str]) -> list[Finding]:
    """Say of models that were answered by one, and asked for by two names."""
    results = list(results)
    answers = [
        (finding.model, name, finding.answered)
        for finding, name in zip(results, requested, strict=True)
        if finding.answered is not None and finding.role == "model"
    ]
    sentences = shared(answers)
    return [
        finding.but(*(text for text in sentences if text.startswith(f"{finding.model} and ")))
        for finding in results
    ]
