"""One budget of requests for all workers: each gets a quota of every endpoint's ``concurrency``.

The quotas add up to what the study says, so that the server never sees more requests at once than
it would from one process, whatever becomes of a worker, the driver or the network between them.
Nobody has to be asked before a request, which a counter that all workers share would ask for.
Models that fill the memory of the machine that asks them are each worker's own, and are not shared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from opensafemlrm.study import Study
from opensafemlrm.types import is_resident


def quota(total: int, number: int, workers: int) -> int:
    """Return how many of ``total`` requests at once the worker ``number``, from 0, may make."""
    return total // workers + (number < total % workers)


def max_workers(study: Study) -> int | None:
    """Return how many workers can have a share in every endpoint; ``None`` for any number."""
    components = (*study.models, *study.attacks, *study.defenses, study.judge)
    limits = [model.concurrency for one in components for model in _shared(one)]
    return min(limits, default=None)


def with_quotas(study: Study, number: int, workers: int) -> Study:
    """Return ``study`` with the share of one worker in everything that is asked over a network."""
    one: dict[str, Any] = {
        name: _split(getattr(study, name), number, workers)
        for name in ("models", "attacks", "defenses", "judge")
    }
    return dataclasses.replace(study, pairs=(), **one)


def _split(component: Any, number: int, workers: int) -> Any:
    if isinstance(component, tuple):
        return tuple(_split(one, number, workers) for one in component)
    if not dataclasses.is_dataclass(component) or isinstance(component, type):
        return component
    if _is_shared(component):
        asked: Any = component
        own = quota(asked.concurrency, number, workers)
        return dataclasses.replace(asked, concurrency=own)
    held = _held(component)
    changed = {name: _split(value, number, workers) for name, value in held.items()}
    return dataclasses.replace(component, **changed) if changed else component


def _shared(component: Any) -> Iterator[Any]:
    if isinstance(component, tuple):
        for one in component:
            yield from _shared(one)
    elif dataclasses.is_dataclass(component) and _is_shared(component):
        yield component
    elif dataclasses.is_dataclass(component):
        yield from _shared(tuple(_held(component).values()))


def _is_shared(component: Any) -> bool:
    """Whether it is a model whose ``concurrency`` is an option, and that others ask as well."""
    options = {field.name for field in dataclasses.fields(component) if field.init}
    return (
        hasattr(component, "generate") and "concurrency" in options and not is_resident(component)
    )


def _held(component: Any) -> Mapping[str, Any]:
    """Return the options of a component that are, or hold, components themselves."""
    options = {f.name: getattr(component, f.name) for f in dataclasses.fields(component) if f.init}
    return {name: value for name, value in options.items() if _may_ask(value)}


def _may_ask(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(_may_ask(one) for one in value)
    return any(hasattr(value, name) for name in ("generate", "judge", "search", "apply", "wrap"))
