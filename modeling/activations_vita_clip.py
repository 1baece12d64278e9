"""CLIP's MLP with fewer passes over its wide middle, and with half of what is kept for the backward pass."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from transformers.models.clip.modeling_clip import CLIPMLP

from .frozen_vita_clip import as_autocast, may_bypass, plus, runs_only_forward
from .fused_linear_vita_clip import fused_linear, may_fuse
from .graphs_vita_clip import in_graph

SLOPE = 1.702

# A wide tensor of at least twice this many bytes is computed in blocks of tokens, each of at least this many. Larger
# tensors stay neither in the processor's caches nor in the memory that the C library keeps for the next one: the
# system takes them back and clears them anew, page by page. Measured at widths of 768 and 3072 in bfloat16: a third
# less time for 12,608 tokens in blocks of some 2,000, no gain for 3,152 in two.
BLOCK_BYTES = 12 * 2**20


class VitaClipMLP(CLIPMLP):
    """
    CLIP's W2 a(W1 x + b1) + b2, with a(h) = h sigmoid(1.702 h), `"quick_gelu"`.

    h is the largest tensor of a layer, four times the model's width. Written plainly, a reads and writes it three
    times, and torch keeps two of its size for the backward pass. With u = 1.702 h the activation is silu(u) / 1.702,
    because silu(u) = u sigmoid(u), within the range of the type: in float16 |h| < 38,000. Both factors can be given to
    the matrix products beside it, where they cost nothing:

        u = 1.702 W1 x + 1.702 b1,    W2 a(h) + b2 = (1 / 1.702) W2 silu(u) + b2

    so that silu is the only pass, and, W2 being frozen, u the only wide tensor that is kept. `may_bypass` says when.
    """

    def __init__(self, config):
        super().__init__(config)
        if config.hidden_act == "quick_gelu":
            self.activation_fn = QuickGELU()

    def forward(self, hidden_states: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """`(..., D)` -> the same; plus `residual`, of the same shape, where it is given."""
        if not self._can_fold_slope(hidden_states):
            return plus(residual, super().forward(hidden_states))
        parameters = (self.fc1.weight, self.fc1.bias, self.fc2.weight, self.fc2.bias)
        tokens, *weights = as_autocast(hidden_states.reshape(-1, self.fc1.in_features), *parameters)
        if residual is None or residual.dtype != tokens.dtype:
            return plus(residual, _frozen_mlp(tokens, None, *weights).view_as(hidden_states))
        return _frozen_mlp(tokens, residual.reshape_as(tokens), *weights).view_as(residual)

    def _can_fold_slope(self, hidden_states: torch.Tensor) -> bool:
        """Whether the activation's factors can go to the products: they are not those of modules to be called."""
        activation = self.activation_fn
        is_ours = type(activation) is QuickGELU and runs_only_forward(activation)
        return is_ours and may_bypass(hidden_states, self.fc1, self.fc2)


def _frozen_mlp(tokens: torch.Tensor, residual: torch.Tensor | None, *weights: torch.Tensor) -> torch.Tensor:
    """As `_mlp`, with gradients for tokens `(N, D)` and residual `(N, D)`, and none for the weights."""
    if torch.is_grad_enabled() and tokens.requires_grad:
        return _FrozenMLP.apply(tokens, residual, *weights)[0]
    return _mlp(tokens, residual, *weights)


def _mlp(tokens, residual, weight1, bias1, weight2, bias2, u: torch.Tensor | None = None) -> torch.Tensor:
    """residual + W2 a(W1 x + b1) + b2 of tokens `(N, D)`; u `(N, 4 D)` is left in `u` where it is given."""
    out = bias2.repeat(len(tokens), 1) if residual is None else residual + bias2  # ours to add to
    for block, result, *u_block in _blocks(len(bias1), tokens, out, *([] if u is None else [u])):
        scaled = _scaled_middle(block, weight1, bias1, *u_block)
        activated = nn.functional.silu(scaled, inplace=not u_block)  # what is kept must stay as it is
        result.addmm_(activated, weight2.t(), alpha=1 / SLOPE)
    return out


def _scaled_middle(tokens, weight1, bias1, out: torch.Tensor | None = None) -> torch.Tensor:
    """u = 1.702 (W1 x + b1), `(n, 4 D)`, in `out` where it is given."""
    if out is None and may_fuse(tokens) and weight1.dtype == tokens.dtype:
        return fused_linear(SLOPE * tokens, weight1, SLOPE * bias1)  # that product takes no factor
    return torch.addmm(bias1, tokens, weight1.t(), alpha=SLOPE, beta=SLOPE, out=out)


def _blocks(width: int, *per_token: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """The same slice of every tensor `(N, ..)`, block by block of tokens; `width` is that of the MLP's middle."""
    num_tokens = len(per_token[0])
    count = max(1, num_tokens * width * per_token[0].element_size() // BLOCK_BYTES)
    return zip(*(tensor.tensor_split(count) for tensor in per_token), strict=True)


class _FrozenMLP(torch.autograd.Function):
    """
    residual + MLP(x), of x that has a gradient, with weights that have none:

        dx = W1^T (silu'(u) * W2^T dy),    d residual = dy

    in which 1.702, the slope of u, and 1 / 1.702, that of a, cancel. torch's own backward pass multiplies by both.
    There is no second derivative, and no batching rule for `torch.func.vmap`.
    """

    @staticmethod
    def forward(tokens, residual, weight1, bias1, weight2, bias2) -> tuple[torch.Tensor, torch.Tensor]:
        """`(N, D)` -> the same, and u `(N, 4 D)`: `setup_context` sees inputs and outputs alone, and is to keep it."""
        u = tokens.new_empty(len(tokens), len(bias1))
        return _mlp(tokens, residual, weight1, bias1, weight2, bias2, u), u

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        _, _, weight1, _, weight2, _ = inputs
        ctx.mark_non_differentiable(output[1])
        # No zeros are made for the gradient of u. dy may be missing then too.
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(output[1], weight1, weight2)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: torch.Tensor | None, _) -> tuple[torch.Tensor | None, ...]:
        if grad is None:
            return (None,) * 6
        u, weight1, weight2 = ctx.saved_tensors
        result = torch.empty_like(grad)
        for block, kept, out in _blocks(len(weight1), grad, u, result):
            middle = torch.ops.aten.silu_backward(block @ weight2, kept)
            torch.mm(middle, weight1, out=out)
        return result, grad if ctx.needs_input_grad[1] else None, None, None, None, None


class QuickGELU(nn.Module):
    """
    CLIP's `"quick_gelu"` where [`VitaClipMLP`] takes the plain way: in steps of which torch keeps u = 1.702 h alone.

    torch.compile fuses the formula, and chooses itself what to keep.
    """

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Any shape -> the same."""
        if in_graph():
            return hidden_states * torch.sigmoid(SLOPE * hidden_states)
        return nn.functional.silu(SLOPE * hidden_states) / SLOPE
