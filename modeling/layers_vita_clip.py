"""
CLIP's attention and encoder layer as Vita-CLIP needs them, and the initialisation of weights.

In the equations of a layer the prompts are appended to the tokens, and their outputs are dropped. So they act as keys
and values only, and are computed so here: a prompt has no query, no output projection and no MLP. A layer's output is
the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.clip.modeling_clip import (
    CLIPMLP,
    CLIPAttention,
    CLIPEncoderLayer,
    CLIPModel,
    CLIPPreTrainedModel,
    eager_attention_forward,
)

from .configuration_vita_clip import VitaClipConfig, VitaClipTextConfig, VitaClipVisionConfig

PROMPT_STD = 0.02


# ---- first values ----


class LearnedPrompts(nn.Module):
    """A module with prompts of its own, which it gives their first values."""

    def init_prompts(self) -> None:
        """Fills the module's own prompts, by the functions of `transformers.initialization`."""
        raise NotImplementedError


class VitaClipPreTrainedModel(CLIPPreTrainedModel):
    """
    The common part of the whole model and its two halves. Prompts start by [`LearnedPrompts.init_prompts`], and all
    other weights as in CLIP.
    """

    config: VitaClipConfig
    base_model_prefix = "vita_clip"
    input_modalities: tuple[str, ...] = ("video", "text")
    _no_split_modules = [  # noqa: RUF012 - a class variable by transformers' contract
        "CLIPTextEmbeddings",
        "ClassPrompts",
        "VitaClipTextLayer",
        "VitaClipVisionEmbeddings",
        "VitaClipVisionLayer",
    ]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, LearnedPrompts):
            module.init_prompts()
        elif isinstance(module, CLIPModel):
            init.constant_(module.logit_scale, module.config.logit_scale_init_value)


# ---- where torch records a graph ----


def in_graph() -> bool:
    """Whether torch records a graph (`torch.compile`, `torch.export`, `torch.jit.trace`), whose sizes are fixed."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


# ---- attention ----


@dataclass(frozen=True)
class PromptRows:
    """
    The prompts of a layer as rows of one matrix. A prompt that several sequences share is one row, so its key and
    value are computed once.

    Args:
        rows: `(R, D)`.
        groups: for each kind of prompt its shape `(b, t, p)`, which makes b * t * p rows: p prompts for each sequence.
            b is B, or 1 if all clips share them; t is T, or 1 if all frames of a clip share them.
        batch: `(B, T)`, for B * T sequences.
    """

    rows: torch.Tensor
    groups: Sequence[torch.Size]
    batch: torch.Size

    def append_to(self, tokens: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """
        Args:
            tokens: keys or values of the tokens of each sequence, `(B * T, S, E)`.
            rows: keys or values of the prompts, `(R, E)`.

        Returns:
            The keys or values of each sequence's tokens, followed by those of its P prompts, `(B * T, S + P, E)`.
        """
        groups = rows.split([math.prod(size) for size in self.groups])
        prompts = [
            group.view(*size, -1).expand(*self.batch, -1, -1) for group, size in zip(groups, self.groups, strict=True)
        ]
        return torch.cat([tokens.unflatten(0, self.batch), *prompts], dim=2).flatten(0, 1)


class VitaClipAttention(CLIPAttention):
    """
    CLIP's attention, with CLIP's weights. There may be fewer queries than tokens that give keys and values, and
    prompts give keys and values too.
    """

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        key_value_states: torch.Tensor | None = None,
        prompts: PromptRows | None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """
        Args:
            hidden_states: the tokens that give queries, `(N, Q, D)`.
            attention_mask: in the form of the attention backend; `None` lets all see all, unless `is_causal`.
            key_value_states: the tokens that give keys and values, `(N, S, D)`; by default `hidden_states`.
            prompts: P for each sequence; their keys stand behind those of the tokens.

        Returns:
            `(N, Q, D)`, and the attention weights `(N, heads, Q, S + P)`, or `None` if the backend gives none.
        """
        sources = hidden_states if key_value_states is None else key_value_states
        queries, keys, values = self.q_proj(hidden_states), self.k_proj(sources), self.v_proj(sources)
        if prompts is not None:
            keys = prompts.append_to(keys, self.k_proj(prompts.rows))
            values = prompts.append_to(values, self.v_proj(prompts.rows))
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        heads = [self._split_heads(tokens) for tokens in (queries, keys, values)]
        dropout = self.dropout if self.training else 0.0
        attended, weights = attend(self, *heads, attention_mask, scaling=self.scale, dropout=dropout, **kwargs)
        return self.out_proj(attended.flatten(2)), weights

    def _split_heads(self, tokens: torch.Tensor) -> torch.Tensor:
        """`(N, S, D)` -> `(N, heads, S, D / heads)`."""
        return tokens.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


# ---- the encoder layer ----


class QuickGELU(nn.Module):
    """
    CLIP's activation `"quick_gelu"`, a(h) = h sigmoid(1.702 h), as silu(u) / 1.702 of u = 1.702 h.

    Since silu(u) = u sigmoid(u), the two are equal, as long as u does not overflow (in float16: |h| < 38,000). For the
    backward pass torch keeps only u; the plain form keeps two tensors of this size, the largest of the layer.
    """

    SLOPE = 1.702

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Any shape -> the same."""
        scaled = self.SLOPE * hidden_states
        return nn.functional.silu(scaled, inplace=not scaled.requires_grad).mul_(1 / self.SLOPE)


class VitaClipEncoderLayer(CLIPEncoderLayer):
    """CLIP's layer with CLIP's weights. It also takes prompts, and can compute its output for one token only."""

    def __init__(self, config: VitaClipVisionConfig | VitaClipTextConfig):
        GradientCheckpointingLayer.__init__(self)
        self.embed_dim = config.hidden_size
        self.self_attn = VitaClipAttention(config)
        self.layer_norm1 = nn.LayerNorm(self.embed_dim, eps=config.layer_norm_eps)
        self.mlp = CLIPMLP(config)
        self.layer_norm2 = nn.LayerNorm(self.embed_dim, eps=config.layer_norm_eps)
        if config.hidden_act == "quick_gelu":
            self.mlp.activation_fn = QuickGELU()

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
            attention_mask: in the form of the attention backend.
            prompts: of this layer, before its layer norm.
            read_position: the token of each sequence for which the output is computed (see [`read_tokens`]); the
                others give keys and values. The last layer of a tower uses it.

        Returns:
            `(N, S, D)`, or the tokens at `read_position`, `(N, 1, D)`.
        """
        sources = as_autocast(self.layer_norm1(hidden_states))
        queries = sources
        if read_position is not None:
            hidden_states = read_tokens(hidden_states, read_position)
            queries = read_tokens(sources, read_position)
        if prompts is not None:
            prompts = replace(prompts, rows=as_autocast(self.layer_norm1(prompts.rows)))
        attended, _ = self.self_attn(queries, attention_mask, key_value_states=sources, prompts=prompts, **kwargs)
        hidden_states = hidden_states + attended  # (5) of the vision side
        return hidden_states + self.mlp(self.layer_norm2(hidden_states))  # (6)


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


def as_autocast(tokens: torch.Tensor) -> torch.Tensor:
    """
    The tokens in the type that `torch.autocast` gives a matrix product. They are cast once for the three products of
    an attention, which would cast them three times.
    """
    device = tokens.device.type
    # torch knows no autocast for tensors without memory.
    if device == "meta" or tokens.dtype == torch.float64 or not torch.is_autocast_enabled(device):
        return tokens
    return tokens.to(torch.get_autocast_dtype(device))
