"""An X-CLIP of a size at which every test is fast, and its files as X-CLIP's own processor writes them."""

from pathlib import Path

import torch
from toy_checkpoint import toy_tokenizer
from toy_vita_clip import TOWER, randomise
from transformers import CLIPImageProcessor, XCLIPConfig, XCLIPModel, XCLIPProcessor

NUM_FRAMES = 4


def toy_x_clip() -> XCLIPModel:
    tower = {**TOWER, "num_hidden_layers": 2}
    tokenizer = toy_tokenizer()
    config = XCLIPConfig(
        text_config={
            **tower,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 40,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={
            **tower,
            "image_size": 16,
            "patch_size": 8,
            "num_frames": NUM_FRAMES,
            "mit_hidden_size": 32,
            "mit_intermediate_size": 64,
            "mit_num_attention_heads": 4,
            "mit_num_hidden_layers": 1,
        },
        projection_dim=32,
        prompt_num_attention_heads=4,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = XCLIPModel(config)
    randomise(model, std=0.1)
    return model.eval()


def x_clip_processor() -> XCLIPProcessor:
    """With the mean of its own that X-CLIP's image processor has."""
    sides = {"height": 16, "width": 16}
    mean = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    images = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=sides, resample=2, **mean)
    return XCLIPProcessor(image_processor=images, tokenizer=toy_tokenizer())


def save_toy_x_clip(folder: Path) -> Path:
    """A checkpoint."""
    toy_x_clip().save_pretrained(folder)
    x_clip_processor().save_pretrained(folder)
    return folder
