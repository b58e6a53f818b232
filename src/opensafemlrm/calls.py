"""Calls of a component's methods, held to what its kind gives.

A component of another's is code like any other, and wrong in the ways that code is: a method that
is not async, a reply that is a string, a score that is no number. Here each is one sentence.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Sequence
from types import CoroutineType
from typing import Any, TypeVar

from opensafemlrm.components import Component, Judge, Model
from opensafemlrm.contract import BrokenPromiseError
from opensafemlrm.errors import SafeMLRMError
from opensafemlrm.types import Item, JudgeRequest, Label, Prompt, Response, Sampling, Verdict

T = TypeVar("T")


async def given(component: Component, method: str, kind: type[T], *arguments: Any) -> T:
    """Await what a method of ``component`` gives. Raises BrokenPromiseError where it is not that.

    Exceptions of its own code pass.
    """
    try:
        value = getattr(component, method)(*arguments)
        is_async = type(value) is CoroutineType or inspect.isawaitable(value)
        value = await value if is_async else value
    except (asyncio.CancelledError, Exception) as error:
        _raise_if_broken(component, method, error)
        raise
    if not is_async:
        hint = " without `yield`" if inspect.isasyncgen(value) else ""
        what = f"cannot be awaited: write `async def {method}`{hint}"
        raise BrokenPromiseError(component, method, what)
    if inspect.iscoroutine(value):
        value.close()
        raise BrokenPromiseError(component, method, "gives a coroutine: `await` it")
    checked: T = _of_kind(component, method, kind, value)
    return checked


def called(component: Component, method: str, kind: Any, *arguments: Any) -> Any:
    """Return what a method of ``component`` gives that is not async; as :func:`given`."""
    try:
        value = getattr(component, method)(*arguments)
    except (asyncio.CancelledError, Exception) as error:
        _raise_if_broken(component, method, error)
        raise
    if inspect.isawaitable(value) or inspect.isasyncgen(value):
        getattr(value, "close", lambda: None)()
        raise BrokenPromiseError(component, method, f"is async: write `def {method}`")
    return _of_kind(component, method, kind, value)


def _raise_if_broken(component: Component, method: str, error: BaseException) -> None:
    """Raise BrokenPromiseError for what ends a method and shows no line of it."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is None or task.cancelling():
            return
        # It would end the task without a word, and with it every sample that it had still to do.
        raise BrokenPromiseError(component, method, "was cancelled from within") from None
    # The first is of this module: Python could not begin it, or could not end it.
    frames = list(traceback.walk_tb(error.__traceback__))[1:]
    if not (frames or isinstance(error, SafeMLRMError | BrokenPromiseError)):
        raise BrokenPromiseError(component, method, f"cannot run: {error}") from error


def _of_kind(component: Component, method: str, kind: Any, value: Any) -> Any:
    if isinstance(value, kind):
        return value
    what = "nothing" if value is None else _a(type(value))
    raise BrokenPromiseError(component, method, f"gives {what}, not {_a(kind)}")


def _a(kind: type) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOUaeiou' else 'a'} {kind.__name__}"


async def reply_of(model: Model, prompt: Prompt, sampling: Sampling) -> Response:
    """Ask ``model``."""
    return await given(model, "generate", Response, prompt, sampling)


async def verdicts_of(
    judge: Judge, item: Item, requests: Sequence[JudgeRequest]
) -> Sequence[Verdict]:
    """Ask ``judge``: a verdict a request, each score on its scale, and unsafe from its threshold.

    Raises BrokenPromiseError.
    """
    verdicts: Sequence[Verdict] = await given(judge, "judge", list, item, requests)
    if len(verdicts) != len(requests):
        what = f"gives {len(verdicts)} verdicts on {len(requests)} texts, not one each"
        raise BrokenPromiseError(judge, "judge", what)
    low, high = judge.scale
    for verdict in verdicts:
        score = _of_kind(judge, "judge", Verdict, verdict).score
        if score is None:
            continue
        if not low <= score <= high:
            what = f"gives the score {score:g}, which is not on its scale of {low:g} to {high:g}"
            raise BrokenPromiseError(judge, "judge", what)
        if (score >= judge.thresholds[0]) != (verdict.label is Label.UNSAFE):
            what = (
                f"calls the score {score:g} {verdict.label}: from {judge.thresholds[0]:g} on, its "
                "first threshold, a text is unsafe"
            )
            raise BrokenPromiseError(judge, "judge", what)
    return verdicts
