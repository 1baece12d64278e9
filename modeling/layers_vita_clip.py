"""
CLIP's attention and encoder layer with the two freedoms Vita-CLIP needs, and the attention that makes summary tokens.

In the equations of a layer the prompts are appended to the tokens, and what comes out at their places is dropped. So
they act as keys and values only, and that is how they are computed here: no queries, no output projection and no MLP
for a prompt. What a layer puts out is the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.clip.modeling_clip import CLIPAttention, CLIPEncoderLayer

from .activations_vita_clip import VitaClipMLP
from .attention_functions_vita_clip import attention_function, padding_of_keys
from .attention_products_vita_clip import attention_products
from .configuration_vita_clip import VitaClipTextConfig, VitaClipVisionConfig
from .frozen_vita_clip import as_autocast, runs_only_forward
from .shared_start_vita_clip import TENSOR_MASK_BACKENDS, SharedStart


@dataclass(frozen=True)
class PromptRows:
    """
    The prompts of all sequences of a layer, one below the other: what several sequences share is there once.

    Args:
        rows: `(R, D)`.
        groups: `(b_i, t_i, p_i)` of each kind of prompt, the sizes of R rows together: p_i prompts, with b_i = B and
            t_i = T those of one sequence, with 1 in their places the same for all.
        batch: B and T.
    """

    rows: torch.Tensor
    groups: Sequence[torch.Size]
    batch: torch.Size

    @property
    def per_sequence(self) -> int:
        """P, the sum of p_i."""
        return sum(size[-1] for size in self.groups)

    def append_to(self, tokens: torch.Tensor, rows: torch.Tensor, padding: Sequence[torch.Tensor]) -> torch.Tensor:
        """
        Args:
            tokens: of each sequence, `(B * T, S, E)`.
            rows: what became of the prompts' rows, `(R, E)`.
            padding: to stand behind them, `(B * T, .., E)` each.

        Returns:
            Tokens, prompts and padding of each sequence side by side, `(B * T, S + P + .., E)`.
        """
        parts = rows.split([math.prod(size) for size in self.groups])
        wide = [
            part.view(*size, -1).expand(*self.batch, -1, -1) for part, size in zip(parts, self.groups, strict=True)
        ]
        first, *last = (own.unflatten(0, self.batch) for own in (tokens, *padding))
        return torch.cat([first, *wide, *last], dim=2).flatten(0, 1)


def read_tokens(hidden_states: torch.Tensor, position: int | torch.Tensor) -> torch.Tensor:
    """
    One token of each sequence.

    Args:
        hidden_states: `(N, S, D)`.
        position: the same place in every sequence, or a place for each, `(N, 1)`.

    Returns:
        `(N, 1, D)`; with places of several tokens in one sequence, `(1, M)`, those, `(1, M, D)`.
    """
    if isinstance(position, int):
        return hidden_states[:, position : position + 1]
    return hidden_states.take_along_dim(position[..., None], dim=1)


def _takes_residual(module: nn.Module) -> bool:
    """Ours, and with nobody who wants to see what it adds without what it is added to."""
    return isinstance(module, VitaClipAttention | VitaClipMLP) and runs_only_forward(module)


class VitaClipAttention(CLIPAttention):
    """
    CLIP's attention, with CLIP's weights, in which queries may be fewer than the tokens that give keys and values, and
    prompts give keys and values too.
    """

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        key_value_states: torch.Tensor | None = None,
        prompts: PromptRows | None = None,
        shared_start: SharedStart | None = None,
        residual: torch.Tensor | None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """
        Args:
            hidden_states: what gives queries, `(N, Q, D)`.
            attention_mask: as the chosen attention backend takes it; `None` lets all see all, unless `is_causal`.
            key_value_states: what gives keys and values, `(N, S, D)`; by default `hidden_states`.
            prompts: P for each sequence, which give keys and values too.
            shared_start: given where the tokens of several texts stand in one row; says what the mask then is.
            residual: `(N, Q, D)`, added to what comes out.

        Returns:
            `(N, Q, D)`, and the attention weights `(N, heads, Q, S + P)` where the backend gives them and nothing is
            shared, else `None`.
        """
        sources = hidden_states if key_value_states is None else key_value_states
        products = attention_products(self, sources, self._sums_to_one(attention_mask))
        keys, values = products.keys_and_values(sources)
        queries = products.queries(hidden_states)
        if shared_start is not None:
            assert attention_mask is not None, "what a text sees of a shared start is said by a mask"
            attend = partial(self._attend, **kwargs)
            attended, weights = shared_start.attend(attend, queries, keys, values, attention_mask), None
            return products.out(attended, residual), weights
        if prompts is not None:
            num_keys = keys.shape[1] + prompts.per_sequence
            padding = padding_of_keys(self.config._attn_implementation, keys, num_keys, attention_mask)
            key_rows, value_rows = products.keys_and_values(prompts.rows)
            keys = prompts.append_to(keys, key_rows, padding.rows)
            values = prompts.append_to(values, value_rows, padding.rows)
            attention_mask = padding.mask
        attended, weights = self._attend(queries, keys, values, attention_mask, **kwargs)
        return products.out(attended, residual), weights

    def _sums_to_one(self, attention_mask: torch.Tensor | None) -> bool:
        """
        Whether the attention weights of each query do: those of a softmax, none dropped. Under a mask a query may see
        nothing, and its weights are then zeros.
        """
        drops = self.training and self.dropout > 0
        return attention_mask is None and not drops and self.config._attn_implementation in TENSOR_MASK_BACKENDS

    def _attend(
        self,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`(N, Q, D)` queries, `(N, K, D)` keys and values -> `(N, Q, D)`, and the weights if the backend has any."""
        attended, weights = attention_function(self.config._attn_implementation, keys)(
            self,
            self._split_heads(queries),
            self._split_heads(keys),
            self._split_heads(values),
            attention_mask,
            scaling=self.scale,
            dropout=self.dropout if self.training else 0.0,
            **kwargs,
        )
        return attended.flatten(2), weights

    def _split_heads(self, tokens: torch.Tensor) -> torch.Tensor:
        """`(N, S, D)` -> `(N, heads, S, D / heads)`."""
        return tokens.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class SummaryAttention(VitaClipAttention):
    """
    Attention over the frames of a clip, Eq. (4) of the paper. Where `summary_attention_dim` is set, its queries, keys
    and values have that width instead of the model's: the compact variant.
    """

    def __init__(self, config: VitaClipVisionConfig):
        nn.Module.__init__(self)
        self.config = config
        self.embed_dim = config.hidden_size
        inner_dim = config.summary_attention_dim or config.hidden_size
        self.num_heads = config.summary_attention_heads
        self.head_dim = inner_dim // self.num_heads
        self.scale = self.head_dim**-0.5
        self.dropout = config.attention_dropout
        self.is_causal = False

        self.k_proj = nn.Linear(self.embed_dim, inner_dim)
        self.v_proj = nn.Linear(self.embed_dim, inner_dim)
        self.q_proj = nn.Linear(self.embed_dim, inner_dim)
        self.out_proj = nn.Linear(inner_dim, self.embed_dim)


