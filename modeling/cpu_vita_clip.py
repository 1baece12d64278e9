"""
Faster kernels for CPUs, by one switch, [`use_cpu_kernels`]. The layers know nothing of them.

They are for a model that is not compiled: `torch.compile` fuses the same passes.
"""

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.models.clip.modeling_clip import CLIPMLP, eager_attention_forward

from .layers_vita_clip import QuickGELU

PADDED_SDPA = "vita_clip_padded_sdpa"
# torch's fused attention takes the keys in blocks of this many, the rows of a matrix tile.
BLOCK = 16


def use_cpu_kernels(model: PreTrainedModel) -> None:
    """
    Gives a [`VitaClipModel`] the kernels of this file: attention over padded keys in the vision tower, plain matrix
    products for the short attention of the text tower, and CLIP's MLP with the activation's factors inside its matrix
    products. Outputs are the same up to rounding, weights keep their names, and training works as before.

    Call it on a model that stays on the CPU and is not compiled. Hooks on the linear layers of a frozen MLP are then
    not called. `model.set_attn_implementation` takes the attention back.
    """
    model.vision_model.set_attn_implementation(PADDED_SDPA)
    model.text_model.set_attn_implementation("eager")
    for tower in (model.vision_model, model.text_model):
        for layer in tower.encoder.layers:
            if isinstance(layer.mlp.activation_fn, QuickGELU):
                layer.mlp = FoldedMLP(layer.mlp)


def padded_sdpa_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """
    transformers' `"sdpa"` with the keys padded to whole blocks; the padding is masked with the lowest finite score. In
    bfloat16 torch's kernel may take twice as long for 214 keys (a frame of ViT-B/16) as for 224. Its backward pass in
    bfloat16 is slower than that of eager attention, so eager attention is used if keys require a gradient.
    """
    if query.dtype == torch.bfloat16 and torch.is_grad_enabled() and key.requires_grad:
        return eager_attention_forward(module, query, key, value, attention_mask, **kwargs)
    missing = -key.shape[2] % BLOCK
    if missing and attention_mask is None and not kwargs.get("is_causal"):
        attention_mask = key.new_zeros(1, 1, 1, key.shape[2] + missing)
        attention_mask[..., key.shape[2] :] = torch.finfo(key.dtype).min
        key, value = (nn.functional.pad(part, (0, 0, 0, missing)) for part in (key, value))
    return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)


AttentionInterface.register(PADDED_SDPA, padded_sdpa_forward)
AttentionMaskInterface.register(PADDED_SDPA, sdpa_mask)


class FoldedMLP(CLIPMLP):
    """
    CLIP's W2 a(W1 x + b1) + b2 with `"quick_gelu"`, a(h) = silu(1.702 h) / 1.702. The factors go to the matrix
    products beside the activation, in which they cost nothing:

        u = 1.702 W1 x + 1.702 b1,    out = (1 / 1.702) W2 silu(u) + b2

    so that silu is the only pass over the layer's widest tensor.

    Args:
        mlp: the module whose layers it takes over.
    """

    def __init__(self, mlp: CLIPMLP):
        nn.Module.__init__(self)
        self.config = mlp.config
        self.activation_fn = mlp.activation_fn
        self.fc1, self.fc2 = mlp.fc1, mlp.fc2
        self.train(mlp.training)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`(..., D)` -> the same. Linear layers of another kind (of peft, or quantized) are called."""
        if not all(type(layer) is nn.Linear and type(layer.weight) is nn.Parameter for layer in (self.fc1, self.fc2)):
            return super().forward(hidden_states)
        slope, tokens = QuickGELU.SLOPE, hidden_states.reshape(-1, self.fc1.in_features)
        scaled = torch.addmm(self.fc1.bias, tokens, self.fc1.weight.t(), alpha=slope, beta=slope)
        activated = nn.functional.silu(scaled, inplace=not scaled.requires_grad)
        out = torch.addmm(self.fc2.bias, activated, self.fc2.weight.t(), alpha=1 / slope)
        return out.view(hidden_states.shape)


__all__ = ["use_cpu_kernels"]
