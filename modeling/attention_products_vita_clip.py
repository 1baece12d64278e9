"""Attention's four linear layers, W_q, W_k, W_v and W_o, in the three ways that they are computed."""

import torch
from torch import nn
from transformers.models.clip.modeling_clip import CLIPAttention

from .frozen_vita_clip import may_bypass, plus
from .fused_linear_vita_clip import fused_linear, may_fuse


def attention_products(attention: CLIPAttention, tokens: torch.Tensor, sums_to_one: bool) -> "AttentionProducts":
    """
    The fastest way that `tokens`, `(N, S, D)`, and the state of the layers permit. Fused products come first: in them
    a bias costs nothing.

    Args:
        sums_to_one: whether the attention weights of each query sum to 1.
    """
    layers = (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj)
    if may_fuse(tokens, *layers):
        return FusedProducts(attention)
    if sums_to_one and may_bypass(tokens, *layers[1:]):
        return ProductsWithMovedBiases(attention)
    return AttentionProducts(attention)


class AttentionProducts:
    """The layers are called."""

    def __init__(self, attention: CLIPAttention):
        self.attention = attention

    def queries(self, tokens: torch.Tensor) -> torch.Tensor:
        """`(N, Q, D)` -> `(N, Q, E)`."""
        return self._product(self.attention.q_proj, tokens)

    def keys_and_values(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(..., D)` -> `(..., E)` each."""
        return self._product(self.attention.k_proj, tokens), self._product(self.attention.v_proj, tokens)

    def out(self, attended: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor:
        """residual + W_o attended + b_o: `(N, Q, E)` and `(N, Q, D)` or nothing -> `(N, Q, D)`."""
        return self._product(self.attention.out_proj, attended, residual)

    def _product(self, layer: nn.Linear, tokens: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        return plus(residual, layer(tokens))


class FusedProducts(AttentionProducts):
    """Biases and residual are added within the products (see [`fused_linear`])."""

    def _product(self, layer: nn.Linear, tokens: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        return fused_linear(tokens, layer.weight, layer.bias, residual)


class ProductsWithMovedBiases(AttentionProducts):
    """
    Two biases are not added to every token. That of the keys shifts all scores of a query alike, which softmax does
    not see; that of the values passes through, because a query's weights p_j sum to 1:

        q (k_j + b_k) = q k_j + q b_k,    W_o sum_j p_j (v_j + b_v) + b_o = W_o sum_j p_j v_j + (W_o b_v + b_o)
    """

    def keys_and_values(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(..., D)` -> `(..., E)` each, without biases."""
        return (
            nn.functional.linear(tokens, self.attention.k_proj.weight),
            nn.functional.linear(tokens, self.attention.v_proj.weight),
        )

    def out(self, attended: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor:
        """As ever; W_o b_v joins b_o, and the residual takes the bias's place."""
        layer = self.attention.out_proj
        bias = nn.functional.linear(self.attention.v_proj.bias, layer.weight, layer.bias)
        if residual is None or not residual.dtype == attended.dtype == layer.weight.dtype:
            return plus(residual, nn.functional.linear(attended, layer.weight, bias))
        start = residual.flatten(0, -2) + bias  # a new tensor: the caller's stays as it is
        return start.addmm_(attended.flatten(0, -2), layer.weight.t()).view_as(residual)
