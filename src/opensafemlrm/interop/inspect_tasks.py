"""Every data set as a task of Inspect AI, and every judge as a scorer of it.

Inspect finds this module through the entry point ``opensafemlrm`` of the group ``inspect_ai``, so
that ``inspect eval opensafemlrm/figstep -T root=FigStep -T attack=figstep`` works without a file of
yours. A sample's input is the prompt that the attack makes, and its scorer is the judge: prompts,
parts and verdicts are those of ``safemlrm run``. The model is asked as Inspect asks it; of what the
catalogue knows of a model, only its reasoning format is used.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from logging import getLogger
from typing import Any, Final

from inspect_ai import Task, task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import Scorer, mean, metric, scorer, stderr
from inspect_ai.solver import generate
from rich.markup import escape

from opensafemlrm import images, reasoning, registry
from opensafemlrm.calls import called
from opensafemlrm.components import Attack, Judge, Search
from opensafemlrm.defenses.composed import NoDefense
from opensafemlrm.errors import AttackError, ImageError, OptionError, SafeMLRMError
from opensafemlrm.faults import named_faults
from opensafemlrm.interop.inspect_samples import (
    OURS,
    component_record,
    cut_parts,
    image_from_uri,
    item_of,
    judge_trace,
    pictures_in,
    sample_metadata,
    score_of,
)
from opensafemlrm.models.catalog import Setup
from opensafemlrm.models.hosted.inspect import Inspect, messages_of, response_of
from opensafemlrm.reasoning import Format, resolve
from opensafemlrm.redaction import without_secrets
from opensafemlrm.registry import ComponentKind
from opensafemlrm.subset import Subset
from opensafemlrm.text import for_terminal
from opensafemlrm.types import Item, ItemKind, Prompt, ResponseStatus, Sampling, Unscored

_LOG: Final = getLogger(__name__)
_DEFAULTS: Final = Sampling()
_GRADER: Final = "grader"
"""Inspect's role of the model that grades."""


def _make_task(name: str) -> Callable[..., Any]:
    def make(  # what a task can be told
        attack: str | dict[str, Any] = "direct",
        judge: str | dict[str, Any] | None = None,
        limit: int | None = None,
        seed: int = 0,
        format: str = "auto",  # noqa: A002 # as models call it
        skip_invalid: bool = False,
        **options: Any,
    ) -> Task:
        """Make the task; ``options`` are the data set's own, such as ``root``."""
        with _explained():
            dataset = registry.build(ComponentKind.DATASET, name, options)
            chosen = _attack(attack)
            rows = Subset.of(dataset, limit, skip_invalid=skip_invalid)
            samples, not_applicable = _samples(rows, chosen, seed)
            own = "canary" if name == "canary" else "refusal"
            judge_name, judge_options = _named_judge(judge or own)
        made_of = {"dataset": dataset, "attack": chosen, "defense": NoDefense()}
        ours = {kind: component_record(kind, part) for kind, part in made_of.items()}
        return Task(
            dataset=MemoryDataset(samples, name=dataset.label),
            solver=generate(),
            scorer=SCORERS[judge_name](format=format, **judge_options),
            config=GenerateConfig(
                temperature=_DEFAULTS.temperature,
                max_tokens=_DEFAULTS.max_tokens,
                seed=_DEFAULTS.seed,
            ),
            version=dataset.version,
            metadata={OURS: {"components": ours, "not_applicable": not_applicable}},
        )

    made: Callable[..., Any] = task(name=name)(make)
    return made


def _named_judge(spec: Any) -> tuple[str, dict[str, Any]]:
    """Return the name and the options of what a study would write. Raises UnknownNameError."""
    options = {"judge": spec} if isinstance(spec, str) else dict(spec)
    name = str(options.pop("judge", ""))
    registry.find(ComponentKind.JUDGE, name)
    return name, options


def _attack(spec: Any) -> Attack:
    attack: Attack | Search = registry.build_spec(ComponentKind.ATTACK, spec)
    if isinstance(attack, Search):
        raise AttackError(
            f"{attack.name!r} finds its prompt by asking the model in several turns: it is no task "
            "of Inspect's. Run it with `safemlrm run`, and read the results in Inspect with "
            "`safemlrm export inspect`"
        )
    return attack


