"""What an installation brings: what the package imports, and nothing heavy without an extra."""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
HEAVY = {
    "accelerate", "huggingface-hub", "inspect-ai", "onnx", "onnxruntime", "pandas", "ray",
    "statsmodels", "torch", "torchvision", "transformers", "vllm",
}  # fmt: skip


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def packages_distributions() -> Mapping[str, list[str]]:
    """Which distributions bring a top-level module: a walk over all that is installed."""
    return metadata.packages_distributions()


@functools.cache
def imported() -> frozenset[str]:
    """Top-level names that some file of the package imports, function-level imports included."""
    names = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return frozenset(names)


def provided_by(requirement: str) -> set[str]:
    """The top-level modules of a requirement that is installed."""
    name = normalized(Requirement(requirement).name)
    return {
        module
        for module, distributions in packages_distributions().items()
        if name in map(normalized, distributions)
    }


@pytest.mark.parametrize("dependency", PROJECT["dependencies"])
def test_every_dependency_is_imported_by_the_package(dependency: str) -> None:
    marker = Requirement(dependency).marker
    if marker and not marker.evaluate():
        pytest.skip("not a dependency on this platform")
    assert provided_by(dependency) & imported(), f"nothing in src imports {dependency}"


def test_whatever_the_package_imports_is_declared() -> None:
    extras = [name for names in PROJECT["optional-dependencies"].values() for name in names]
    declared = set().union(*map(provided_by, [*PROJECT["dependencies"], *extras]))
    installed = imported() & set(packages_distributions())
    assert installed - declared - {"opensafemlrm"} == set()


def test_the_development_page_says_why_each_dependency_is_there() -> None:
    page = (ROOT / "docs/development.md").read_text("utf-8")
    table = "\n".join(line for line in page.splitlines() if line.startswith("|"))
    names = [normalized(Requirement(text).name) for text in PROJECT["dependencies"]]
    assert [name for name in names if name not in table] == []
    assert [name for name in PROJECT["optional-dependencies"] if f"`{name}`" not in table] == []


def closure(requirement: str, seen: set[str]) -> set[str]:
    """The distributions that come with a requirement on this platform, itself included."""
    wanted = Requirement(requirement)
    name = normalized(wanted.name)
    extras = ["", *wanted.extras]
    if wanted.marker and not wanted.marker.evaluate():
        return seen
    if (key := f"{name}[{','.join(sorted(wanted.extras))}]") in seen:
        return seen
    seen |= {key, name}
    for further in metadata.requires(name) or ():
        marker = Requirement(further).marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            closure(further.partition(";")[0], seen)
    return seen


def test_the_base_installation_is_light() -> None:
    brought: set[str] = set()
    for dependency in PROJECT["dependencies"]:
        closure(dependency, brought)
    assert "polars" in brought
    assert brought & HEAVY == set()


def test_a_source_distribution_holds_what_its_readme_links_to() -> None:
    """It held src/ alone, and every link of its README led nowhere."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]
    included = build["build"]["targets"]["sdist"]["include"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = {link for link in re.findall(r"\]\(([^)#:]+)[^)]*\)", readme) if "//" not in link}
    assert links
    for link in links:
        top = f"/{link.partition('/')[0]}"
        assert top in included or (top.endswith(".md") and "/*.md" in included), link
