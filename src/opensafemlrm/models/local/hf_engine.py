"""A checkpoint, loaded: batches of prompts in, replies out. Needs torch and transformers."""

from __future__ import annotations

import copy
import gc
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

import torch
import transformers
from jinja2 import TemplateError
from transformers import LogitsProcessor, StoppingCriteria

from opensafemlrm import images
from opensafemlrm.errors import ImageError, ModelError
from opensafemlrm.models.batching import TooLargeError
from opensafemlrm.models.local.in_process import Options, Request, Result
from opensafemlrm.types import Response, ResponseStatus, Sampling, Turn, Usage

_TAIL: Final = 8
"""Tokens that are looked at, beyond those that a stop text may take, for where it ends."""


class Sampler(LogitsProcessor):  # type: ignore[misc] # the checks skip transformers
    """Draws each row by its own temperature and seed; the largest score is then the draw.

    Adding Gumbel noise to logits and taking the largest draws from their softmax (the Gumbel-max
    trick; Maddison et al., arXiv 1411.0030). Rows at temperature 0 stay as they are.
    """

    def __init__(self, samplings: Sequence[Sampling]) -> None:
        self._samplings = samplings
        self._generators = [_generator(sampling.seed) for sampling in samplings]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> Any:
        """Return the scores of the next token, drawn."""
        del input_ids
        if all(sampling.temperature == 0 for sampling in self._samplings):
            return scores
        rows = [
            scores[row].float()
            if sampling.temperature == 0
            else _draw(scores[row].float(), sampling, generator)
            for row, (sampling, generator) in enumerate(
                zip(self._samplings, self._generators, strict=True)
            )
        ]
        return torch.stack(rows)


