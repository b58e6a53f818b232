"""Under which names one model goes: quantised builds, old owners, other servers, local folders.

Builds of the same weights are one model. Whatever changes what a model does (``-Thinking``,
``-Instruct``, a size, a date) stays in its name, so that no model is taken for another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from opensafemlrm.files import read_as

_OWNERS: Final = {"thudm": "zai-org", "z-ai": "zai-org", "zhipuai": "zai-org"}
"""Owners that were renamed, or that a server calls otherwise."""
_REPUBLISHERS: Final = frozenset(
    (
        *("amd", "bartowski", "cpatonn", "cyankiwi", "ggml-org", "intel", "lmstudio-community"),
        *("mlx-community", "mradermacher", "neuralmagic", "nvidia", "openvino", "quanttrio"),
        *("redhatai", "turboderp", "unsloth"),
    )
)
"""Owners of builds of other owners' models, under the models' own names."""
_HOSTS: Final = re.compile(r"^(?:https?://)?(?:hf\.co|huggingface\.co)/")
_ROUTES: Final = re.compile(r":(?:exacto|extended|floor|free|latest|nitro)$")
_BUILD: Final = re.compile(
    r"-(?:(?:nv|mx)?fp[48](?:a16)?|b?fp?16|int[48]|w\da\d+|g\d{2,3}|awq|gptq|gguf|bnb|mlx|dwq|unsloth"
    r"|autoround|exl[23]|\d-\d+bpw|h\d|hqq|ov|onnx|qat|dynamic|static|block|quantized|i1|ud|cloud"
    r"|[2-8]bit|hf|i?q\d(?:-[01k])?(?:-(?:x{0,2}[sml]|xl|nl|\d))?)$"
)
_CLOSED: Final = re.compile(r"claude|gemini|gpt-(?!oss)|\bo\d\b|grok|\bnova\b", re.IGNORECASE)
"""Models of vendors that give a summary of the reasoning, if anything."""


def is_closed(name: str) -> bool:
    """Whether a model's name, as hosts of open and closed ones have it, is that of a closed one."""
    return _CLOSED.search(name) is not None


_DATE: Final = re.compile(r"-(20\d\d-?\d\d-?\d\d|\d\d-\d\d(?:-20\d\d)?|\d{4}|0\d\d|latest)$")
"""How a name ends that says which build of a vendor's model it is."""
_RESELLER: Final = re.compile(r"^(?:(?:us|eu|apac|jp|global)-)?(?:anthropic-)(?=claude)|-v\d-\d$")
"""What Bedrock puts around a name."""


def same_model(requested: str, answered: str) -> bool:
    """Whether two names may be one model's: but for owner, case, build, folder, route and date.

    Two dates are two models; a date and none may be the same.
    """
    names, dates = [], []
    for name in (requested, answered):
        bare = _RESELLER.sub("", _parts(name.replace("@", "-").replace("\\", "/"))[1])
        date = _DATE.search(bare)
        names.append(bare[: date.start()] if date else bare)
        dates.append(re.sub(r"\D", "", date[1]) if date else "")
    return names[0] == names[1] and (not all(dates) or dates[0] == dates[1])


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
    name = _config(model).get("_name_or_path")
    return name_of_folder(name) or name if isinstance(name, str) and name else None


def architecture_in_config(model: str) -> str:
    """Return the architecture that ``config.json`` of a local folder names; empty if none."""
    return str(_config(model).get("model_type") or "") if name_of_folder(model) else ""


def _config(model: str) -> Mapping[str, Any]:
    try:
        config = read_as(Path(model).expanduser() / "config.json", json.loads)
    except (OSError, ValueError):
        return {}  # a folder without a config that can be read fails where it is loaded
    return config if isinstance(config, dict) else {}


def _parts(name: str) -> tuple[str | None, str]:
    """Return the owner, if any, and the name without what tells one build from another."""
    name = _ROUTES.sub("", _HOSTS.sub("", name.casefold()))
    owner, _, bare = name.rpartition("/")
    bare = re.sub(r"[\s_.:@]+", "-", bare)
    while shorter := _BUILD.sub("", bare):
        if shorter == bare:
            break
        bare = shorter
    return owner or None, bare
