"""Which function computes softmax(Q K^T / sqrt(d)) V: the configured one, save where torch's is slow on the CPU."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.clip.modeling_clip import eager_attention_forward

# Keys up to which plain products are taken: measured at 20 (faster) and 200 (slower), set between them.
SHORT = 64
# What torch's kernel for the CPU works through at once; measured from 197 to 256 keys, multiples of 16 are fast.
BLOCK = 32


def attention_function(name: str, keys: torch.Tensor) -> Callable:
    """
    The attention function called `name`, for keys `(N, S, D)`.

    torch's fused attention, `"sdpa"`, saves the memory of the scores by working block by block. With a class name's 20
    keys there is little to save, and in bfloat16 on the CPU it takes over three times as long as plain matrix
    products, forward and backward; with a frame's 200 keys, or in float32, it is ahead.
    """
    on_cpu_in_bfloat16 = keys.device.type == "cpu" and keys.dtype == torch.bfloat16
    if name == "sdpa" and on_cpu_in_bfloat16 and keys.shape[1] <= SHORT:
        return short_attention_forward
    return ALL_ATTENTION_FUNCTIONS.get_interface(name, eager_attention_forward)


@dataclass(frozen=True)
class KeyPadding:
    """
    Args:
        rows: what to append to keys and to values: nothing, or one tensor of zeros.
        mask: `(1, 1, 1, S)`, false for what was appended; the caller's own where nothing was.
    """

    rows: list[torch.Tensor]
    mask: torch.Tensor | None


def padding_of_keys(name: str, keys: torch.Tensor, num_keys: int, mask: torch.Tensor | None) -> KeyPadding:
    """
    Keys that no query sees, so that there is a whole number of blocks.

    torch's fused attention on the CPU takes twice as long for a frame's 197 tokens and 17 prompts, 214 keys, as for
    224 of which 10 are masked, in bfloat16; in float32 it gains a seventh.

    Args:
        name: of the attention function.
        keys: `(N, S, D)`, for type and device.
        num_keys: with the prompts'.
        mask: the caller's. Where there is one, nothing is appended.
    """
    missing = -num_keys % BLOCK
    is_fused = name == "sdpa" and keys.device.type == "cpu" and not torch.compiler.is_compiling()
    if not is_fused or not missing or mask is not None or num_keys <= SHORT or torch.jit.is_tracing():
        return KeyPadding([], mask)
    is_key = torch.arange(num_keys + missing, device=keys.device) < num_keys
    return KeyPadding([keys.new_zeros(keys.shape[0], missing, keys.shape[2])], is_key[None, None, None])


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
    if attention_mask is None and is_causal and num_queries > 1:
        attention_mask = torch.ones(num_queries, num_keys, dtype=torch.bool, device=query.device).tril()
    elif attention_mask is not None and attention_mask.dtype == torch.bool:
        blind = ~attention_mask.any(dim=-1)  # (N, heads or 1, Q)
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        lowest = torch.finfo(query.dtype).min
        attention_mask = torch.zeros_like(attention_mask, dtype=query.dtype).masked_fill(~attention_mask, lowest)
    attended, _ = eager_attention_forward(module, query, key, value, attention_mask, **kwargs)
    in_graph = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if blind is not None and (in_graph or blind.any()):  # rare: not worth a pass over all of `attended`
        attended = attended.masked_fill(blind.transpose(1, 2)[..., None], 0)
    return attended, None
