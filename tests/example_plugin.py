"""The example plugin as pip would install it: its code on the path, its entry points beside it."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from opensafemlrm import registry
from opensafemlrm.registry import ComponentKind

ROOT: Final = Path(__file__).parents[1] / "examples" / "plugin"
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(kind: ComponentKind) -> list[str]:
    """What its pyproject.toml declares."""
    return sorted(PROJECT["entry-points"].get(f"opensafemlrm.{kind}s", {}))


@contextmanager
def installed(place: Path) -> Iterator[None]:
    """Write its metadata to ``place``, and let Python and the registry find it for a while."""
    metadata = place / f"{PROJECT['name'].replace('-', '_')}-{PROJECT['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {PROJECT['name']}\nVersion: {PROJECT['version']}\n"
    )
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {target}" for name, target in points.items())])
        for group, points in PROJECT["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n\n".join(groups) + "\n")
    before = list(sys.path)
    sys.path[:0] = [str(place), str(ROOT / "src")]
    registry._plugins.cache_clear()
    try:
        yield
    finally:
        sys.path[:] = before
        registry._plugins.cache_clear()
