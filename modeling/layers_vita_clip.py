"""
CLIP's attention and encoder layer with the two freedoms Vita-CLIP needs, and the attention that makes summary tokens.

In the equations of a layer the prompts are appended to the tokens, and what comes out at their places is dropped. So
they act as keys and values only, and that is how they are computed here: no queries, no output projection and no MLP
for a prompt. What a layer puts out is the same.
"""

from functools import partial

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.clip.modeling_clip import CLIPAttention, CLIPEncoderLayer

from .activations_vita_clip import VitaClipMLP, as_autocast
from .attention_functions_vita_clip import attention_function, padding_of_keys
from .configuration_vita_clip import VitaClipTextConfig, VitaClipVisionConfig
from .shared_start_vita_clip import SharedStart

KeysValues = tuple[torch.Tensor, torch.Tensor]


def read_tokens(hidden_states: torch.Tensor, position: int | torch.Tensor) -> torch.Tensor:
    """
    One token of each sequence.

    Args:
        hidden_states: `(N, S, D)`.
        position: the same place in every sequence, or a place for each, `(N, 1)`.

    Returns:
        `(N, 1, D)`.
    """
    if isinstance(position, int):
        return hidden_states[:, position : position + 1]
    return hidden_states.take_along_dim(position[..., None], dim=1)


class VitaClipAttention(CLIPAttention):
    """
    CLIP's attention, with CLIP's weights, in which the tokens that ask may be fewer than the tokens that are asked,
    and keys and values computed elsewhere may stand beside the latter's.
    """

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        key_value_states: torch.Tensor | None = None,
        prompt_keys_values: KeysValues | None = None,
        shared_start: SharedStart | None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """
        Args:
            hidden_states: the tokens that ask, `(N, Q, D)`.
            attention_mask: as the chosen attention backend takes it; `None` lets all see all.
            key_value_states: the tokens that are asked, `(N, S, D)`; by default those that ask.
            prompt_keys_values: keys and values of prompts, `(N, P, D)` each.
            shared_start: given where the tokens of several texts stand in one row; says what the mask then is.

        Returns:
            `(N, Q, D)`, and the attention weights `(N, heads, Q, S + P)` where the backend gives them, else `None`.
        """
        sources = hidden_states if key_value_states is None else key_value_states
        keys, values = self.project_keys_values(sources)
        queries = self.q_proj(hidden_states)
        if shared_start is not None:
            assert attention_mask is not None, "what a text sees of a shared start is said by a mask"
            attend = partial(self._attend, **kwargs)
            return self.out_proj(shared_start.attend(attend, queries, keys, values, attention_mask)), None
        if prompt_keys_values is not None:
            num_keys = keys.shape[1] + prompt_keys_values[0].shape[1]
            padding = padding_of_keys(self.config._attn_implementation, keys, num_keys, attention_mask)
            keys = torch.cat([keys, prompt_keys_values[0], *padding.rows], dim=1)
            values = torch.cat([values, prompt_keys_values[1], *padding.rows], dim=1)
            attention_mask = padding.mask
        attended, weights = self._attend(queries, keys, values, attention_mask, **kwargs)
        return self.out_proj(attended), weights

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

    def project_keys_values(self, tokens: torch.Tensor) -> KeysValues:
        """Keys and values of `tokens`, `(..., D)` each."""
        return self.k_proj(tokens), self.v_proj(tokens)

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
    """CLIP's layer, with CLIP's weights: `prompt_keys_values` stand beside its tokens; only one token may be read."""

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
        prompt_keys_values: KeysValues | None = None,
        read_position: int | torch.Tensor | None = None,
        **kwargs,
    ) -> torch.Tensor:
        """
        Args:
            hidden_states: `(N, S, D)`.
            attention_mask: as the attention backend takes it.
            prompt_keys_values: keys and values of prompts, `(N, P, D)` each.
            read_position: compute the layer for this token of each sequence alone (see [`read_tokens`]). The last
                layer is read at one token; the others serve it as keys and values.

        Returns:
            `(N, S, D)`, or `(N, 1, D)` with `read_position`.
        """
        (sources,) = as_autocast(self.layer_norm1(hidden_states))
        asking = sources
        if read_position is not None:
            hidden_states = read_tokens(hidden_states, read_position)
            asking = read_tokens(sources, read_position)
        attended, _ = self.self_attn(
            asking, attention_mask, key_value_states=sources, prompt_keys_values=prompt_keys_values, **kwargs
        )
        hidden_states = hidden_states + attended
        return hidden_states + self.mlp(self.layer_norm2(hidden_states))
