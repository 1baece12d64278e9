"""
The vision side of Vita-CLIP: CLIP's vision transformer with summary, local and global prompts in every layer.

A layer takes the tokens z_t of each frame t, of which z_{t,0} is the class token, and computes

    (1)  c_t = W z_{t,0} + b                            the projected class token, shared by (2) and (3)
    (2)  S = c + MHSA(LN(c)) over the frames            the summary tokens: s_t for frame t
    (3)  l_hat_t = l_t + c_t                            the local prompts: every frame sees those of all frames
    (4)  G                                              the global prompts, the same for every frame
    (5)  z_t + attention(LN1([z_t, s_t, G, l_hat]))     CLIP's frozen attention; s_t, G and l_hat are dropped after it
    (6)  z_t + MLP(LN2(z_t))                            CLIP's frozen MLP

[`VisualPrompts`] computes (1) to (4), and [`VitaClipEncoderLayer`] (5) and (6). The paper (section 3.2) adds z_{t,0}
in (3) in place of c_t; the released code adds c_t. `local_prompt_condition` chooses.
"""

import math
from typing import Any

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.clip.modeling_clip import (
    CLIPEncoder,
    CLIPPreTrainedModel,
    CLIPVisionEmbeddings,
    CLIPVisionModel,
)
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .configuration_vita_clip import VitaClipVisionConfig
from .layers_vita_clip import (
    PROMPT_STD,
    LearnedPrompts,
    PromptRows,
    VitaClipAttention,
    VitaClipEncoderLayer,
    VitaClipPreTrainedModel,
    in_graph,
)

CLASS_TOKEN = 0


# ---- pixels to tokens ----


def as_clips(pixel_values: torch.Tensor, num_channels: int) -> torch.Tensor:
    """
    Clips, `(B, T, C, H, W)`, from clips or from images, `(B, C, H, W)`, which are clips of one frame.

    Raises:
        ValueError: `pixel_values` of another shape, or with NaN or infinite values (checked on the CPU only: elsewhere
            the check would wait for the device).
    """
    if pixel_values.ndim == 4:
        pixel_values = pixel_values[:, None]
    if pixel_values.ndim != 5 or pixel_values.shape[2] != num_channels:
        raise ValueError(
            f"pixel_values must be clips of shape (batch, frames, {num_channels}, height, width), or images without "
            f"the frames; found {tuple(pixel_values.shape)}."
        )
    if 0 in pixel_values.shape[:2]:
        raise ValueError(f"pixel_values holds no clip or no frame: its shape is {tuple(pixel_values.shape)}.")
    if pixel_values.device.type == "cpu" and pixel_values.is_floating_point() and not in_graph():
        _check_finite(pixel_values)
    return pixel_values


def _check_finite(clips: torch.Tensor) -> None:
    # The sum is finite if all values are; only otherwise are they searched.
    if not torch.isfinite(clips.sum(dtype=torch.float32)):
        bad = (~torch.isfinite(clips)).flatten(2).any(-1).nonzero()
        where = f"first in clip {bad[0, 0]}, frame {bad[0, 1]}" if len(bad) else "their sum overflows"
        raise ValueError(f"pixel_values has NaN or infinite values ({where}).")


class VitaClipVisionEmbeddings(LearnedPrompts, CLIPVisionEmbeddings):
    """CLIP's embeddings of every frame, plus the learned embedding e_t of the frame's place in the clip."""

    def __init__(self, config: VitaClipVisionConfig):
        super().__init__(config)
        embedding = torch.empty(config.num_frames, config.hidden_size) if config.use_temporal_embedding else None
        self.temporal_embedding = None if embedding is None else nn.Parameter(embedding)

    def init_prompts(self) -> None:
        """N(0, 0.02)."""
        if self.temporal_embedding is not None:
            init.normal_(self.temporal_embedding, std=PROMPT_STD)

    def forward(self, pixel_values: torch.Tensor, interpolate_pos_encoding: bool = False) -> torch.Tensor:
        """`(B, T, 3, H, W)` -> `(B * T, 1 + patches, D)`."""
        num_frames = pixel_values.shape[1]
        embeddings = super().forward(pixel_values.flatten(0, 1), interpolate_pos_encoding)
        if self.temporal_embedding is None:
            return embeddings
        place = resample_frames(self.temporal_embedding, num_frames).to(embeddings.dtype)
        return (embeddings.unflatten(0, (-1, num_frames)) + place[:, None]).flatten(0, 1)


def resample_frames(per_frame: torch.Tensor, num_frames: int) -> torch.Tensor:
    """
    The learned vectors of each frame, `(T, D)`, for a clip of `num_frames` frames, `(num_frames, D)`: the nearest in
    time, as in the released code.
    """
    trained_frames = per_frame.shape[0]
    if num_frames == trained_frames:
        return per_frame
    nearest = torch.arange(num_frames, device=per_frame.device) * trained_frames // num_frames
    return per_frame[nearest]


