"""Tiny checkpoints with random weights, from the real configuration classes of seven families.

They have every part of a real model, and have learnt nothing: what they write is noise, the same
every time. Processors are put together around Pillow's image processors, without the video parts,
which need torchvision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

HIDDEN, HEADS, LAYERS = 32, 4, 2
_WORDS = ("<|endoftext|>", "<|im_end|>", "<|im_start|>")
_TEMPLATE = (
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n"
    "{%- if message.content is string %}{{ message.content }}{%- else %}"
    "{%- for part in message.content %}"
    "{%- if part.type == 'image' %}IMAGE{%- else %}{{ part.text }}{%- endif %}"
    "{%- endfor %}{%- endif %}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{%- endif %}"
)


def tokenizer(*special: str, **named: str) -> Any:
    """A byte-level tokenizer: one token a byte, and the special ones. Nothing to train."""
    every = [*_WORDS, *special]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*every, *letters])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        bos_token="<|endoftext|>",
        extra_special_tokens=named or ["<|im_start|>", *special],
        model_input_names=["input_ids", "attention_mask"],
    )


def _template(image: str) -> str:
    return _TEMPLATE.replace("IMAGE", image)


def _without_video(cls: Any) -> Any:
    """A processor class that does without its video part, which needs torchvision."""

    class WithoutVideo(cls):  # type: ignore[misc]
        def check_argument_for_proper_class(self, name: str, value: Any) -> Any:
            return None if value is None else super().check_argument_for_proper_class(name, value)

    return WithoutVideo


def _text(words: Any, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(words),
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS // 2,
        "max_position_embeddings": 2048,
        "bos_token_id": 0,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
        **more,
    }


def _llava() -> tuple[Any, Any]:
    words = tokenizer("<image>")
    vision = _clip()
    config = hf.LlavaConfig(
        vision_config=vision,
        text_config=hf.Qwen2Config(**_text(words)),
        image_token_id=words.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
    )
    processor = hf.LlavaProcessor(
        image_processor=hf.CLIPImageProcessorPil(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
        ),
        tokenizer=words,
        patch_size=7,
        vision_feature_select_strategy="default",
        chat_template=_template("<image>\n"),
        num_additional_image_tokens=1,
    )
    return hf.LlavaForConditionalGeneration(config), processor


def _clip() -> Any:
    return hf.CLIPVisionConfig(
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        image_size=28,
        patch_size=7,
    )


def _llava_next() -> tuple[Any, Any]:
    words = tokenizer("<image>")
    grid = [[28, 56], [56, 28], [56, 56]]
    config = hf.LlavaNextConfig(
        vision_config=_clip(),
        text_config=hf.LlamaConfig(**_text(words)),
        image_token_id=words.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=grid,
        image_seq_length=16,
    )
    processor = hf.LlavaNextProcessor(
        image_processor=hf.LlavaNextImageProcessorPil(
            size={"shortest_edge": 28},
            crop_size={"height": 28, "width": 28},
            image_grid_pinpoints=grid,
        ),
        tokenizer=words,
        patch_size=7,
        vision_feature_select_strategy="default",
        chat_template=_template("<image>\n"),
        num_additional_image_tokens=1,
    )
    return hf.LlavaNextForConditionalGeneration(config), processor


def _mllama() -> tuple[Any, Any]:
    words = tokenizer("<|image|>", "<|python_tag|>")
    text = _text(words, num_hidden_layers=3, cross_attention_layers=[1])
    text["vocab_size"] = len(words) - 1  # the image's own token is embedded, and never written
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 10000.0}
    vision = {
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_global_layers": 1,
        "attention_heads": HEADS,
        "image_size": 28,
        "patch_size": 7,
        "max_num_tiles": 2,
        "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
        "intermediate_layers_indices": [0],
        "vision_output_dim": 2 * HIDDEN,
    }
    config = hf.MllamaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=words.convert_tokens_to_ids("<|image|>"),
    )
    processor = hf.MllamaProcessor(
        image_processor=hf.MllamaImageProcessorPil(
            size={"height": 28, "width": 28}, max_image_tiles=2
        ),
        tokenizer=words,
        chat_template=_template("<|image|>"),
    )
    return hf.MllamaForConditionalGeneration(config), processor


def _qwen(processor: Any, config: Any, model: Any, patch: int, **more: Any) -> tuple[Any, Any]:
    special = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    words = tokenizer(*special)
    start, end, image, video = (words.convert_tokens_to_ids(token) for token in special)
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2], **more}
    text = _text(words, rope_parameters=rope, head_dim=HIDDEN // HEADS)
    vision = {
        "depth": LAYERS,
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_heads": HEADS,
        "out_hidden_size": HIDDEN,
        "patch_size": patch,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        **_QWEN_VISION[config],
    }
    configured = getattr(hf, config)(
        vision_config=vision,
        text_config=text,
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    pictures = hf.Qwen2VLImageProcessorPil(
        patch_size=patch, size={"shortest_edge": 4 * patch**2, "longest_edge": 24 * patch**2}
    )
    made = _without_video(getattr(hf, processor))(
        image_processor=pictures,
        tokenizer=words,
        chat_template=_template("<|vision_start|><|image_pad|><|vision_end|>"),
    )
    return getattr(hf, model)(configured), made


_QWEN_VISION: dict[str, dict[str, Any]] = {
    "Qwen2_5_VLConfig": {"fullatt_block_indexes": [1], "window_size": 56},
    "Qwen3VLConfig": {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]},
}


def _qwen25() -> tuple[Any, Any]:
    return _qwen(
        "Qwen2_5_VLProcessor", "Qwen2_5_VLConfig", "Qwen2_5_VLForConditionalGeneration", 14
    )


def _qwen3() -> tuple[Any, Any]:
    return _qwen(
        "Qwen3VLProcessor",
        "Qwen3VLConfig",
        "Qwen3VLForConditionalGeneration",
        16,
        mrope_interleaved=True,
    )


def _internvl() -> tuple[Any, Any]:
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    words = tokenizer(*named.values(), **named)
    config = hf.InternVLConfig(
        vision_config={
            "hidden_size": HIDDEN,
            "intermediate_size": 2 * HIDDEN,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "image_size": [28, 28],
            "patch_size": [7, 7],
        },
        text_config=hf.Qwen2Config(**_text(words)),
        image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    processor = _without_video(hf.InternVLProcessor)(
        image_processor=hf.GotOcr2ImageProcessorPil(
            size={"height": 28, "width": 28}, crop_to_patches=True, max_patches=3
        ),
        tokenizer=words,
        image_seq_length=4,
        chat_template=_template("<IMG_CONTEXT>\n"),
    )
    return hf.InternVLForConditionalGeneration(config), processor


def _glm4v() -> tuple[Any, Any]:
    special = (
        "<|begin_of_image|>", "<|end_of_image|>", "<|image|>",
        "<|begin_of_video|>", "<|end_of_video|>", "<|video|>",
    )  # fmt: skip
    words = tokenizer(*special)
    ids = [words.convert_tokens_to_ids(token) for token in special]
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    config = hf.Glm4vConfig(
        vision_config={
            "depth": LAYERS,
            "hidden_size": HIDDEN,
            "intermediate_size": 2 * HIDDEN,
            "num_heads": HEADS,
            "out_hidden_size": HIDDEN,
            "image_size": 56,
            "patch_size": 14,
        },
        text_config=_text(words, rope_parameters=rope),
        image_start_token_id=ids[0],
        image_end_token_id=ids[1],
        image_token_id=ids[2],
        video_start_token_id=ids[3],
        video_end_token_id=ids[4],
        video_token_id=ids[5],
    )
    processor = _without_video(hf.Glm4vProcessor)(
        image_processor=hf.Glm4vImageProcessorPil(
            size={"shortest_edge": 4 * 14**2, "longest_edge": 48 * 14**2}
        ),
        tokenizer=words,
        chat_template=_template("<|begin_of_image|><|image|><|end_of_image|>"),
    )
    return hf.Glm4vForConditionalGeneration(config), processor


def _text_only() -> tuple[Any, Any]:
    words = tokenizer()
    words.chat_template = _template("")
    return hf.Qwen2ForCausalLM(hf.Qwen2Config(**_text(words))), words


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "llava": _llava,
    "llava-next": _llava_next,
    "mllama": _mllama,
    "qwen2.5-vl": _qwen25,
    "qwen3-vl": _qwen3,
    "internvl": _internvl,
    "glm-4v": _glm4v,
}
TEXT_ONLY = _text_only


def make(build: Callable[[], tuple[Any, Any]]) -> tuple[Any, Any]:
    """Build a model, with the same weights every time, and its processor."""
    torch.manual_seed(0)
    model, processor = build()
    words = getattr(processor, "tokenizer", processor)
    config = model.generation_config
    config.eos_token_id, config.pad_token_id = words.eos_token_id, words.pad_token_id
    # Noise would write images, turns, broken characters and the end: it may write letters.
    config.suppress_tokens = [
        number
        for token, number in words.get_vocab().items()
        if not (len(token) == 1 and "a" <= token <= "z")
    ]
    for name, weights in model.named_parameters():
        if "gate" in name and weights.numel() == 1:  # closed at first: it would see no image
            torch.nn.init.constant_(weights, 1.0)
    return model.eval(), processor
