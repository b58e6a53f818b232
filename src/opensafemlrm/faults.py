"""Faults inside a component: an exception that it does not mean to raise, in one sentence."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from opensafemlrm.components import Component
from opensafemlrm.contract import BrokenPromiseError
from opensafemlrm.errors import ComponentError, SafeMLRMError
from opensafemlrm.redaction import without_secrets
from opensafemlrm.types import Item


@contextmanager
def named_faults(item: Item | None = None) -> Iterator[None]:
    """Raise ComponentError for an exception that comes out of a component: it names the component,
    the item that it was at work on, and the line. Errors of this project, and faults of its own
    code, pass.
    """
    try:
        yield
    except SafeMLRMError:
        raise
    except Exception as error:
        fault = fault_of(error, item)
        if fault is None:
            raise
        raise fault from error


def fault_of(error: Exception, item: Item | None = None) -> ComponentError | None:
    """Name the innermost component that the exception passed through, and the line it was at.

    ``None`` where it passed through none.
    """
    doing = "" if item is None else f" on item {item.id!r} of {item.dataset!r}"
    message = without_secrets(str(error))
    if isinstance(error, BrokenPromiseError):
        return ComponentError(f"{error.component.name!r} failed{doing}: {message} ({error.where})")
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        component = frame.f_locals.get("self")
        if isinstance(component, Component):
            where = f"{frame.f_code.co_filename}, line {line}"
            what = f"{type(error).__name__}: {message}" if message else type(error).__name__
            return ComponentError(f"{component.name!r} failed{doing}: {what} ({where})")
    return None