# ---- prompts ----


class SummaryAttention(VitaClipAttention):
    """
    The attention over the frames of a clip in (2). If `summary_attention_dim` is set, its queries, keys and values
    have that width in place of the model's: the compact variant.
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


class VisualPrompts(LearnedPrompts):
    """The prompts of one vision layer: everything that is learned there."""

    def __init__(self, config: VitaClipVisionConfig):
        super().__init__()
        self.config = config
        width = config.hidden_size
        if config.uses_cls_projection:
            self.cls_projection = _make_cls_projection(width, config.cls_projection_rank)
        if config.use_summary_token:
            self.summary_layer_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
            self.summary_attn = SummaryAttention(config)
        if config.use_global_prompts:
            self.global_prompts = nn.Parameter(torch.empty(config.num_global_prompts, width))
        if config.use_local_prompts:
            self.local_prompts = nn.Parameter(torch.empty(config.num_frames, width))

    def init_prompts(self) -> None:
        """Global and local prompts from uniform(-v, v), the projection by torch's default for linear layers."""
        config = self.config
        bound = visual_prompt_bound(config.patch_size, config.hidden_size)
        if config.use_global_prompts:
            init.uniform_(self.global_prompts, -bound, bound)
        if config.use_local_prompts:
            init.uniform_(self.local_prompts, -bound, bound)
        if config.uses_cls_projection:
            for linear in self.cls_projection.modules():
                if isinstance(linear, nn.Linear):
                    _init_as_torch(linear)

    def forward(self, class_tokens: torch.Tensor) -> list[torch.Tensor]:
        """
        Args:
            class_tokens: z_{t,0}, the class token of each frame as it enters the layer, `(B, T, D)`.

        Returns:
            The prompts, each as small as its meaning allows and broadcastable to `(B, T, prompts, D)`: summary tokens
            differ by frame `(B, T, 1, D)`, local prompts by clip `(B, 1, T, D)`, global ones not at all
            `(1, 1, M_v, D)`. They are computed in the precision of the learned weights and returned in that of
            `class_tokens`.
        """
        config, base_dtype = self.config, class_tokens.dtype
        class_tokens = class_tokens.to(self._own_dtype(base_dtype))
        prompts: list[torch.Tensor] = []
        projected: Any = self.cls_projection(class_tokens) if config.uses_cls_projection else None  # (1)
        if config.use_summary_token:
            attended, _ = self.summary_attn(self.summary_layer_norm(projected))  # (2)
            prompts.append((projected + attended)[:, :, None])
        if config.use_local_prompts:
            condition = class_tokens if config.local_prompt_condition == "class_token" else projected
            local_prompts = resample_frames(self.local_prompts, class_tokens.shape[1])
            prompts.append((local_prompts + condition)[:, None])  # (3)
        if config.use_global_prompts:
            prompts.append(self.global_prompts[None, None])  # (4)
        return [prompt.to(base_dtype) for prompt in prompts]

    def _own_dtype(self, base_dtype: torch.dtype) -> torch.dtype:
        """
        The precision of the learned weights that meet the class tokens; the base may be stored in another. The weights
        are named here because replicas of `DataParallel` have no `parameters()`, and linear layers may be quantized.
        """
        if self.config.use_summary_token:
            return self.summary_layer_norm.weight.dtype
        return self.local_prompts.dtype if self.config.use_local_prompts else base_dtype


def _make_cls_projection(width: int, rank: int | None) -> nn.Module:
    """W and b of (1), with W factored if there is a rank: the compact variant."""
    if rank is None:
        return nn.Linear(width, width)
    return nn.Sequential(nn.Linear(width, rank, bias=False), nn.Linear(rank, width))


def visual_prompt_bound(patch_size: int, hidden_size: int) -> float:
    """v of the prompts' uniform(-v, v): sqrt(6 / (3 * P * P + D)), with patches of P pixels and the width D."""
    return math.sqrt(6 / (3 * patch_size * patch_size + hidden_size))


def _init_as_torch(linear: nn.Linear) -> None:
    init.kaiming_uniform_(linear.weight, a=math.sqrt(5))
    if linear.bias is not None:
        bound = 1 / math.sqrt(linear.in_features)
        init.uniform_(linear.bias, -bound, bound)


# ---- the tower ----


