"""What the tests of Inspect AI share; only for where it is installed."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest
from inspect_ai.model import ModelUsage

from opensafemlrm.interop.inspect_samples import output_of
from opensafemlrm.types import Response


def said(response: Response, model: str = "mockllm/model") -> Any:
    """A reply of the mock, with a count of tokens: without one it fetches a tokenizer."""
    output = output_of(response, model)
    output.usage = output.usage or ModelUsage()
    return output


@pytest.fixture(scope="module", autouse=True)
def what_inspect_leaves_open() -> Iterator[None]:
    """Its loops and files are collected here, where its warnings are ignored."""
    yield
    gc.collect()
    # It patches asyncio of the whole process where a log is read within a loop, as by a score of a
    # log whose samples are not loaded: then the tests of others leave their loops open.
    assert asyncio.run.__module__ == "asyncio.runners"
