"""``import opensafemlrm``: what it has, where that comes from, and that it costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import opensafemlrm as osm
from opensafemlrm import errors

SOURCE = Path(str(osm.__file__)).read_text(encoding="utf-8")


def typed() -> dict[str, tuple[str, str]]:
    """Where type checkers are told that a name comes from: its module, and what it is there."""
    imports = [node for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.ImportFrom)]
    return {
        alias.asname or alias.name: (str(node.module), alias.name)
        for node in imports
        for alias in node.names
        if str(node.module).startswith("opensafemlrm.")
    }


def test_all_is_exactly_what_there_is() -> None:
    assert sorted(osm.__all__) == osm.__all__ == sorted(typed())
    assert dir(osm) == sorted([*osm.__all__, "__version__"])


@pytest.mark.parametrize("name", osm.__all__)
def test_a_name_is_what_type_checkers_are_told(name: str) -> None:
    module, attribute = typed()[name]
    assert getattr(osm, name) is getattr(__import__(module, fromlist=[attribute]), attribute)


def test_every_error_can_be_caught_by_name() -> None:
    raised = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert {name for name in raised if name.endswith("Error")} <= set(osm.__all__)


def test_the_version_is_that_of_the_package() -> None:
    assert osm.__version__ == version("opensafemlrm")


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        getattr(osm, "evalute")  # noqa: B009 # mypy would refuse it


def test_a_value_or_an_error_loads_no_engine_and_no_polars() -> None:
    program = "import sys, opensafemlrm as osm; osm.Item, osm.StudyError; print(*sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(shown.stdout.split())
    assert not loaded & {"polars", "pydantic", "aiohttp", "opensafemlrm.engine"}
