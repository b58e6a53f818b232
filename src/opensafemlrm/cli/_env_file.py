"""``--env-file``: environment variables of a file, such as keys; read only where it is named."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from opensafemlrm.errors import OptionError

_LINE: Final = re.compile(
    r"""(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*
    (?:'(?P<plain>[^']*)'|"(?P<escaped>(?:[^"\\]|\\.)*)"|(?P<bare>[^'"\s\#][^\#]*?)?)
    \s*(?:(?<=\s)\#.*)?""",
    re.VERBOSE,
)
_ESCAPES: Final = {"n": "\n", "t": "\t"}


def read_env_file(path: Path) -> None:
    """Set the variables of a file that the environment does not have yet.

    A line is ``NAME=VALUE``, the value bare, in ``'…'``, or in ``"…"`` with escapes; ``#`` begins a
    comment. Raises OptionError for any other line, without repeating it, and OSError.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise OptionError(f"{path}: this is no text in UTF-8") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            # Not repeated: it may well hold a key.
            raise OptionError(f"{path}, line {number}: a line is NAME=VALUE, with '…' for blanks")
        value = match["plain"] or match["bare"] or _unescaped(match["escaped"] or "")
        os.environ.setdefault(match["name"], value)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text)
