"""Models, clips and a tokenizer of a size at which every test is fast. Nothing is downloaded."""

from pathlib import Path
from typing import Any

import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from vita_clip_hf import VitaClipConfig, VitaClipModel

LABELS = ["ride_bike", "tai chi", "swim"]
NUM_FRAMES = 4
IMAGE_SIZE = 16
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
ALL_PROMPTS_OFF = {
    "use_temporal_embedding": False,
    "use_summary_token": False,
    "use_local_prompts": False,
    "use_global_prompts": False,
    "text_prompt_length": 0,
}


def toy_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer without a merge: every letter is a token. The end token has the largest id, as in CLIP."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=[], model_max_length=77)


def toy_clip_config(num_layers: int = 3, **fields: Any) -> CLIPConfig:
    """Configuration of a small CLIP whose two towers differ in width. `fields` are of the text tower."""
    tokenizer = toy_tokenizer()
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    tower = {**TOWER, "num_hidden_layers": num_layers}
    text = {
        **tower,
        "hidden_size": 24,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 40,
        **special,
        **fields,
    }
    vision = {**tower, "image_size": IMAGE_SIZE, "patch_size": 8}
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=20)


def randomise(model: torch.nn.Module, seed: int = 0, std: float = 0.3) -> None:
    """Weights so large that a forgotten term shows: at CLIP's first values attention is nearly uniform."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name == "logit_scale":
                parameter.fill_(2.0 + 0.1 * seed)
            else:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * std)


def save_toy_clip(folder: Path, seed: int = 0, **fields: Any) -> Path:
    """A CLIP checkpoint with its tokenizer, in `folder`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        clip = CLIPModel(toy_clip_config(**fields))
    randomise(clip, seed)
    clip.save_pretrained(folder)
    toy_tokenizer().save_pretrained(folder)
    return folder


def toy_config(labels: list[str] | None = None, num_layers: int = 3, **fields: Any) -> VitaClipConfig:
    """A configuration of the toy CLIP's sizes, with token ids for `labels`. `fields` are prompt switches."""
    labels = LABELS if labels is None else labels
    sizes = toy_clip_config(num_layers).to_dict()
    token_ids = toy_tokenizer()([name.replace("_", " ") + "." for name in labels])["input_ids"]
    named = {"id2label": dict(enumerate(labels)), "label_token_ids": token_ids}
    halves = {half: {k: v for k, v in sizes[half].items() if k != "model_type"} for half in SUB_CONFIGS}
    config = VitaClipConfig(projection_dim=sizes["projection_dim"], **halves, **named)
    for field, value in {"num_frames": NUM_FRAMES, **fields}.items():
        setattr(config, field, value)
    return config


SUB_CONFIGS = ("text_config", "vision_config")


def toy_model(seed: int = 0, cls: type = VitaClipModel, labels: list[str] | None = None, **fields: Any) -> Any:
    """A model with random weights, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = cls(toy_config(labels, **fields))
    randomise(model, seed)
    return model.eval()


def toy_clips(batch: int = 2, num_frames: int = NUM_FRAMES, size: int = IMAGE_SIZE, seed: int = 0) -> torch.Tensor:
    """`(B, T, 3, H, W)`, normally distributed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, num_frames, 3, size, size, generator=generator)
