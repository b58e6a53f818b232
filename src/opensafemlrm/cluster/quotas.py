"""One budget of requests for all workers: each gets a quota of every endpoint's ``concurrency``.

The quotas add up to what the study says, so that the server never sees more requests at once than
it would from one process, whatever becomes of a worker, the driver or the network between them.
Nobody has to be asked before a request, which a counter that all workers share would ask for.
Models that fill the memory of the machine that asks them are each worker's own, and are not shared.
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
    """Return how many workers can have a share in every endpoint; ``None`` for any number."""
    models = (model for component in study.components for model in models_in(component))
    limits = [model.concurrency for model in models if _is_shared(model)]
    return min(limits, default=None)


def with_quotas(study: Study, number: int, workers: int) -> Study:
    """Return ``study`` with the share of one worker in everything that is asked over a network."""

    def limited(model: Model) -> Model:
        if not _is_shared(model):
            return model
        shared: Any = model  # a dataclass that has the field
        own: Model = replace(shared, concurrency=quota(model.concurrency, number, workers))
        return own

    return study.map_models(limited)


def _is_shared(model: Model) -> bool:
    """Whether it is a model whose ``concurrency`` is an option, and that others ask as well."""
    return not model.in_process and any(
        option.name == "concurrency" and option.init
        for option in fields(model)  # type: ignore[arg-type] # models are
    )
