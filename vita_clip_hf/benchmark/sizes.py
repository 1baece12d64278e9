"""Configurations by name, and made-up classes: nothing here needs a download."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import CLIPConfig

from ..modeling.configuration_vita_clip import VitaClipConfig

START_TOKEN, END_TOKEN, PERIOD, PLACEHOLDER = 49406, 49407, 269, 343  # of CLIP's vocabulary; the placeholder is "x"
LONGEST_NAME = 6  # tokens


@dataclass(frozen=True)
class Size:
    """The numbers by which CLIP's published checkpoints differ; MLPs are four times as wide, heads 64 wide."""

    patch: int
    vision_width: int
    vision_layers: int
    text_width: int
    text_layers: int
    projection: int
    image: int = 224
    head_width: int = 64


SIZES = {
    "tiny": Size(16, 64, 2, 32, 2, 32, image=32, head_width=16),
    "base-32": Size(32, 768, 12, 512, 12, 512),
    "base-16": Size(16, 768, 12, 512, 12, 512),
    "large-14": Size(14, 1024, 24, 768, 12, 768),
}


def clip_config(size: str) -> CLIPConfig:
    """CLIP's configuration of a size by name."""
    numbers = SIZES[size]
    vision = _tower(numbers.vision_width, numbers.vision_layers, numbers)
    vision |= {"patch_size": numbers.patch, "image_size": numbers.image}
    text = _tower(numbers.text_width, numbers.text_layers, numbers)
    text |= {"bos_token_id": START_TOKEN, "eos_token_id": END_TOKEN}
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=numbers.projection)


def _tower(width: int, layers: int, numbers: Size) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // numbers.head_width,
        "projection_dim": numbers.projection,
    }


def vita_config(model: str, frames: int, classes: int, contexts: int, seed: int = 0) -> VitaClipConfig:
    """
    The configuration of a size by name, or that of a checkpoint; with made-up classes where it has none of its own.

    Raises:
        OSError: neither a known size nor a checkpoint that can be found.
    """
    if model in SIZES:
        clip = clip_config(model)
        halves: dict[str, Any] = {"vision_config": clip.vision_config, "text_config": clip.text_config}
        config = VitaClipConfig(**halves, projection_dim=clip.projection_dim)
    else:
        try:
            config = VitaClipConfig.from_pretrained(model)
        except OSError as error:
            raise OSError(f"{model} is neither a size ({', '.join(SIZES)}) nor a checkpoint: {error}") from error
    if config.label_token_ids is None:
        config.num_frames, config.text_prompt_length = frames, contexts
        config.label_token_ids = made_up_classes(classes, config, seed)
        config.set_label_names([f"class {index}" for index in range(classes)])
    return config


def made_up_classes(count: int, config: VitaClipConfig, seed: int = 0) -> list[list[int]]:
    """Token ids of `"name."` with start and end, as a tokenizer gives them; names of 1 to `LONGEST_NAME` tokens."""
    generator = torch.Generator().manual_seed(seed)
    text = config.text_config
    # A vocabulary smaller than CLIP's has its own start and end, and no fixed place for the period.
    is_clips = text.vocab_size > END_TOKEN
    start, end = (START_TOKEN, END_TOKEN) if is_clips else (text.bos_token_id, text.eos_token_id)
    period = PERIOD if is_clips else 0
    lengths = torch.randint(1, LONGEST_NAME + 1, (count,), generator=generator).tolist()
    first = min(320, text.vocab_size // 2)
    names = [torch.randint(first, start, (length,), generator=generator).tolist() for length in lengths]
    return [[start, *name, period, end] for name in names]


def padded_texts(classes: list[list[int]], contexts: int, length: int = 77) -> torch.Tensor:
    """`[SOS, x * M_c, name, ".", EOS, 0..]` of each class, `(C, length)`: what code that does not trim is given."""
    ids = torch.zeros(len(classes), length, dtype=torch.long)
    for row, tokens in zip(ids, classes, strict=True):
        prompt = [tokens[0], *[PLACEHOLDER] * contexts, *tokens[1:]]
        row[: len(prompt)] = torch.tensor(prompt)
    return ids
