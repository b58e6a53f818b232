"""``hf/`` where its extra is not installed, and the options that need none of it."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from opensafemlrm import registry
from opensafemlrm.errors import MissingExtraError, OptionError
from opensafemlrm.models.local.hf import HuggingFace
from opensafemlrm.types import Capability, Prompt, Sampling

HAS_TORCH = importlib.util.find_spec("torch") is not None


@pytest.mark.skipif(HAS_TORCH, reason="torch is installed here")
async def test_without_the_extra_it_says_how_to_install_it():
    with pytest.raises(MissingExtraError, match=r"torch.*pip install '\.\[hf\]'"):
        await HuggingFace("org/name").generate(Prompt.user("x"), Sampling())


def test_a_folder_or_a_hub_id_is_a_name():
    for name in ("hf/org/name", "hf//data/checkpoint", "hf/checkpoint"):
        model = registry.build(registry.ComponentKind.MODEL, name)
        assert model.label == name
        assert model.identity() == {"name": "hf", "version": "1-A", "model": model.model}
    assert HuggingFace("m").capabilities == {
        Capability.PREFILL,
        Capability.STOP,
        Capability.TOKEN_SCORES,
    }


def test_where_and_how_it_runs_changes_no_key_and_what_changes_replies_does():
    """Published mistake: changed parameters reuse old results."""
    plain = HuggingFace("m")
    same = HuggingFace("m", device="cuda:1", max_batch=2, batch_tokens=9, attention="eager")
    assert same.identity() == plain.identity()
    options: list[dict[str, Any]] = [
        {"dtype": "bfloat16"},
        {"quantization": "4bit"},
        {"revision": "abc"},
        {"template": {"enable_thinking": False}},
        {"processor": {"max_pixels": 10}},
        {"raw": True},
    ]
    changed = [HuggingFace("m", **option) for option in options]
    keys = {repr(model.identity()) for model in (plain, *changed)}
    assert len(keys) == len(options) + 1
    assert len({model.label for model in (plain, *changed)}) == len(options) + 1


def test_the_catalogue_gives_format_and_switch_here_too():
    model = registry.build(registry.ComponentKind.MODEL, "hf/zai-org/GLM-4.5V", {"thinking": False})
    assert (model.reasoning_format.name, model.label) == (
        "auto",
        "hf/zai-org/GLM-4.5V[thinking=off]",
    )
    with pytest.raises(OptionError, match="dtype"):
        registry.build(registry.ComponentKind.MODEL, "hf/m", {"dtype": "float99"})
