"""Which function computes softmax(Q K^T / sqrt(d)) V: the configured one, save where torch's is slow on the CPU."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.autograd.function import once_differentiable
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.clip.modeling_clip import eager_attention_forward

from .graphs_vita_clip import in_graph, in_transform

# Keys up to which plain products are taken: measured at 20 (faster) and 200 (slower), set between them.
MAX_SHORT_KEYS = 64
# Keys that torch's kernel for the CPU takes at once, the rows of a matrix tile. From 197 to 288 all multiples of 16
# were measured to be fast. Larger blocks cost small images: for 67 keys 80 are as fast, 96 up to a quarter slower.
BLOCK = 16
# Attention weights recomputed at once: 4 MiB in bfloat16, which stay in the processor's caches.
MAX_SCORES_AT_ONCE = 2**21


def attention_function(name: str, keys: torch.Tensor) -> Callable:
    """
    The attention function called `name`, for keys `(N, S, D)`.

    torch's fused attention, `"sdpa"`, saves the memory of the scores by working block by block. On the CPU in bfloat16
    plain matrix products are three times as fast for a class name's 20 keys, where there is little to save, forwards
    and backwards. For a frame's 200 the fused kernel is faster forwards, and takes twice as long as plain products
    backwards. A graph may hold the first function, which is made of torch's operations, but not the second, whose
    gradient is written by hand.
    """
    if _is_fused_on_cpu(name, keys) and keys.dtype == torch.bfloat16:
        if keys.shape[1] <= MAX_SHORT_KEYS:
            return short_attention_forward
        if torch.is_grad_enabled() and not in_graph() and not in_transform():
            return long_attention_forward
    return ALL_ATTENTION_FUNCTIONS.get_interface(name, eager_attention_forward)


def _is_fused_on_cpu(name: str, keys: torch.Tensor) -> bool:
    return name == "sdpa" and keys.device.type == "cpu"


@dataclass(frozen=True)
class KeyPadding:
    """
    Args:
        rows: to append to keys and to values: one tensor of zeros, or none.
        mask: `(1, 1, 1, S)`, to add to the scores: for what is appended the lowest number there is (torch's kernel
            takes a tenth longer for a mask of truth values). Where nothing is appended the caller's mask, unchanged.
    """

    rows: list[torch.Tensor]
    mask: torch.Tensor | None


def padding_of_keys(name: str, keys: torch.Tensor, num_keys: int, mask: torch.Tensor | None) -> KeyPadding:
    """
    Keys that no query sees, so that there is a whole number of blocks. With prompts there seldom is, and without them
    the caller's keys would have to be copied for it.

    torch's fused attention on the CPU takes twice as long for a frame's 197 tokens and 17 prompts, 214 keys, as for
    224 of which 10 are masked, in bfloat16; in float32 it gains a seventh.

    Args:
        name: of the attention function.
        keys: `(N, S, D)`, for N, D, type and device.
        num_keys: S and the prompts'.
        mask: the caller's. Where there is one, nothing is appended.
    """
    # What is exported or traced may run elsewhere, and with other numbers of frames.
    may_pad = _is_fused_on_cpu(name, keys) and not torch.compiler.is_exporting() and not torch.jit.is_tracing()
    missing = -num_keys % BLOCK
    if not may_pad or not missing or mask is not None or num_keys <= MAX_SHORT_KEYS:
        return KeyPadding([], mask)
    mask = keys.new_zeros(1, 1, 1, num_keys + missing)
    mask[..., num_keys:] = torch.finfo(keys.dtype).min
    return KeyPadding([keys.new_zeros(keys.shape[0], missing, keys.shape[2])], mask)


def short_attention_forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    is_causal: bool = False,
    **kwargs,
) -> tuple[torch.Tensor, None]:
    """
    As transformers' `"sdpa"`, with its masks: true where a query sees a key, or `None` and `is_causal`. A query that
    sees no key gives zeros, as there.
    """
    num_queries, num_keys = query.shape[2], key.shape[2]
    blind = None
    if attention_mask is None and is_causal and num_queries > 1:  # every query sees itself
        attention_mask = torch.ones(num_queries, num_keys, dtype=torch.bool, device=query.device).tril()
    elif attention_mask is not None and attention_mask.dtype == torch.bool:
        blind = ~attention_mask.any(dim=-1)  # (N, heads or 1, Q)
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        lowest = torch.finfo(query.dtype).min
        attention_mask = torch.zeros_like(attention_mask, dtype=query.dtype).masked_fill(~attention_mask, lowest)
    attended, _ = eager_attention_forward(module, query, key, value, attention_mask, **kwargs)
    if blind is not None and (in_graph() or blind.any()):  # rare: not worth a pass over all of `attended`
        attended = attended.masked_fill(blind.transpose(1, 2)[..., None], 0)
    return attended, None


def long_attention_forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    is_causal: bool = False,
    **kwargs,
) -> tuple[torch.Tensor, None]:
    """As transformers' `"sdpa"`, with [`RecomputedAttention`]'s backward pass where all queries see the same keys."""
    if dropout or is_causal or not (attention_mask is None or _is_same_for_all(attention_mask, query)):
        fused = ALL_ATTENTION_FUNCTIONS["sdpa"]
        return fused(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, is_causal=is_causal, **kwargs
        )
    attended = RecomputedAttention.apply(query, key, value, attention_mask, scaling)
    return attended.transpose(1, 2).contiguous(), None


def _is_same_for_all(mask: torch.Tensor, query: torch.Tensor) -> bool:
    """Added to the scores of every query alike, and not learned."""
    return mask.shape[:-1] == (1, 1, 1) and mask.dtype == query.dtype and not mask.requires_grad


class RecomputedAttention(torch.autograd.Function):
    """
    O = P V with P = softmax(s Q K^T), forwards by torch's fused kernel, which keeps no P. Backwards P is computed once
    more, from a few sequences at a time, and by plain matrix products; 1 is a column of ones, which sums rows:

        dV = P^T dO,    dP = dO V^T,    dS = P * (dP - (P * dP) 1),    dQ = s dS K,    dK = s dS^T Q

    Neither P nor O is kept. In bfloat16 P comes of rounded scores, so that gradients are those of eager attention.
    There is no second derivative.
    """

    @staticmethod
    def forward(query, key, value, mask, scale) -> torch.Tensor:
        """
        Args:
            query, key, value: `(N, heads, Q, d)`, `(N, heads, S, d)` and the same.
            mask: `(1, 1, 1, S)`, added to the scores, without a gradient of its own; or `None`.
            scale: s.

        Returns:
            `(N, heads, Q, d)`.
        """
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, mask, scale=scale)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        *tensors, ctx.scale = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, mask = ctx.saved_tensors
        mask = query.new_zeros(1, 1, 1) if mask is None else mask[0]
        # Laid out as the projections behind take them: (N, Q, heads, d).
        grads = [part.new_empty(part.transpose(1, 2).shape).transpose(1, 2) for part in (query, key, value)]
        step = max(1, MAX_SCORES_AT_ONCE // (query.shape[1] * query.shape[2] * key.shape[2]))
        parts = zip(*(part.split(step) for part in (query, key, value, grad, *grads)), strict=True)
        for q, k, v, do, *results in parts:
            sequences_and_heads = q.shape[:2]
            q, k, v, do = (part.flatten(0, 1) for part in (q, k, v, do))
            part_grads = _attention_grads(q, k, v, do, mask, ctx.scale)
            for result, part_grad in zip(results, part_grads, strict=True):
                result.copy_(part_grad.unflatten(0, sequences_and_heads))
        return *grads, None, None


def _attention_grads(query, key, value, grad, mask: torch.Tensor, scale: float) -> tuple[torch.Tensor, ...]:
    """dQ, dK and dV of Q, K, V and dO, `(n, Q, d)` and `(n, S, d)`; `mask` is added to the scores."""
    weights = torch.baddbmm(mask, query, key.transpose(1, 2), alpha=scale).softmax(-1)  # P
    grad_value = weights.transpose(1, 2) @ grad
    grad_weights = torch.baddbmm(mask, grad, value.transpose(1, 2), alpha=scale, beta=0)  # s dP, nothing added
    grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)  # s dS, summed in float32
    return grad_scores @ key, grad_scores.transpose(1, 2) @ query, grad_value
