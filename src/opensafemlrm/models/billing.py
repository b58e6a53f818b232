"""Tries that failed and may be billed all the same: told to the budget, if there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Final, TypeAlias

from pydantic import Field

Dollars: TypeAlias = Annotated[float, Field(ge=0, le=1e9)]
Price: TypeAlias = tuple[Dollars, Dollars]
"""US dollars for a million tokens, in and out."""
_FREE: Final = ("connection", "certificate", "image_unreadable", "http_4", "batch_")
"""How the codes begin of requests that nobody has begun to answer; ``http_408`` may be begun."""
_note: ContextVar[Callable[[], bool] | None] = ContextVar("failed_try", default=None)


@contextmanager
def counted_by(note: Callable[[], bool]) -> Iterator[None]:
    """Let ``note`` count the failed tries of the block; it says whether another one may be made."""
    token = _note.set(note)
    try:
        yield
    finally:
        _note.reset(token)


def failed_try(code: str) -> bool:
    """Count a try that failed, unless nobody bills it; return whether another one may be made."""
    note = _note.get()
    return note is None or is_free(code) or note()


def is_free(code: str) -> bool:
    """Whether a failure with this code is billed by nobody."""
    return code.startswith(_FREE) and code != "http_408"