def _generator(seed: int | None) -> torch.Generator:
    generator = torch.Generator()  # on the CPU: a seed means the same wherever the model is
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def _draw(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> torch.Tensor:
    logits = logits / sampling.temperature
    if sampling.top_p is not None and sampling.top_p < 1:
        ordered, order = torch.sort(logits, descending=True)
        before = torch.softmax(ordered, dim=-1).cumsum(dim=-1) - torch.softmax(ordered, dim=-1)
        logits = logits.masked_fill(
            torch.zeros_like(logits, dtype=torch.bool).scatter(0, order, before >= sampling.top_p),
            float("-inf"),
        )
    uniform = torch.rand(logits.shape, generator=generator).clamp_(1e-20, 1 - 1e-7)
    return logits - torch.log(-torch.log(uniform)).to(logits.device)


class Ends(StoppingCriteria):  # type: ignore[misc] # as above
    """Ends each row at its own limit or stop text, and all of them when the run is stopped."""

    def __init__(
        self,
        width: int,
        limits: Sequence[int],
        stops: Sequence[Sequence[str]],
        tokenizer: Any,
        stopped: threading.Event,
    ) -> None:
        self._width, self._stops = width, stops
        self._tokenizer, self._stopped = tokenizer, stopped
        self._longest = [max(map(len, row), default=0) for row in stops]
        self.limits = limits
        self.stopped_at: dict[int, int] = {}
        """For each row that met one of its stop texts, how many tokens it had then."""

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **_: Any) -> Any:
        """Return which rows are done."""
        del scores
        count = input_ids.shape[1] - self._width
        done = [self._stopped.is_set() or count >= limit for limit in self.limits]
        for row, stops in enumerate(self._stops):
            if stops and row not in self.stopped_at and not done[row]:
                # A token is at least a character, but for the bytes of one, which _TAIL covers.
                tail = input_ids[row, self._width :][-(self._longest[row] + _TAIL) :]
                text = self.decode(tail.tolist())
                if any(stop in text for stop in stops):
                    self.stopped_at[row] = count
            done[row] = done[row] or row in self.stopped_at
        return torch.tensor(done, device=input_ids.device)

    def text(self, row: int, tokens: list[int]) -> str:
        """Return the text of a row, up to the first of its stop texts."""
        text = self.decode(tokens)
        places = [at for stop in self._stops[row] if (at := text.find(stop)) >= 0]
        return text[: min(places)] if places else text

    def decode(self, tokens: list[int]) -> str:
        """Return the text of ``tokens``, special ones as well: some of them mark the reasoning."""
        text = self._tokenizer.decode(
            tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return str(text)


_UNUSABLE: Final = (TemplateError, ValueError, TypeError, KeyError, IndexError, ImageError)
"""What templates and processors are known to raise for prompts that they cannot take."""


class HFEngine:
    """One loaded checkpoint. All its methods but :meth:`stop` belong to one thread at a time."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stopped = threading.Event()
        try:
            self._load()
        except (OSError, ValueError, ImportError, RuntimeError) as error:
            hint = (
                "; it brings code of its own: set trust_remote_code if you trust it"
                if "trust_remote_code" in str(error)
                else ""
            )
            raise ModelError(f"{options.label} cannot be loaded: {error}{hint}") from error

    def stop(self) -> None:
        """End the batch that runs at its next token; may be called from any thread."""
        self._stopped.set()

    def free(self) -> None:
        """Let go of the weights."""
        del self._model
        if torch.cuda.is_available():
            gc.collect()
            torch.cuda.empty_cache()

    def run(self, requests: list[Request]) -> Sequence[Result]:
        """Run a batch. Raises TooLargeError if it does not fit into memory."""
        if requests[0].has_images and not self._takes_images:
            why = f"{self._options.label} is a language model: it takes no images"
            return [Response.failed("no_images", why, transient=False) for _ in requests]
        start = time.monotonic()
        try:
            inputs = self._inputs(requests)
        except _UNUSABLE as error:
            if len(requests) > 1:  # one of them is at fault: the others are not
                return [self.run([request])[0] for request in requests]
            return [_not_taken(error)]
        try:
            with torch.inference_mode():
                if requests[0].tokens:
                    return self._score(requests, inputs)
                return self._generate(requests, inputs, start)
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and "out of memory" not in str(error):
                raise
            reason = str(error).partition("\n")[0]
        # Outside of the handler: the traceback would hold on to the tensors.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise TooLargeError(reason)

    def _load(self) -> None:
        options = self._options
        where = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
        config = transformers.AutoConfig.from_pretrained(options.path, **where)
        kinds = transformers.AutoModelForImageTextToText
        known = type(config) in kinds._model_mapping  # there is no public way to ask
        remote = getattr(config, "auto_map", None) or {}
        self._takes_images = known or kinds.__name__ in remote
        loader = kinds if self._takes_images else transformers.AutoModelForCausalLM
        if self._takes_images:
            self._processor = transformers.AutoProcessor.from_pretrained(
                options.path, **where, **options.processor
            )
            self._tokenizer = self._processor.tokenizer
        else:
            self._processor = transformers.AutoTokenizer.from_pretrained(options.path, **where)
            self._tokenizer = self._processor
        self._tokenizer.padding_side = "left"
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        if not options.raw and not getattr(self._processor, "chat_template", None):
            raise ValueError("it has no chat template; a base model may be sent text with `raw`")
        self._model = loader.from_pretrained(options.path, **where, **self._placement())
        self._model.eval()
        if options.device != "auto":
            self._model.to(options.device)
        own = self._model.generation_config.eos_token_id
        ends = own if isinstance(own, list) else [own]
        self._ends = {end for end in (*ends, self._tokenizer.eos_token_id) if end is not None}
        text = config.get_text_config()
        self._context = getattr(text, "max_position_embeddings", None)

    def _placement(self) -> dict[str, Any]:
        options = self._options
        chosen: dict[str, Any] = {"dtype": options.dtype}
        if options.attention is not None:
            chosen["attn_implementation"] = options.attention
        if options.device == "auto" and torch.cuda.is_available():
            chosen["device_map"] = "auto"
        if options.quantization is not None:
            bits = {"4bit": "load_in_4bit", "8bit": "load_in_8bit"}[options.quantization]
            chosen["quantization_config"] = transformers.BitsAndBytesConfig(**{bits: True})
        return chosen

    def _inputs(self, requests: list[Request]) -> Any:
        if self._options.raw:
            texts = [request.turns[-1].text for request in requests]
            return self._tokenizer(texts, padding=True, return_tensors="pt").to(self._model.device)
        prefilled = requests[0].is_prefilled
        options: dict[str, Any] = {
            "add_generation_prompt": not prefilled,
            "continue_final_message": prefilled,
            "tokenize": True,
            "return_dict": True,
            "return_tensors": "pt",
            **self._options.template,
        }
        padding = {"padding": True}
        options |= {"processor_kwargs": padding} if self._takes_images else padding
        conversations = [self._conversation(request.turns) for request in requests]
        inputs = self._processor.apply_chat_template(conversations, **options)
        if self._takes_images:
            return inputs.to(self._model.device, self._model.dtype)
        return inputs.to(self._model.device)

    def _conversation(self, turns: Sequence[Turn]) -> list[dict[str, Any]]:
        if not self._takes_images:
            return [{"role": turn.role, "content": turn.text} for turn in turns]
        return [{"role": turn.role, "content": [_part(p) for p in turn.parts]} for turn in turns]

    def _generate(self, requests: list[Request], inputs: Any, start: float) -> list[Response]:
        width = inputs["input_ids"].shape[1]
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        limits = [
            min(request.sampling.max_tokens, self._room(length))
            for request, length in zip(requests, lengths, strict=True)
        ]
        stops = [request.sampling.stop or () for request in requests]
        ends = Ends(width, limits, stops, self._tokenizer, self._stopped)
        output = self._model.generate(
            **inputs,
            generation_config=self._greedy(),
            max_new_tokens=max(1, *limits),
            logits_processor=[Sampler([request.sampling for request in requests])],
            stopping_criteria=[ends],
        )
        latency = time.monotonic() - start
        written = output[:, width:].tolist()
        return [
            self._response(row, tokens, ends, length, latency)
            for row, (tokens, length) in enumerate(zip(written, lengths, strict=True))
        ]

    def _response(
        self, row: int, tokens: list[int], ends: Ends, length: int, latency: float
    ) -> Response:
        limit = ends.limits[row]
        if limit <= 0:
            why = f"the prompt has {length:,} tokens, the model takes {self._context:,} in all"
            return Response.failed("context_length", why, transient=False)
        tokens = tokens[:limit]
        ended = next((i for i, token in enumerate(tokens) if token in self._ends), None)
        stopped = ends.stopped_at.get(row)
        if ended is None and stopped is None and len(tokens) < limit:
            return Response.failed("interrupted", "the run was stopped", transient=True)
        count = min(len(tokens) if at is None else at for at in (ended, stopped))
        text = ends.text(row, tokens[:count])
        whole = ended is not None or stopped is not None
        return Response(
            ResponseStatus.OK if whole else ResponseStatus.TRUNCATED,
            text,
            finish_reason="stop" if whole else "length",
            usage=Usage(length, count + (ended is not None)),
            latency=latency,
        )

    def _score(self, requests: list[Request], inputs: Any) -> list[tuple[float, ...]]:
        # By generate, which knows how each architecture counts positions behind padding.
        output = self._model.generate(
            **inputs,
            generation_config=self._greedy(),
            max_new_tokens=1,
            output_logits=True,
            return_dict_in_generate=True,
        )
        scores = torch.log_softmax(output.logits[0].float(), dim=-1).cpu()
        return [
            tuple(float(scores[row, self._token(token)]) for token in request.tokens)
            for row, request in enumerate(requests)
        ]

    def _token(self, text: str) -> int:
        ids = self._tokenizer.encode(text, add_special_tokens=False)
        if len(ids) != 1:
            raise ModelError(f"{self._options.label}: {text!r} is {len(ids)} tokens, not one")
        return int(ids[0])

    def _greedy(self) -> Any:
        """Return the checkpoint's own settings, without those that sample: Sampler does that."""
        config = copy.deepcopy(self._model.generation_config)
        config.do_sample, config.num_beams = False, 1
        config.temperature = config.top_p = config.top_k = None
        config.max_length = None
        config.pad_token_id = self._tokenizer.pad_token_id
        config.eos_token_id = sorted(self._ends)
        return config

    def _room(self, length: int) -> int:
        return 2**31 if self._context is None else self._context - length


def _not_taken(error: Exception) -> Response:
    if isinstance(error, ImageError):
        return Response.failed("image_unreadable", str(error), transient=True)
    why = f"the checkpoint's template or processor cannot take it: {error}"
    return Response.failed("prompt_unusable", why, transient=False)


def _part(part: Any) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image", "image": images.to_picture(part)}
