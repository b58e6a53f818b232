"""vLLM's own batch engine, loaded: conversations in, replies out. Needs the package ``vllm``.

Source of the calls: vLLM's documentation, "Offline inference", ``LLM.chat``.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from typing import Any, Final

from vllm import LLM, SamplingParams

from opensafemlrm.errors import ModelError
from opensafemlrm.models.local.in_process import Conversation
from opensafemlrm.reasoning import SPECIAL_TOKENS_KEPT
from opensafemlrm.types import Response, ResponseStatus, Sampling, Usage

_UNUSABLE: Final = (ValueError, TypeError, KeyError)
"""What templates and processors are known to raise for prompts that they cannot take."""


class VLLMEngine:
    """One loaded checkpoint. Raises ModelError where it cannot be loaded or has failed."""

    def __init__(
        self,
        label: str,
        arguments: Mapping[str, Any],
        template: Mapping[str, Any],
        *,
        keep_special_tokens: bool = False,
    ) -> None:
        self._label, self._template = label, dict(template)
        self._more = SPECIAL_TOKENS_KEPT if keep_special_tokens else {}
        try:
            self._llm = LLM(**arguments)
        except Exception as error:  # vLLM raises anything from a missing file to a lost device
            raise ModelError(f"{label} cannot be loaded by vLLM: {error}") from error

    def stop(self) -> None:
        """Nothing: vLLM ends a batch only when it is done."""

    def free(self) -> None:
        """Let go of the weights: the engine ends with its last reference."""
        del self._llm
        gc.collect()

    def run(self, requests: list[Conversation]) -> list[Response]:
        """Reply to a batch of conversations, which are all prefilled or all not."""
        start = time.monotonic()
        try:
            outputs = self._llm.chat(
                [request.messages for request in requests],
                [_parameters(request.sampling, self._more) for request in requests],
                use_tqdm=False,
                add_generation_prompt=not requests[0].is_prefilled,
                continue_final_message=requests[0].is_prefilled,
                chat_template_kwargs=self._template or None,
            )
        except _UNUSABLE as error:
            if len(requests) > 1:  # one of them is at fault: the others are not
                return [self.run([request])[0] for request in requests]
            return [Response.failed("prompt_unusable", str(error), transient=False)]
        except Exception as error:
            raise ModelError(f"{self._label}: vLLM's engine has failed: {error}") from error
        if len(outputs) != len(requests):
            # Left over from a batch that failed: the replies cannot be assigned.
            raise ModelError(
                f"{self._label}: vLLM gave {len(outputs)} replies to {len(requests)} requests"
            )
        seconds = time.monotonic() - start
        return [_response(output, seconds) for output in outputs]


def _parameters(sampling: Sampling, own: Mapping[str, Any]) -> SamplingParams:
    more = {**own, "top_p": sampling.top_p, "stop": sampling.stop and list(sampling.stop)}
    return SamplingParams(
        temperature=sampling.temperature,
        max_tokens=sampling.max_tokens,
        seed=sampling.seed,
        **{name: value for name, value in more.items() if value is not None},
    )


def _response(output: Any, seconds: float) -> Response:
    written = output.outputs[0]
    prompt = output.prompt_token_ids
    usage = Usage(None if prompt is None else len(prompt), len(written.token_ids))
    finish = written.finish_reason
    if finish not in ("stop", "length"):
        return Response.failed("aborted", f"vLLM ended it as {finish!r}", transient=True)
    return Response(
        ResponseStatus.OK if finish == "stop" else ResponseStatus.TRUNCATED,
        written.text,
        finish_reason=finish,
        usage=usage,
        latency=seconds,
    )
