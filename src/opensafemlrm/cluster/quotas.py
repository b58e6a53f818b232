"""One budget of requests for all workers: each gets a quota of every endpoint's ``concurrency``.

The quotas add up to what the study says: a server never gets more requests at once than it would
from one process, even if a worker, the driver or the network between them fails. A counter that all
workers share would need a message before each request. Models in a worker's own memory are not
shared.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from opensafemlrm.components import Model, models_in
from opensafemlrm.study import Study


def quota(total: int, number: int, workers: int) -> int:
    """Return how many of ``total`` requests at once the worker ``number``, from 0, may make."""
    return total // workers + (number < total % workers)


def max_workers(study: Study) -> int | None:
    """Return how many workers can have a quota of every endpoint; ``None`` for any number."""
    models = (model for component in study.components for model in models_in(component))
    limits = [model.concurrency for model in models if _is_shared(model)]
    return min(limits, default=None)


def with_quotas(study: Study, number: int, workers: int) -> Study:
    """Return ``study`` with one worker's quota of every model that is behind a network."""

    def limited(model: Model) -> Model:
        if not _is_shared(model):
            return model
        shared: Any = model  # a dataclass that has the field
        own: Model = replace(shared, concurrency=quota(model.concurrency, number, workers))
        return own

    return study.map_models(limited)


def _is_shared(model: Model) -> bool:
    """Whether all workers send requests to it, and ``concurrency`` is an option of it."""
    return not model.in_process and any(
        option.name == "concurrency" and option.init
        for option in fields(model)  # type: ignore[arg-type] # models are
    )