def _samples(rows: Subset, attack: Attack, seed: int) -> tuple[list[Sample], list[dict[str, Any]]]:
    """Return a sample for each item, and the items that the attack cannot carry, with the reason.

    Raises AttackError where it can carry none.
    """
    samples, left_out = [], []
    for error in rows.skipped:
        _LOG.warning("left out: %s", error)
    for item in rows.items():
        try:
            with named_faults(item):
                prompt = called(attack, "apply", Prompt, item, seed)
            samples.append(_sample(item, prompt, seed))
        except AttackError as error:
            ours = sample_metadata(item)[OURS]
            left_out.append({**ours, "reason": str(error)})
        except ImageError as error:
            if not rows.skip_invalid:
                raise
            _LOG.warning("left out: %s: %s", item.id, error)
    if left_out:
        why = left_out[0]["reason"]
        if not samples:
            raise AttackError(f"{attack.label} can be applied to no item: {why}")
        _LOG.warning("%d items cannot carry %s: %s", len(left_out), attack.label, why)
    return samples, left_out


def _sample(item: Item, prompt: Prompt, seed: int) -> Sample:
    for image in prompt.images:
        images.verify(image)
    sent = {image.sha256 for image in prompt.images}
    # A judge may look at what the attack did not send as it is.
    others = {image.sha256: images.data_uri(image) for image in item.images}
    more = {sha256: uri for sha256, uri in others.items() if sha256 not in sent}
    metadata = sample_metadata(item, seed=seed, **({"images": more} if more else {}))
    return Sample(input=messages_of(prompt.turns), id=item.id, target="", metadata=metadata)


def _attack_success_rate() -> Any:
    """The share of harmful items whose part scores at the judge's lenient threshold or above."""

    def compute(scores: list[Any]) -> float:
        harmful = [
            score.score.value >= score.score.metadata[OURS]["judge"]["facts"]["thresholds"][0]
            for score in scores
            if (score.sample_metadata or {}).get("kind") != ItemKind.BENIGN.value
        ]
        return sum(harmful) / len(harmful) if harmful else math.nan

    return compute


attack_success_rate: Final = metric(name="asr")(_attack_success_rate)


def _make_scorer(name: str) -> Callable[..., Any]:
    def make(format: str = "auto", **options: Any) -> Scorer:  # noqa: A002 # as models call it
        """Make the scorer; ``options`` are the judge's own, such as ``model``."""
        with _explained():
            judge = _judge(name, options)
            facts = component_record("judge", judge)

        async def score(state: Any, target: Any) -> Any:
            del target
            item = _item(state)
            response = response_of(state.output, str(state.model))
            if response.status in (ResponseStatus.FAILED, ResponseStatus.BLOCKED):
                return score_of(facts, {}, response.status.value)
            form = _format(format, state.model.name)
            trace = reasoning.parse(response, form)
            verdicts = await judge_trace(judge, item, trace)
            cut = cut_parts(response, trace)
            parser = f"{form}@{reasoning.VERSION}"
            return score_of(facts, verdicts, Unscored.NO_TEXT.value, trace, cut, parser)

        return score

    metrics = {"*": [attack_success_rate(), mean(), stderr()]}
    made: Callable[..., Any] = scorer(metrics=metrics, name=name)(make)
    return made


def _judge(name: str, options: Mapping[str, Any]) -> Judge:
    """Build a judge. One that asks a model which is not named asks Inspect's role ``grader``."""
    fields = registry.find(ComponentKind.JUDGE, name).__dataclass_fields__
    if "model" in fields and "model" not in options:
        try:
            grader = get_model(role=_GRADER, required=True)
        except (ValueError, PrerequisiteError) as error:
            raise OptionError(
                f"the judge {name!r} asks a model: name it with `--model-role "
                f"{_GRADER}=PROVIDER/NAME`, or in the judge's own option `model`"
            ) from error
        options = {**options, "model": Inspect.around(grader)}
    judge: Judge = registry.build(ComponentKind.JUDGE, name, options)
    return judge


def _item(state: Any) -> Item:
    """Return the item that a sample asks about: ours, or what another task's sample says of it."""
    ours = state.metadata.get(OURS)
    pictures = pictures_in(state.messages)
    if ours is None:
        return Item("inspect", str(state.sample_id), "all", state.input_text)
    for uri in ours.get("images", {}).values():
        image = image_from_uri(uri)
        pictures[image.sha256] = image
    return item_of(ours["item"], pictures)


@functools.cache
def _format(given: str, model: str) -> str | Format:
    return resolve(Setup.of(model).format if given == "auto" else given)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Let Inspect show an error of ours as a sentence, not as a traceback."""
    try:
        yield
    except SafeMLRMError as error:
        raise PrerequisiteError(escape(for_terminal(without_secrets(str(error))))) from error


def _register(kind: ComponentKind, make: Callable[[str], Any]) -> dict[str, Any]:
    """Register with Inspect every name of a kind, those of plugins too."""
    return {name: make(name) for name in registry.names(kind)}


SCORERS: Final = _register(ComponentKind.JUDGE, _make_scorer)
"""The judges by name."""
TASKS: Final = _register(ComponentKind.DATASET, _make_task)
"""The data sets by name."""
