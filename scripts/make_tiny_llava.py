"""Make a tiny LLaVA checkpoint with random weights, to test against a real server.

The model has the parts of a real one (a CLIP vision tower, a projector, a Qwen2 language model, a
byte-level tokenizer, an image processor, a chat template with images) and about 260,000
parameters, so that a server loads it in seconds and answers on a laptop's CPU. It has learnt
nothing: what it writes is noise.

Needs ``torch``, ``transformers`` 5 and ``pillow``, which this project does not install::

    python scripts/make_tiny_llava.py tiny-llava
    HF_HUB_OFFLINE=1 transformers serve ./tiny-llava --host 127.0.0.1 --port 8011
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

IMAGE_SIZE, PATCH_SIZE = 56, 14
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer(*special: str) -> PreTrainedTokenizerFast:
    """Build a byte-level tokenizer: one token a byte, and ``special`` ones. Nothing to train."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *special, *letters])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", *special],
        model_max_length=8192,
    )


def processor(words: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Build the processor: images by Pillow (no torchvision), text by ``words``."""
    pictures = CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    )
    return LlavaProcessor(
        image_processor=pictures,
        tokenizer=words,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        num_additional_image_tokens=1,  # CLIP's class token
    )


def model(words: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    """Build the model with random weights, the same ones every time."""
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
    )
    language = Qwen2Config(
        vocab_size=len(words),
        hidden_size=96,
        intermediate_size=192,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=language,
        image_token_id=words.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        image_seq_length=(IMAGE_SIZE // PATCH_SIZE) ** 2,
    )
    built = LlavaForConditionalGeneration(config)
    built.generation_config.eos_token_id = words.eos_token_id
    built.generation_config.pad_token_id = words.pad_token_id
    # An image is context, never something to write: without this, noise would hit the token.
    built.generation_config.suppress_tokens = [config.image_token_id]
    # Noise seldom ends by itself: from the 16th token on, the end grows likelier with each one.
    built.generation_config.exponential_decay_length_penalty = (16, 1.5)
    return built


def main() -> None:
    """Write the checkpoint into the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the checkpoint is written")
    folder = parser.parse_args().folder
    words = tokenizer("<image>")
    built = model(words)
    built.save_pretrained(folder)
    processor(words).save_pretrained(folder)
    print(f"{folder}: {sum(weights.numel() for weights in built.parameters()):,} parameters")


if __name__ == "__main__":
    main()
