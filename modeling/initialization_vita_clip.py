"""How the prompts start. What CLIP has is initialised as CLIP is."""

import math

import torch
from torch import nn
from transformers import initialization as init
from transformers.models.clip.modeling_clip import CLIPModel, CLIPPreTrainedModel

from .configuration_vita_clip import VitaClipConfig

PROMPT_STD = 0.02


class VitaClipPreTrainedModel(CLIPPreTrainedModel):
    """What the whole model and its two halves have in common: transformers' contract and the first values."""

    config: VitaClipConfig
    base_model_prefix = "vita_clip"
    input_modalities: tuple[str, ...] = ("video", "text")
    _no_split_modules = [  # noqa: RUF012 - a class variable by transformers' contract
        "CLIPTextEmbeddings",
        "VitaClipEncoderLayer",
        "VitaClipVisionEmbeddings",
        "VitaClipVisionLayer",
        "ClassPrompts",
    ]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        # By what a module holds rather than by its class: the classes import this one.
        if getattr(module, "temporal_embedding", None) is not None:
            init.normal_(module.temporal_embedding, std=PROMPT_STD)
        if isinstance(module, CLIPModel):
            init.constant_(module.logit_scale, module.config.logit_scale_init_value)
        if hasattr(module, "token_layout"):
            for name, layout in module.token_layout().items():
                init.copy_(getattr(module, name), layout)
            if getattr(module, "contexts", None) is not None:
                init.normal_(module.contexts, std=PROMPT_STD)
        for name in ("global_prompts", "local_prompts"):
            if isinstance(getattr(module, name, None), nn.Parameter):
                bound = visual_prompt_bound(module.config.patch_size, module.config.hidden_size)
                init.uniform_(getattr(module, name), -bound, bound)
        if hasattr(module, "cls_projection"):
            for linear in module.cls_projection.modules():
                if isinstance(linear, nn.Linear):
                    _init_as_torch(linear)


def visual_prompt_bound(patch_size: int, hidden_size: int) -> float:
    """v of the prompts' uniform(-v, v): sqrt(6 / (3 * P * P + D)), with patches of P pixels and the width D."""
    return math.sqrt(6 / (3 * patch_size * patch_size + hidden_size))


def _init_as_torch(linear: nn.Linear) -> None:
    """torch's own default for a linear layer, which the projection of the class tokens starts from."""
    init.kaiming_uniform_(linear.weight, a=math.sqrt(5))
    if linear.bias is not None:
        bound = 1 / math.sqrt(linear.in_features)
        init.uniform_(linear.bias, -bound, bound)
