"""What is measured: models by size with random weights, made-up classes and clips. Nothing needs a download."""

from dataclasses import dataclass
from typing import Any

import torch

from vita_clip_hf import VitaClipConfig

START_TOKEN, END_TOKEN, PERIOD, PLACEHOLDER = 49406, 49407, 269, 343  # of CLIP's vocabulary; the placeholder is "x"
LONGEST_NAME = 6  # tokens
# Patch size, image size, and width and layers of the vision and the text tower. Heads are 64 wide, MLPs 4 widths.
SIZES = {
    "tiny": (16, 32, 64, 2, 64, 2),
    "base-32": (32, 224, 768, 12, 512, 12),
    "base-16": (16, 224, 768, 12, 512, 12),
    "large-14": (14, 224, 1024, 24, 768, 12),
}


@dataclass(frozen=True)
class Settings:
    """
    Args:
        size: one of `SIZES`.
        dtype: `"float32"` or `"bfloat16"`. Inference has its weights in it; training in bfloat16 is autocast.
        device: such as `"cpu"` or `"cuda"`.
        batch: clips in a call.
        frames: of a clip.
        classes, contexts: classes, and learned contexts of each.
        compile_mode: of `torch.compile`, for the contenders that are compiled.
        threads: of torch on the CPU; `None` leaves torch's own choice.
        seed: of weights, clips and class names.
    """

    size: str = "base-16"
    dtype: str = "float32"
    device: str = "cpu"
    batch: int = 2
    frames: int = 8
    classes: int = 400
    contexts: int = 8
    compile_mode: str = "default"
    threads: int | None = None
    seed: int = 0


def vita_config(settings: Settings) -> VitaClipConfig:
    """The configuration of the size, with all prompts and made-up classes."""
    patch, image, width, layers, text_width, text_layers = SIZES[settings.size]
    vision = _tower(width, layers, text_width) | {"patch_size": patch, "image_size": image}
    text = _tower(text_width, text_layers, text_width) | {"bos_token_id": START_TOKEN, "eos_token_id": END_TOKEN}
    halves: dict[str, Any] = {
        "vision_config": vision | {"num_frames": settings.frames},
        "text_config": text | {"text_prompt_length": settings.contexts},
    }
    config = VitaClipConfig(**halves, projection_dim=text_width)
    config.label_token_ids = made_up_classes(settings.classes, settings.seed)
    config.set_label_names([f"class {index}" for index in range(settings.classes)])
    return config


def _tower(width: int, layers: int, projection: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "projection_dim": projection,
    }


def made_up_classes(count: int, seed: int = 0) -> list[list[int]]:
    """Token ids of `"name."` with start and end, as CLIP's tokenizer gives them; names of 1 to 6 tokens."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, LONGEST_NAME + 1, (count,), generator=generator).tolist()
    names = [torch.randint(320, START_TOKEN, (length,), generator=generator).tolist() for length in lengths]
    return [[START_TOKEN, *name, PERIOD, END_TOKEN] for name in names]


def padded_texts(settings: Settings, length: int | None = None) -> torch.Tensor:
    """`[SOS, x * M_c, name, ".", EOS, 0..]` of each class, `(C, length)`; by default as long as the longest."""
    texts = [
        [tokens[0], *[PLACEHOLDER] * settings.contexts, *tokens[1:]]
        for tokens in made_up_classes(settings.classes, settings.seed)
    ]
    ids = torch.zeros(len(texts), length or max(map(len, texts)), dtype=torch.long)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = torch.tensor(text)
    return ids


def random_clips(settings: Settings) -> torch.Tensor:
    """Normally distributed clips `(B, T, 3, H, W)`, float32 on the device, the same for every contender."""
    side = SIZES[settings.size][1]
    generator = torch.Generator().manual_seed(settings.seed)
    return torch.randn(settings.batch, settings.frames, 3, side, side, generator=generator).to(settings.device)
