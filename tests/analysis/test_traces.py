"""The alarm for models that should reason and whose replies hold no reasoning."""

from __future__ import annotations

import polars as pl
import pytest

from opensafemlrm.analysis.alarms import TRACE_COLUMNS, missing_traces, trace_alarms
from opensafemlrm.analysis.coverage import REPLY_COLUMNS

PAIRS = pl.DataFrame({"reasoner": ["vllm/mine"], "base": ["vllm/base"]})


def replies(model: str, **counts: int) -> pl.DataFrame:
    names = ("closed", "unclosed", "absent", "hidden", "summary", "truncated")
    row = dict.fromkeys(REPLY_COLUMNS, 0) | {name: counts.get(name, 0) for name in names}
    return pl.DataFrame({**row, "model": model})


@pytest.mark.parametrize(
    ("model", "counts", "words"),
    [
        ("vllm/mine", {"absent": 20}, "set `format`"),
        ("vllm/mine", {"unclosed": 19, "closed": 1, "truncated": 18}, "max_tokens"),
        ("vllm/mine", {"unclosed": 19, "closed": 1, "truncated": 2}, "strips the mark that ends"),
        ("openai/Qwen/Qwen3-VL-8B-Thinking", {"absent": 20}, "set `format`"),
    ],
)
def test_a_model_that_should_reason_and_hardly_does_is_named_with_the_cause(
    model: str, counts: dict[str, int], words: str
) -> None:
    """Gemma's thought was judged as its answer, and nothing said so."""
    missing = missing_traces(replies(model, **counts), PAIRS)
    assert missing.columns == list(TRACE_COLUMNS)
    (alarm,) = trace_alarms(missing)
    assert alarm.startswith(model)
    assert words in alarm


@pytest.mark.parametrize(
    ("model", "counts"),
    [
        ("vllm/mine", {"closed": 18, "absent": 2}),
        ("vllm/mine", {"summary": 20}),
        ("vllm/mine", {"hidden": 20}),
        ("vllm/mine", {"absent": 4}),
        ("vllm/base", {"absent": 20}),
        ("vllm/unlisted", {"absent": 20}),
        ("vllm/zai-org/GLM-4.5V[thinking=off]", {"absent": 20}),
    ],
)
def test_no_other_model_is_named(model: str, counts: dict[str, int]) -> None:
    assert missing_traces(replies(model, **counts), PAIRS).is_empty()


@pytest.mark.parametrize(
    ("model", "form", "named"),
    [
        ("my model", "think", True),
        ("vllm/org/mine", '{"close": "</r>", "open": "<r>"}', True),
        ("vllm/org/mine", "mistral", True),
        ("vllm/org/mine", "auto", False),
        ("vllm/org/mine", "none", False),
        ("vllm/base", "think", False),
        ("vllm/google/gemma-4-12b-it", "gemma", False),
        ("vllm/google/gemma-4-31b-it", "gemma", False),
        ("vllm/google/gemma-4-31b-it[thinking=on]", "gemma", True),
        ("inspect/vllm/Qwen/Qwen3-VL-8B-Thinking", "think-prefilled", True),
        ("vllm/acme/QVQ-tuned", "qvq", True),
    ],
)
def test_a_format_that_was_given_says_that_a_model_should_reason(
    model: str, form: str, named: bool
) -> None:
    """A model under an alias, or with a format of one's own, was never named."""
    missing = missing_traces(replies(model, absent=20), PAIRS, [(model, form)])
    assert list(missing["model"]) == ([model] if named else [])