class VitaClipVisionLayer(VitaClipEncoderLayer):
    """A vision layer: CLIP's, frozen, and its prompts."""

    def __init__(self, config: VitaClipVisionConfig):
        super().__init__(config)
        self.prompts = VisualPrompts(config)

    def forward(  # type: ignore[override]  # prompts are made here from the clip, and are no argument
        self,
        hidden_states: torch.Tensor,
        num_frames: int,
        read_position: int | None = None,
        **kwargs,
    ) -> torch.Tensor:
        """As [`VitaClipEncoderLayer`], on the frames of clips of `num_frames` frames: N = B * T."""
        prompts = self._prompt_rows(hidden_states, num_frames)
        return super().forward(hidden_states, None, prompts, read_position, **kwargs)

    def _prompt_rows(self, hidden_states: torch.Tensor, num_frames: int) -> PromptRows | None:
        class_tokens = hidden_states[:, CLASS_TOKEN].unflatten(0, (-1, num_frames))
        prompts = self.prompts(class_tokens)
        if not prompts:
            return None
        rows = torch.cat([group.flatten(0, 2) for group in prompts])
        return PromptRows(rows, [group.shape[:-1] for group in prompts], class_tokens.shape[:2])


class VitaClipVisionEncoder(CLIPEncoder):
    """CLIP's encoder over layers with prompts."""

    def __init__(self, config: VitaClipVisionConfig):
        nn.Module.__init__(self)
        self.config = config
        self.layers = nn.ModuleList([VitaClipVisionLayer(config) for _ in range(config.num_hidden_layers)])
        self.gradient_checkpointing = False

    def forward(
        self, hidden_states: torch.Tensor, num_frames: int, all_tokens: bool = False, **kwargs
    ) -> torch.Tensor:
        """`(B * T, S, D)` -> the same, or `(B * T, 1, D)`, the class tokens, unless `all_tokens`."""
        for layer in self.layers[:-1]:
            hidden_states = layer(hidden_states, num_frames, **kwargs)
        # The model reads the class token of the last layer alone.
        return self.layers[-1](hidden_states, num_frames, None if all_tokens else CLASS_TOKEN, **kwargs)


class VitaClipVisionModel(VitaClipPreTrainedModel, CLIPVisionModel):
    """CLIP's vision model for clips: parameters that it inherits keep CLIP's names."""

    config: VitaClipVisionConfig
    base_model_prefix = "vision_model"  # of its weights in a whole model, from which it can be loaded alone
    input_modalities = ("video",)
    _can_record_outputs = {  # noqa: RUF012 - a class variable by transformers' contract
        "hidden_states": VitaClipVisionLayer,
        "attentions": OutputRecorder(VitaClipAttention, 1, "self_attn"),
    }

    def __init__(self, config: VitaClipVisionConfig):
        CLIPPreTrainedModel.__init__(self, config)
        self.embeddings = VitaClipVisionEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.encoder = VitaClipVisionEncoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        pixel_values: torch.Tensor,
        interpolate_pos_encoding: bool = False,
        all_tokens: bool = False,
        **kwargs,
    ) -> BaseModelOutputWithPooling:
        """
        Args:
            pixel_values: clips, `(B, T, 3, H, W)`.
            interpolate_pos_encoding: accepts another resolution than the configured one.
            all_tokens: computes the last layer for the patches too, which the model itself does not read.

        Returns:
            `last_hidden_state` `(B * T, 1, D)`, or `(B * T, 1 + patches, D)` with `all_tokens`, and `pooler_output`,
            the normalised class tokens `(B, T, D)`. `hidden_states` are `num_hidden_layers + 1` tensors
            `(B * T, 1 + patches, D)`, the last of the shape of `last_hidden_state`; `attentions` are
            `(B * T, heads, queries, 1 + patches + prompts)` with as many queries.
        """
        num_frames = pixel_values.shape[1]
        hidden_states = self.embeddings(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding)
        hidden_states = self.pre_layrnorm(hidden_states)
        if self._needs_gradient_at_input():
            hidden_states.requires_grad_()
        hidden_states = self.encoder(hidden_states, num_frames, all_tokens, **kwargs)
        class_tokens = self.post_layernorm(hidden_states[:, CLASS_TOKEN])
        return BaseModelOutputWithPooling(
            last_hidden_state=hidden_states, pooler_output=class_tokens.unflatten(0, (-1, num_frames))
        )

    def _needs_gradient_at_input(self) -> bool:
        """
        Whether the input of the layers must require a gradient. Under reentrant checkpointing torch trains a layer
        only if its input requires one, and here only the temporal embedding would provide it. A graph does not need
        this.
        """
        layer = self.encoder.layers[0]
        checkpoints = self.training and layer.gradient_checkpointing and torch.is_grad_enabled()
        if not checkpoints or in_graph():
            return False
        settings = getattr(layer._gradient_checkpointing_func, "keywords", {})
        weights = list(self.encoder.parameters())
        learns = not weights or any(weight.requires_grad for weight in weights)  # a replica of DataParallel has none
        return learns and settings.get("use_reentrant") is not False  # torch's default is True
