"""Check the ``hf/`` models on a GPU: batches, a full memory, speed.

Makes two checkpoints with random weights and about 1B parameters on the spot, in the shapes of
LLaVA and of Qwen2.5-VL, each with its processor on torchvision, and asks them as a run does::

    python scripts/gpu_check.py          # on a GPU, some minutes
    python scripts/gpu_check.py --tiny   # the same steps on the CPU, to try the script itself

For each: whether replies in a batch equal those one by one, greedy and drawn with a seed (in
float32, where rounding decides nothing), whether a batch that does not fit is halved until it does,
and, in bfloat16, the rate and the memory of batches as ratios to one by one. Exits with 1 where a
reply differs, fails or is lost.

Needs ``torch``, ``torchvision`` and ``transformers`` 5.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import torch
import transformers as hf
from make_tiny_llava import CHAT_TEMPLATE, tokenizer
from PIL import Image as PILImage

from opensafemlrm import images
from opensafemlrm.models.local.hf import HuggingFace
from opensafemlrm.types import Prompt, Response, ResponseStatus, Sampling

QWEN_TOKENS: Final = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
IMAGE_SIZE, PATCH_SIZE = 336, 14
IS_GPU: Final = torch.cuda.is_available()


@dataclass(frozen=True)
class Size:
    """How large the checkpoints and the load are."""

    hidden: int
    layers: int
    vision_hidden: int
    vision_layers: int
    prompts: int
    prompt_bytes: int
    tokens: int


BILLION: Final = Size(2048, 14, 1280, 16, prompts=32, prompt_bytes=1500, tokens=64)
TINY: Final = Size(64, 2, 64, 2, prompts=6, prompt_bytes=60, tokens=8)


def text_config(words: Any, size: Size, **more: Any) -> dict[str, Any]:
    """Return the options of the language model, which both families share."""
    return {
        "vocab_size": len(words),
        "hidden_size": size.hidden,
        "intermediate_size": 4 * size.hidden,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.hidden // 16 if size.hidden < 128 else size.hidden // 128,
        "num_key_value_heads": 4,
        "max_position_embeddings": 8192,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
        **more,
    }


def llava(size: Size) -> tuple[Any, Any]:
    """Build a LLaVA: a CLIP vision tower, a projector, a Qwen2 language model."""
    words = tokenizer("<image>")
    vision = hf.CLIPVisionConfig(
        hidden_size=size.vision_hidden,
        intermediate_size=4 * size.vision_hidden,
        num_hidden_layers=size.vision_layers,
        num_attention_heads=16,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
    )
    config = hf.LlavaConfig(
        vision_config=vision,
        text_config=hf.Qwen2Config(**text_config(words, size)),
        image_token_id=words.convert_tokens_to_ids("<image>"),
        image_seq_length=(IMAGE_SIZE // PATCH_SIZE) ** 2,
    )
    processor = hf.LlavaProcessor(
        image_processor=hf.CLIPImageProcessor(
            size={"shortest_edge": IMAGE_SIZE},
            crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        ),
        tokenizer=words,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        num_additional_image_tokens=1,  # CLIP's class token
    )
    return hf.LlavaForConditionalGeneration(config), processor


def qwen(size: Size) -> tuple[Any, Any]:
    """Build a Qwen2.5-VL: images of any size, window attention, positions in three dimensions."""
    words = tokenizer(*QWEN_TOKENS)
    start, end, image, video = (words.convert_tokens_to_ids(token) for token in QWEN_TOKENS)
    language = text_config(words, size)
    half = language["hidden_size"] // language["num_attention_heads"] // 2
    rope = [half - 2 * (half * 3 // 8), half * 3 // 8, half * 3 // 8]
    language["rope_parameters"] = {
        "rope_type": "default",
        "rope_theta": 1e6,
        "mrope_section": rope,
    }
    config = hf.Qwen2_5_VLConfig(
        vision_config={
            "depth": size.vision_layers,
            "hidden_size": size.vision_hidden,
            "intermediate_size": 4 * size.vision_hidden,
            "num_heads": 16,
            "out_hidden_size": size.hidden,
            "patch_size": PATCH_SIZE,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [size.vision_layers - 1],
        },
        text_config=language,
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    processor = hf.Qwen2_5_VLProcessor(
        image_processor=hf.Qwen2VLImageProcessor(
            patch_size=PATCH_SIZE, size={"shortest_edge": 56 * 56, "longest_edge": IMAGE_SIZE**2}
        ),
        tokenizer=words,
        video_processor=hf.Qwen2VLVideoProcessor(),
        chat_template=CHAT_TEMPLATE.replace(
            "<image>", "<|vision_start|><|image_pad|><|vision_end|>"
        ),
    )
    return hf.Qwen2_5_VLForConditionalGeneration(config), processor


FAMILIES: Final[dict[str, Callable[[Size], tuple[Any, Any]]]] = {"llava": llava, "qwen2.5-vl": qwen}


def save(family: str, size: Size, folder: Path) -> int:
    """Write the checkpoint of a family, and return its parameters."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if IS_GPU else "cpu"):
        model, processor = FAMILIES[family](size)
    torch.set_default_dtype(torch.float32)
    words = processor.tokenizer
    settings = model.generation_config
    settings.eos_token_id, settings.pad_token_id = words.eos_token_id, words.pad_token_id
    # Noise would write images, turns and the end: it may write letters, and so writes to the limit.
    settings.suppress_tokens = [
        number
        for token, number in words.get_vocab().items()
        if not (len(token) == 1 and "a" <= token <= "z")
    ]
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return sum(weights.numel() for weights in model.parameters())


