"""Which models behind Inspect AI give a summary in place of their reasoning."""

from __future__ import annotations

import pytest

from opensafemlrm.models.hosted.inspect import _gives_summaries


@pytest.mark.parametrize(
    ("model", "summary"),
    [
        ("anthropic/claude-sonnet-4-5", True),
        ("bedrock/anthropic.claude-sonnet-4-5-v1:0", True),
        ("azureai/gpt-5-mini", True),
        ("openrouter/google/gemini-2.5-pro", True),
        ("azureai/DeepSeek-R1", False),
        ("bedrock/deepseek.r1-v1:0", False),
        ("openrouter/openai/gpt-oss-120b", False),
        ("openrouter/qwen/qwen3-vl-8b-thinking", False),
        ("vllm/claude-like", False),
    ],
)
def test_an_open_model_on_a_host_of_closed_ones_keeps_its_trace(model: str, summary: bool) -> None:
    """DeepSeek's open trace on Azure counted as a summary, and left the coupling figures."""
    assert _gives_summaries(model) is summary
