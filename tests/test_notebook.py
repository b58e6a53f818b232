"""The notebooks run as they stand: their code cells in order, inside a running event loop."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl
import pytest

import opensafemlrm as osm

NOTEBOOKS = Path(__file__).parents[1] / "examples/notebooks"


def code_cells(name: str) -> list[str]:
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") for cell in cells), "clear its outputs before you commit"
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


async def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as Jupyter does; return the value of a last expression."""
    tree = ast.parse(source)
    if isinstance(tree.body[-1], ast.Expr):
        value = ast.copy_location(
            ast.Assign([ast.Name("_", ast.Store())], tree.body[-1].value), tree.body[-1]
        )
        tree.body[-1] = value
    names.pop("_", None)
    code = compile(ast.fix_missing_locations(tree), "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = eval(code, names)  # the notebook is ours
    if inspect.iscoroutine(running):
        await running
    return names.get("_")


async def outputs(name: str) -> list[Any]:
    names: dict[str, Any] = {"__name__": "__main__"}
    return [await run_cell(source, names) for source in code_cells(name)]


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "frames"), [("audit_one_model", 6), ("compare_a_pair", 3), ("add_a_judge", 4)]
)
async def test_an_example_runs_and_none_of_its_tables_is_empty(
    name: str, frames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tables = [value for value in await outputs(name) if isinstance(value, pl.DataFrame)]
    assert len(tables) == frames
    assert all(map(len, tables))


@pytest.mark.once
async def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = await outputs("evaluate")
    assert shown[0] == osm.__version__
    assert sum(isinstance(value, pl.DataFrame) for value in shown) >= 6
    assert all(len(value) for value in shown if isinstance(value, pl.DataFrame))
    assert sum(isinstance(value, alt.LayerChart | alt.Chart) for value in shown) == 1
    assert (tmp_path / "report" / "index.html").is_file()
