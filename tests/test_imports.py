"""Nothing heavy is loaded before it is used: ``safemlrm --help`` answers at once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from opensafemlrm import api, cli, registry
from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.report.notes import MEASURED
from tests.support import items, study

LIGHT = {"opensafemlrm", "typer", "annotated_doc", "shellingham", "colorama", "orjson"}
"""What may be loaded beside the standard library: the project, typer and what typer needs, and what
the values stand on (5 ms, so that the closed sets of the field need no copies)."""
SLOW = {"asyncio", "sqlite3", "ssl", "multiprocessing", "unittest", "xml", "http"}
"""Packages of the standard library that cost tens of milliseconds; commands import them."""
COMMON = {"analysis", "cli", "errors", "redaction", "redactor", "selection", "text"}
COMMON |= {"types"}
"""Parts of this project that the command line stands on before a command is chosen; of analysis/,
the default of an option alone, of selection the names that options have."""


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh Python loads for a statement, beside those it starts with."""
    program = (
        f"import sys; before = set(sys.modules)\n{statement}\nprint(*(set(sys.modules) - before))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(found.stdout.split())


def test_the_package_alone_loads_nothing_else() -> None:
    assert loaded_by("import opensafemlrm") == {"opensafemlrm"}


def test_the_command_line_loads_nothing_heavy() -> None:
    loaded = loaded_by("import opensafemlrm.cli")
    packages = {name.partition(".")[0] for name in loaded}
    assert packages - sys.stdlib_module_names - LIGHT == set()
    assert packages & SLOW == set()
    own = {name.split(".")[1] for name in loaded if name.startswith("opensafemlrm.")}
    assert own - COMMON == set()


def test_help_is_drawn_without_rich() -> None:
    """Importing rich takes longer than all the rest of ``safemlrm --help``."""
    shown = (
        "import contextlib, io, sys\n"
        "from opensafemlrm.cli import app\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    app(['--help'])"
    )
    packages = {name.partition(".")[0] for name in loaded_by(shown)}
    assert packages - sys.stdlib_module_names - LIGHT == set()


def test_a_table_of_rates_loads_no_charts_no_client_and_no_scipy() -> None:
    """Loading scipy alone takes half as long as all that ``safemlrm table asr`` does."""
    loaded = loaded_by("import opensafemlrm.analysis.asr, opensafemlrm.report.rates")
    packages = {name.partition(".")[0] for name in loaded}
    assert packages & {"scipy", "altair", "vl_convert", "aiohttp", "PIL", "jinja2", "ray"} == set()


def test_a_table_loads_only_what_it_needs(tmp_path: Path) -> None:
    """What is named here takes longer to load than the figures of a small store to compute."""
    store = tmp_path / "store"
    api.evaluate(study(rows=items(4)), store, progress=False)
    shown = (
        "import contextlib, io, sys\n"
        "from opensafemlrm.cli import app\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        f"    app(['table', 'asr', {str(store)!r}])"
    )
    loaded = loaded_by(shown)
    slow = {"scipy", "altair", "aiohttp", "asyncio", "numpy.ma", "PIL", "rich.console"}
    assert "polars" in loaded
    assert loaded & slow == set()
    assert not {name for name in loaded if name.startswith("opensafemlrm.judges.")}


def test_every_judge_with_measured_errors_is_known_without_loading_it() -> None:
    kind = registry.ComponentKind.JUDGE
    measured = {name for name in registry.built_in(kind) if registry.find(kind, name).measured}
    assert measured == MEASURED


def test_each_name_that_commands_load_late_is_there_and_used() -> None:
    """A name that has moved since would be missed only when a command comes to it."""
    sources = [path.read_text(encoding="utf-8") for path in Path(cli.__file__).parent.glob("*.py")]
    used = {name for text in sources for name in re.findall(r"\blazy\.(\w+)", text)}
    assert used == lazy._imports().keys() - set(dir(lazy))
    assert all(getattr(lazy, name) is not None for name in used)
