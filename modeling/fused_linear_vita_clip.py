"""
residual + W x + b in one step: on the CPU in bfloat16, without a gradient.

torch's linear layer writes the bias into the result, reads it again to add the product, and leaves the residual to a
pass of its own. oneDNN, which makes torch's products in bfloat16, adds both as it writes the product.
"""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .frozen_vita_clip import as_autocast, may_bypass, plus

# What torch.compile makes of a linear layer on the CPU. It has no public name; without it layers are called as ever.
OPERATION: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def may_fuse(tokens: torch.Tensor, *layers: nn.Linear) -> bool:
    """
    Whether [`fused_linear`] may take `tokens` and the weights of `layers`. Never while gradients are recorded: it has
    none.
    """
    if torch.is_grad_enabled() or tokens.dtype != torch.bfloat16 or not may_bypass(tokens, *layers):
        return False
    return _are_bfloat16(layers) and bool(torch.backends.mkldnn.enabled) and is_supported()


def _are_bfloat16(layers: Sequence[nn.Linear]) -> bool:
    """Whether the weights are, or will be where they are used."""
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu") == torch.bfloat16
    return all(layer.weight.dtype == torch.bfloat16 for layer in layers)


@functools.cache
def is_supported() -> bool:
    """Whether this torch and this processor have the operation."""
    return OPERATION is not None and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def fused_linear(
    tokens: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, residual: torch.Tensor | None = None
) -> torch.Tensor:
    """
    residual + W x + b of what [`may_fuse`] allows, rounded once where the types agree.

    Args:
        tokens: x, `(..., D)`.
        weight, bias: W, `(E, D)`, and b, `(E,)`.
        residual: `(..., E)`; of another type than x it is added in a step of its own.

    Returns:
        `(..., E)`.
    """
    tokens, weight, bias = as_autocast(tokens, weight, bias)
    if residual is None or residual.dtype != tokens.dtype:
        return plus(residual, OPERATION(tokens, weight, bias, "none", [], ""))
    return OPERATION.binary(tokens, residual, weight, bias, "add")
