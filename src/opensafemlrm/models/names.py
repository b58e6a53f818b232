"""Under which names one model goes: quantised builds, old owners, other servers, local folders.

Builds of the same weights are one model. Whatever changes what a model does (``-Thinking``,
``-Instruct``, a size, a date) stays in its name, so that no model is taken for another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_OWNERS: Final = {"thudm": "zai-org", "z-ai": "zai-org", "zhipuai": "zai-org"}
"""Owners that were renamed, or that a server calls otherwise."""
_REPUBLISHERS: Final = frozenset(
    (
        *("amd", "bartowski", "cpatonn", "cyankiwi", "ggml-org", "intel", "lmstudio-community"),
        *("mlx-community", "mradermacher", "neuralmagic", "nvidia", "quanttrio", "redhatai"),
        "unsloth",
    )
)
"""Owners of builds of other owners' models, under the models' own names."""
_HOSTS: Final = re.compile(r"^(?:https?://)?(?:hf\.co|huggingface\.co)/")
_ROUTES: Final = re.compile(r":(?:exacto|extended|floor|free|latest|nitro)$")
_BUILD: Final = re.compile(
    r"-(?:(?:nv|mx)?fp[48]|b?fp?16|int[48]|w\da\d+|awq|gptq|gguf|bnb|mlx|unsloth|autoround|exl[23]"
    r"|hqq|dynamic|block|quantized|i1|ud|[2-8]bit|hf|i?q\d(?:-k)?(?:-(?:x{0,2}[sml]|xl|nl|\d))?)$"
)


def spellings(name: str) -> Iterator[str]:
    """Yield what to look ``name`` up by, the surest first.

    A name without an owner, or with one who builds others' models, is looked up without an owner.
    """
    yield name.casefold()
    owner, bare = _parts(name)
    if owner is None or owner in _REPUBLISHERS:
        yield bare
    else:
        yield f"{_OWNERS.get(owner, owner)}/{bare}"


def keys(name: str) -> set[str]:
    """Return all that the model called ``name`` may be looked up by."""
    owner, bare = _parts(name)
    return {name.casefold(), bare} | ({f"{owner}/{bare}"} if owner else set())


def name_of_folder(model: str) -> str | None:
    """Return the hub id or the last part of a local path; ``None`` if ``model`` is no path."""
    if not model.startswith(("/", "./", "../", "~")) and not Path(model).is_dir():
        return None
    parts = Path(model).parts
    for part in parts:
        if part.startswith("models--"):  # a folder of the hub's cache
            return part.removeprefix("models--").replace("--", "/", 1)
    return parts[-1] if parts else None


def name_in_config(model: str) -> str | None:
    """Return the name that ``config.json`` of a local folder gives, if any.

    For a model that was trained further it is the name of what it was trained from.
    """
    try:
        config = json.loads((Path(model).expanduser() / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # a folder without a config that can be read fails where it is loaded
    name = config.get("_name_or_path") if isinstance(config, dict) else None
    return name_of_folder(name) or name if isinstance(name, str) and name else None


def _parts(name: str) -> tuple[str | None, str]:
    """Return the owner, if any, and the name without what tells one build from another."""
    name = _ROUTES.sub("", _HOSTS.sub("", name.casefold()))
    owner, _, bare = name.rpartition("/")
    bare = re.sub(r"[\s_.:]+", "-", bare)
    while shorter := _BUILD.sub("", bare):
        if shorter == bare:
            break
        bare = shorter
    return owner or None, bare
