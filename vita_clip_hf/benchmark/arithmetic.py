"""Floating-point operations: how many a call makes, and how many a large matrix product makes in a second."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from ..modeling import fused_linear_vita_clip
from ..modeling.graphs_vita_clip import watched_by_one_who_knows
from .timing import Work

MATRIX_PRODUCT = "matrix product"


def _attention_flops(query, key, value, *arguments, **options) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward_flops(gradient, query, key, value, *arguments, **options) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


def _linear_flops(tokens, *arguments, out_shape, **options) -> int:
    return 2 * math.prod(out_shape) * tokens[-1]


def _addmm_flops(start, left, right, *arguments, **options) -> int:
    return _linear_flops(left, right, **options)


# What torch itself does not count: attention on the CPU, whose kernel makes the same products as those of GPUs,
# products added in place, and linear layers that add more than their bias.
NOT_COUNTED: dict[Any, Callable[..., int]] = {
    torch.ops.aten.addmm_: _addmm_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
}
if fused_linear_vita_clip.OPERATION is not None:
    NOT_COUNTED[fused_linear_vita_clip.OPERATION] = _linear_flops


def count_flops(call: Callable[[], Any]) -> tuple[int, Any]:
    """
    Runs `call` once and counts.

    Returns:
        Operations of its matrix products, convolutions and attentions, a multiplication and an addition counting as
        two, those of a backward pass within it included; and what `call` returned.
    """
    with watched_by_one_who_knows(), FlopCounterMode(display=False, custom_mapping=NOT_COUNTED) as counter:
        result = call()
    return counter.get_total_flops(), result


def matrix_product(device: str, dtype: torch.dtype, model: str) -> tuple[Work, int]:
    """A product of two large square matrices as a work to time beside the others, and its number of operations."""
    side = _matrix_side(device, dtype, model)
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    result = torch.empty_like(left)
    return Work(MATRIX_PRODUCT, lambda: torch.mm(left, right, out=result)), 2 * side**3


def _matrix_side(device: str, dtype: torch.dtype, model: str) -> int:
    """A side at which the product runs at its full rate, and no larger."""
    if model == "tiny":
        return 256
    if torch.device(device).type == "cuda":
        return 8192
    return 2048 if dtype == torch.float32 else 4096
