"""``--env-file``: environment variables of a file, such as keys; read only where it is named."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.errors import OptionError, reason_of

_LINE: Final = re.compile(
    r"""(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*+)\s*+=\s*+
    (?:'(?P<plain>[^']*+)'|"(?P<escaped>(?:[^"\\]|\\.)*+)"|(?P<bare>[^'"\s\#][^\#]*+)?+)
    \s*+(?:(?<=\s)\#.*)?""",
    re.VERBOSE,
)
"""Nothing is tried twice, so that a line takes time in step with its length."""
_ESCAPES: Final = {"n": "\n", "t": "\t"}


def read_env_file(path: Path) -> None:
    """Set the variables of a file that the environment does not have yet.

    A line is ``NAME=VALUE``, the value bare, in ``'…'``, or in ``"…"`` with escapes; ``#`` begins a
    comment. Raises OptionError for any other line, without repeating it, and where there is
    no such file, and OSError.
    """
    if not path.exists():
        raise OptionError(f"--env-file: there is no file {path}")
    try:
        lines = lazy.read_as(path, str.splitlines)
    except ValueError as error:
        raise OptionError(f"{path}: this is no list of variables: {reason_of(error)}") from error
    for number, written in enumerate(lines, 1):
        line = written.removeprefix("\ufeff").strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None or "\0" in line:
            # Not repeated: it may well hold a key.
            raise OptionError(f"{path}, line {number}: a line is NAME=VALUE, with '…' for blanks")
        bare, escaped = (match["bare"] or "").rstrip(), _unescaped(match["escaped"] or "")
        os.environ.setdefault(match["name"], match["plain"] or bare or escaped)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text)