def prompts(size: Size) -> list[Prompt]:
    """Return prompts of different lengths, each with a picture of noise."""
    generator = random.Random(0)
    made = []
    for number in range(size.prompts):
        edge = 28 * generator.randint(6, 12)
        picture = PILImage.frombytes("RGB", (edge, edge), generator.randbytes(edge * edge * 3))
        length = generator.randint(size.prompt_bytes // 2, size.prompt_bytes)
        text = f"Picture {number}. " + "What is it? " * (length // 12)
        made.append(Prompt.user(text, images.from_picture(picture)))
    return made


@dataclass(frozen=True)
class Measured:
    """What came of a load."""

    replies: list[Response]
    seconds: float
    peak: int
    """Bytes of the GPU's memory, at most; 0 on the CPU."""
    batch: int
    """Requests in a batch at the end."""

    @property
    def rate(self) -> float:
        """Tokens written a second."""
        return sum(reply.usage.output_tokens or 0 for reply in self.replies) / self.seconds


def measure(
    folder: Path, asked: Sequence[Prompt], batch: int, sampling: Sampling, dtype: str
) -> Measured:
    """Ask the checkpoint as a run does: all requests at once, ``batch`` of them together."""
    return asyncio.run(_measure(folder, asked, batch, sampling, dtype))


async def _measure(
    folder: Path, asked: Sequence[Prompt], batch: int, sampling: Sampling, dtype: str
) -> Measured:
    model = HuggingFace(
        str(folder),
        dtype=dtype,  # type: ignore[arg-type] # one of the three
        max_batch=batch,
        batch_tokens=10**9,
    )
    try:
        await model.generate(asked[0], Sampling(max_tokens=2))  # loads, and warms up
        if IS_GPU:
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        replies = await asyncio.gather(*(model.generate(prompt, sampling) for prompt in asked))
        seconds = time.perf_counter() - start
        peak = torch.cuda.max_memory_allocated() if IS_GPU else 0
        batcher = model._state.batcher
        assert batcher is not None
        return Measured(list(replies), seconds, peak, batcher.max_batch)
    finally:
        await model.aclose()
        gc.collect()


def check(family: str, size: Size, folder: Path) -> list[str]:
    """Run every step for a family, print what came of it, and return what is wrong."""
    wrong = []
    parameters = save(family, size, folder)
    print(f"\n{family}: {parameters / 1e9:.2f}B parameters, random", flush=True)
    asked, count = prompts(size), size.prompts

    few, greedy = asked[:8], Sampling(max_tokens=size.tokens)
    for how, sampling in (
        ("greedy", greedy),
        ("temperature 0.7", Sampling(temperature=0.7, seed=1, max_tokens=size.tokens)),
    ):
        one_by_one = measure(folder, few, 1, sampling, "float32")
        together = measure(folder, few, len(few), sampling, "float32")
        equal = _equal(one_by_one, together)
        distinct = len({reply.text for reply in together.replies})
        print(
            f"  float32, {how}: {equal} of {len(few)} replies in a batch equal those one by one, "
            f"{distinct} distinct",
            flush=True,
        )
        if equal < len(few):
            wrong.append(f"{family}, {how}: {len(few) - equal} replies differ in a batch")

    single = measure(folder, few, 1, greedy, "bfloat16")
    rates, peaks = [], {}
    for batch in (4, count // 2, count):
        measured = measure(folder, asked, batch, greedy, "bfloat16")
        peaks[batch] = measured.peak
        rates.append(
            f"  bfloat16, {batch} a batch: {measured.rate:,.0f} tokens/s, "
            f"{measured.rate / single.rate:.1f} times one by one ({single.rate:,.0f}), "
            f"{_equal(single, measured)} of {len(few)} replies equal; "
            + (
                f"memory {measured.peak / single.peak:.2f} times ({single.peak / 2**30:.2f} GiB)"
                if IS_GPU
                else "memory not measured on the CPU"
            )
        )
        wrong += _lost(f"{family}, {batch} a batch", measured)
    print("\n".join(rates), flush=True)

    if not IS_GPU:
        print("  a full memory: not tried, it needs a GPU")
        return wrong
    limit = (peaks[count // 2] + peaks[count]) // 2
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(limit / total)
    try:
        tight = measure(folder, asked, count, greedy, "bfloat16")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    whole = sum(reply.status is not ResponseStatus.FAILED for reply in tight.replies)
    print(
        f"  memory held to {limit / 2**30:.2f} GiB, {count} a batch asked for: "
        f"{tight.batch} a batch at the end, {whole} of {count} replies whole"
    )
    wrong += _lost(f"{family}, a full memory", tight)
    if tight.batch >= count:
        wrong.append(f"{family}: no batch was halved")
    return wrong


def _equal(one: Measured, other: Measured) -> int:
    return sum(a.text == b.text for a, b in zip(one.replies, other.replies, strict=False))


def _lost(where: str, measured: Measured) -> list[str]:
    failed = {r.code or "?" for r in measured.replies if r.status is ResponseStatus.FAILED}
    return [f"{where}: replies failed: {', '.join(sorted(failed))}"] if failed else []


def main() -> None:
    """Check both families, and exit with 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="small checkpoints, for the CPU")
    size = TINY if parser.parse_args().tiny else BILLION
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    where = torch.cuda.get_device_name() if IS_GPU else "CPU"
    print(f"{where}, torch {torch.__version__}, transformers {hf.__version__}")
    wrong = []
    for family in FAMILIES:
        if family == "qwen2.5-vl" and not IS_GPU and find_spec("torchvision") is None:
            print(f"\n{family}: skipped on the CPU, its processor needs torchvision")
            continue
        with tempfile.TemporaryDirectory() as folder:
            wrong += check(family, size, Path(folder))
    print("\n" + ("\n".join(wrong) or "all as it should be"))
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
