"""The tiny CLIP before its training: settings, tokenizer, image processor and a `CLIPModel` of random weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from tiny_clip.stills import draw_caption, draw_still
from tiny_clip.tokenizer import train_tokenizer
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from vita_clip_hf.demo.motions import MOTIONS, UNSEEN_MOTIONS

MAX_TEXT_LENGTH = 77
HEAD_WIDTH = 32


def _setting(default: int | float, meaning: str) -> Any:
    return field(default=default, metadata={"help": meaning})


@dataclass(frozen=True)
class PretrainingSettings:
    """Every number that decides the result."""

    steps: int = _setting(2600, "training steps")
    batch_size: int = _setting(256, "pictures, each with one caption, a step")
    learning_rate: float = _setting(1.5e-3, "highest learning rate, after the warm-up; it falls to 0 as a cosine")
    warmup_steps: int = _setting(100, "steps over which the learning rate rises")
    weight_decay: float = _setting(0.05, "weight decay of the matrices")
    word_weight: float = _setting(1.0, "weight of guessing the captions' words from the class token of each layer")
    more_captions: int = _setting(3, "further captions of a picture, only for their words")
    image_size: int = _setting(48, "side of the pictures the model sees, in pixels")
    patch_size: int = _setting(8, "side of a patch, in pixels")
    vision_width: int = _setting(96, "hidden size of the vision tower; a head has 32")
    vision_layers: int = _setting(6, "layers of the vision tower")
    text_width: int = _setting(96, "hidden size of the text tower; a head has 32")
    text_layers: int = _setting(2, "layers of the text tower")
    projection: int = _setting(128, "size of the common embedding")
    vocab_size: int = _setting(1000, "tokens at most")
    pictures: int = _setting(60000, "pictures to train on; their captions are written anew each time")
    held_out: int = _setting(1000, "pictures to measure on")
    seed: int = _setting(0, "of weights, pictures and captions")


def build_tokenizer(settings: PretrainingSettings) -> CLIPTokenizer:
    """
    A tokenizer whose tokens are words of captions and of the motions' names. The motions' names are for the demo, so
    that they need few tokens; the tiny CLIP never reads them in its training.
    """
    rng = np.random.default_rng([settings.seed, 1])
    captions = [draw_caption(rng, draw_still(rng)).text for _ in range(10000)]
    names = [f"a video of a shape {motion}, an animation" for motion in (*MOTIONS, *UNSEEN_MOTIONS)]
    return train_tokenizer([*captions, *names * 50], settings.vocab_size, MAX_TEXT_LENGTH)


def build_image_processor(image_size: int) -> CLIPImageProcessor:
    """CLIP's image processor for pictures of `image_size` pixels."""
    return CLIPImageProcessor(
        size={"shortest_edge": image_size}, crop_size={"height": image_size, "width": image_size}
    )


def build_model(settings: PretrainingSettings, tokenizer: CLIPTokenizer) -> CLIPModel:
    """A CLIP of random weights."""
    vision = {
        **_tower(settings.vision_width, settings.vision_layers, settings),
        "image_size": settings.image_size,
        "patch_size": settings.patch_size,
    }
    text = {
        **_tower(settings.text_width, settings.text_layers, settings),
        "vocab_size": len(tokenizer),
        "max_position_embeddings": MAX_TEXT_LENGTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(settings.seed)
    config = CLIPConfig(vision_config=vision, text_config=text, projection_dim=settings.projection)
    # On a CPU in bfloat16 and for sequences this short, the backward pass of eager attention is several times faster.
    model = CLIPModel._from_config(config, attn_implementation="eager")
    _start_positions(model)
    return model


def _tower(width: int, layers: int, settings: PretrainingSettings) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // HEAD_WIDTH,
        "hidden_act": "gelu",  # one kernel, while CLIP's "quick_gelu" is three
        "projection_dim": settings.projection,
    }


@torch.no_grad()
def _start_positions(model: CLIPModel, scale: float = 0.2) -> None:
    """
    Starts the patches' position embedding at sines and cosines of column and row, of the patch embeddings' size.

    CLIP's own start is random and ten times smaller. A training of a few minutes would spend most of its steps on
    learning the patches' places from there.
    """
    embeddings = model.vision_model.embeddings
    side, width = embeddings.image_size // embeddings.patch_size, embeddings.embed_dim
    places = torch.arange(side) / side
    frequencies = 2 * math.pi * 2.0 ** torch.linspace(-1.5, math.log2(side / 2), width // 4)
    waves = torch.cat([(places[:, None] * frequencies).sin(), (places[:, None] * frequencies).cos()], dim=1)
    across, down = waves[None].expand(side, -1, -1), waves[:, None].expand(-1, side, -1)
    grid = torch.cat([across, down], dim=-1).flatten(0, 1)
    embeddings.position_embedding.weight[1:, : grid.shape[1]] += scale * grid
