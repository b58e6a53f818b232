"""Models around models: a defended one is the model itself, asked in another way."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace

from opensafemlrm.calls import given
from opensafemlrm.components import Defense, Model
from opensafemlrm.types import JSON, Capability, Prompt, Response, Sampling


@dataclass(frozen=True, slots=True, eq=False)
class WrappedModel(Model):
    """A model around another: in all that it does not say itself it is the other."""

    wraps = True

    inner: Model

    def with_json_schema(self, response_format: Mapping[str, JSON]) -> Model:
        """Return the wrapper around the inner model that replies by the schema."""
        return replace(self, inner=self.inner.with_json_schema(response_format))

    def unbatched(self) -> Model:
        """Return the wrapper around the inner model without its batches."""
        inner = self.inner.unbatched()
        return self if inner is self.inner else replace(self, inner=inner)

    def room(
        self, prompt: Prompt, sampling: Sampling, replies: int
    ) -> contextlib.AbstractAsyncContextManager[None]:
        """Hold back what several replies may cost, as :func:`room_for` says."""
        return room_for(self.inner, prompt, sampling, replies)


for _member in (
    *("name", "version", "model", "label", "identity", "concurrency", "reasoning_format"),
    *("capabilities", "in_process", "device", "billed", "price", "catalog", "thinking"),
    *("score_tokens", "set_image_limit", "check_ready", "asked_stages", "generate_stage"),
    *("servers", "outages"),
):
    setattr(WrappedModel, _member, property(operator.attrgetter(f"inner.{_member}")))


@dataclass(frozen=True, slots=True, eq=False)
class Defended(WrappedModel):
    """``inner``, asked through ``defense``."""

    defense: Defense

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The inner model's, so that defenses can stand around each other, less what is lost."""
        lost = frozenset() if self.defense.supports_prefill else frozenset({Capability.PREFILL})
        return self.inner.capabilities - lost

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Response:
        """Ask through the defense. Raises DefenseError where it cannot be applied."""
        return await given(self.defense, "generate", Response, self.inner, prompt, sampling)


def room_for(
    model: Model, prompt: Prompt, sampling: Sampling, replies: int
) -> contextlib.AbstractAsyncContextManager[None]:
    """Hold back what ``replies`` of a model may cost, of which one is nothing without the others.

    They begin where a budget has room for all of them; without a budget, at once.
    """
    if isinstance(model, WrappedModel):
        return model.room(prompt, sampling, replies)
    return contextlib.nullcontext()


def defend(model: Model, defense: Defense) -> Model:
    """Return ``model`` inside the layers of ``defense``.

    Raises DefenseError where one of them cannot be applied to it.
    """
    for layer in defense.layers:
        layer.check_model(model)
        model = Defended(model, layer)
    return model
