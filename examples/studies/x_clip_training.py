"""X-CLIP (transformers' `XCLIPModel`) from a CLIP: its towers take CLIP's weights, the rest starts as X-CLIP's own."""

from typing import Any

import torch
from torch import nn
from transformers import CLIPModel, PreTrainedTokenizerBase, XCLIPConfig, XCLIPModel

MIT_LAYERS = 1
OWN_STD = 0.02  # of X-CLIP's authors; transformers, which loads their checkpoints, starts the same weights at 1
# What X-CLIP has and CLIP has not: messages between frames, the Transformer over frames, prompts from the video.
OWN_PARTS = ("message_", "mit.", "prompts_")
SHARED_SIZES = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act"),
    *("layer_norm_eps", "projection_dim"),
)
TEXT_SIZES = ("vocab_size", "max_position_embeddings", "bos_token_id", "eos_token_id", "pad_token_id")


class TrainedXClip(XCLIPModel):
    """
    An X-CLIP that the Trainer of this package trains on classes: their names alone are its texts, as in the paper.

    Call `set_classes` before training.
    """

    class_tokens: dict[str, torch.Tensor]

    def set_classes(self, names: list[str], tokenizer: PreTrainedTokenizerBase) -> None:
        """The class names, in the order of their ids."""
        self.config.label_names = list(names)
        self.class_tokens = dict(tokenizer(list(names), padding=True, return_tensors="pt"))

    def forward(self, pixel_values: torch.Tensor, **kwargs: Any) -> dict[str, torch.Tensor]:
        """`(B, T, 3, H, W)` -> the logits `(B, C)` of the classes."""
        tokens = {name: ids.to(pixel_values.device) for name, ids in self.class_tokens.items()}
        return {"logits": super().forward(pixel_values=pixel_values, **tokens).logits_per_video}


def x_clip_from(clip: CLIPModel, num_frames: int) -> TrainedXClip:
    """
    An X-CLIP of a CLIP's sizes, with its weights where the two are the same.

    Raises:
        ValueError: CLIP has a weight that X-CLIP has no place for, or the other way round.
    """
    text, vision, width = clip.config.text_config, clip.config.vision_config, clip.config.projection_dim
    heads = max(1, width // 64)
    config = XCLIPConfig(
        text_config={name: getattr(text, name) for name in (*SHARED_SIZES, *TEXT_SIZES)},
        vision_config={
            **{name: getattr(vision, name) for name in (*SHARED_SIZES, "image_size", "patch_size")},
            "num_frames": num_frames,
            "mit_hidden_size": width,
            "mit_intermediate_size": 4 * width,
            "mit_num_attention_heads": heads,
            "mit_num_hidden_layers": MIT_LAYERS,
        },
        projection_dim=width,
        prompt_num_attention_heads=heads,
        attn_implementation=clip.config._attn_implementation,
    )
    model = TrainedXClip(config)
    start_own_parts(model)
    weights = {name.replace("pre_layrnorm", "pre_layernorm"): weight for name, weight in clip.state_dict().items()}
    found = model.load_state_dict(weights, strict=False)
    foreign = [name for name in found.missing_keys if not any(part in name for part in OWN_PARTS)]
    if foreign or found.unexpected_keys:
        raise ValueError(f"X-CLIP and CLIP do not share {[*foreign, *found.unexpected_keys]}.")
    return model


@torch.no_grad()
def start_own_parts(model: XCLIPModel) -> None:
    """First values of what CLIP has not: small, so that the model starts near the mean of CLIP's frames."""
    for name, weight in model.named_parameters():
        if any(part in name for part in OWN_PARTS) and weight.ndim > 1 and name != "prompts_visual_projection":
            nn.init.trunc_normal_(weight, std=OWN_STD)