class VitaClipEncoderLayer(CLIPEncoderLayer):
    """CLIP's layer, with CLIP's weights: prompts stand beside its tokens, and only one token may be read."""

    def __init__(self, config: VitaClipVisionConfig | VitaClipTextConfig):
        GradientCheckpointingLayer.__init__(self)
        self.embed_dim = config.hidden_size
        self.self_attn = VitaClipAttention(config)
        self.layer_norm1 = nn.LayerNorm(self.embed_dim, eps=config.layer_norm_eps)
        self.mlp = VitaClipMLP(config)
        self.layer_norm2 = nn.LayerNorm(self.embed_dim, eps=config.layer_norm_eps)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        prompts: PromptRows | None = None,
        read_position: int | torch.Tensor | None = None,
        **kwargs,
    ) -> torch.Tensor:
        """
        Args:
            hidden_states: `(N, S, D)`.
            attention_mask: as the attention backend takes it.
            prompts: of this layer, before its layer norm.
            read_position: compute the layer for this token of each sequence alone (see [`read_tokens`]). The last
                layer is read at one token; the others serve it as keys and values.

        Returns:
            `(N, S, D)`, or with `read_position` what [`read_tokens`] reads.
        """
        (sources,) = as_autocast(self.layer_norm1(hidden_states))
        queries = sources
        if read_position is not None:
            hidden_states = read_tokens(hidden_states, read_position)
            queries = read_tokens(sources, read_position)
        if prompts is not None:
            prompts = replace(prompts, rows=self.layer_norm1(prompts.rows))
        kwargs = {**kwargs, "key_value_states": sources, "prompts": prompts}
        # A sum within a product saves a pass; where a hook wants to see what is added, it is made beside it.
        if _takes_residual(self.self_attn):
            hidden_states, _ = self.self_attn(queries, attention_mask, residual=hidden_states, **kwargs)
        else:
            hidden_states = hidden_states + self.self_attn(queries, attention_mask, **kwargs)[0]
        tokens = self.layer_norm2(hidden_states)
        return self.mlp(tokens, hidden_states) if _takes_residual(self.mlp) else hidden_states + self.mlp(tokens)
