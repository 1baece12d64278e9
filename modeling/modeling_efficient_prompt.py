"""
Efficient-Prompt (Ju et al., "Prompting Visual-Language Models for Efficient Video Understanding", ECCV 2022): a frozen
CLIP with learned vectors around class names and a small Transformer over the features of frames.

A class of n own tokens is `[SOS, e_1..e_P, name, e_{P+n+1}..e_{P+n+Q}, EOS]`: the learned vectors e are a table over
the places of the sequence, the same for all classes. CLIP's frozen text transformer is read at EOS.

Frames are embedded by the frozen CLIP one by one. A learned embedding of a frame's place in the clip is added, L
layers of attention over the frames follow, and the video is the mean of the result. Logits are cosines divided by
0.07.

All else is as in Vita-CLIP, which this file builds upon: classes, losses, checkpoints, adapters.
"""

import math
from typing import Any

import torch
from torch import nn
from transformers import CLIPVisionConfig
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.clip.modeling_clip import CLIPVisionModel
from transformers.utils.generic import can_return_tuple

from .adapter_file_vita_clip import PromptPart
from .configuration_efficient_prompt import EfficientPromptConfig, EfficientPromptTextConfig
from .layers_vita_clip import LearnedPrompts, VitaClipEncoderLayer
from .modeling_vita_clip import VitaClipForVideoClassification, VitaClipModel, VitaClipVideoFeatures
from .text_vita_clip import ClassLayout, ClassPrompts, encode_classes
from .vision_vita_clip import resample_frames

TEMPERATURE = 0.07
LOGIT_SCALE = -math.log(TEMPERATURE)
PROMPT_STD = 0.01


# ---- text ----


class SharedContexts(ClassPrompts):
    """
    The learned vectors before and behind the class names, `contexts` `(S_max, D_t)`: one for each place of a sequence
    of CLIP's longest. Names of other lengths read other rows of it behind them.

    Raises:
        ValueError: a name does not fit beside the vectors, or they leave no place for any.
    """

    config: EfficientPromptTextConfig

    def __init__(
        self,
        config: EfficientPromptTextConfig,
        label_token_ids: list[list[int]] | None,
        label_names: list[str] | None = None,
    ):
        limit = config.max_position_embeddings - 3  # start token, one token of a name and end token
        if config.text_prompt_length > limit:
            raise ValueError(
                f"prefix_length={config.prefix_length} and suffix_length={config.suffix_length} leave no place for a "
                f"name in the text encoder; together they may be {limit} at most."
            )
        super().__init__(config, label_token_ids, label_names)
        if config.text_prompt_length:
            self.contexts = nn.Parameter(torch.empty(config.max_position_embeddings, config.hidden_size))

    def init_prompts(self) -> None:
        """The vectors from N(0, 0.01), and the layout of the classes."""
        super().init_prompts()
        if self.config.text_prompt_length:
            init.normal_(self.contexts, std=PROMPT_STD)

    def layout(self, label_token_ids: list[list[int]] | None = None) -> ClassLayout:
        """
        As [`ClassPrompts.layout`].

        Raises:
            ValueError: a text is too long.
        """
        limit = self.config.max_position_embeddings - self.config.text_prompt_length
        longest = max((len(ids) for ids in label_token_ids or ()), default=0)
        if longest > limit:
            raise ValueError(
                f"The text encoder takes {limit} tokens beside {self.config.text_prompt_length} learned vectors, and "
                f"the longest text has {longest}, start and end token among them."
            )
        return super().layout(label_token_ids)

    def _order(self, num_tokens: int, longest: int) -> list[int]:
        """
        For each place in a class's sequence, the index of its vector in
        `[contexts of all places.., SOS, name.., EOS, padding..]`.
        """
        prefix, suffix = self.config.prefix_length, self.config.suffix_length
        first_own = self.config.max_position_embeddings
        start, *rest = range(first_own, first_own + longest)
        num_name_tokens = num_tokens - 2
        name, tail = rest[:num_name_tokens], rest[num_name_tokens:]
        behind_name = prefix + num_name_tokens + 1
        return [start, *range(1, prefix + 1), *name, *range(behind_name, behind_name + suffix), *tail]

    @property
    def _contexts_before_name(self) -> int:
        return self.config.prefix_length

    def forward(self, tokens: torch.Tensor, classes: slice | torch.Tensor, order: torch.Tensor) -> torch.Tensor:
        """As [`ClassPrompts`]: `(C, S_n, D_t)` -> `(C, P + Q + S_n, D_t)`."""
        if self.config.text_prompt_length == 0:
            return tokens
        contexts = self.contexts.to(tokens.dtype).expand(tokens.shape[0], -1, -1)
        length = self.config.text_prompt_length + tokens.shape[1]
        return torch.cat([contexts, tokens], dim=1).take_along_dim(order[:, :length, None], dim=1)


# ---- video ----


class TemporalTransformer(LearnedPrompts):
    """
    The Transformer over the features of a clip's frames.

    Raises:
        ValueError: `num_temporal_heads` does not divide the features' width.
    """

    def __init__(self, config: EfficientPromptConfig):
        super().__init__()
        width = config.projection_dim
        if width % config.num_temporal_heads:
            raise ValueError(
                f"num_temporal_heads={config.num_temporal_heads} does not divide the width of the frames' features, "
                f"projection_dim={width}."
            )
        self.temporal_embedding = nn.Parameter(torch.empty(config.num_frames, width))
        sizes = CLIPVisionConfig(
            hidden_size=width, intermediate_size=4 * width, num_attention_heads=config.num_temporal_heads
        )
        self.layers = nn.ModuleList([VitaClipEncoderLayer(sizes) for _ in range(config.num_temporal_layers)])
        for layer in self.layers:
            layer.self_attn.config = config.vision_config  # it says which attention backend is used

    def init_prompts(self) -> None:
        """The temporal embedding from N(0, 0.01); the layers start as CLIP's do."""
        init.normal_(self.temporal_embedding, std=PROMPT_STD)

    def forward(self, frame_embeds: torch.Tensor) -> torch.Tensor:
        """`(B, T, D')` -> the same shape, in the precision of the learned weights."""
        places = resample_frames(self.temporal_embedding, frame_embeds.shape[1])
        frames = frame_embeds.to(places.dtype) + places
        for layer in self.layers:
            frames = layer(frames)
        return frames


# ---- the whole ----


EFFICIENT_PROMPTS = (
    PromptPart(
        "", "temporal_transformer", lambda config: TemporalTransformer(config) if config.num_temporal_layers else None
    ),
    PromptPart(
        "",
        "class_prompts",
        lambda config: SharedContexts(config.text_config, config.label_token_ids, config.label_names),
    ),
    PromptPart("", "logit_scale", lambda config: nn.Parameter(torch.empty(()))),
)


class EfficientPromptModel(VitaClipModel):
    """
    CLIP with Efficient-Prompt's learned vectors and temporal Transformer. Parameters inherited from CLIP keep their
    names and are frozen; `logit_scale` is fixed at log(1 / 0.07).

    `from_pretrained`, `save_pretrained`, adapters and classes are [`VitaClipModel`]'s:

    ```python
    >>> model = EfficientPromptModel.from_pretrained(
    ...     "openai/clip-vit-base-patch16", id2label={0: "archery", 1: "tai chi"}, num_frames=16
    ... )
    ```
    """

    config: EfficientPromptConfig
    base_model_prefix = "efficient_prompt"
    prompt_parts = EFFICIENT_PROMPTS
    vision_model_class = CLIPVisionModel
    label_templates = ("{}",)  # it is trained on names alone
    temporal_transformer: TemporalTransformer | None
    _no_split_modules = [  # noqa: RUF012 - a class variable by transformers' contract
        *("CLIPTextEmbeddings", "CLIPEncoderLayer", "CLIPVisionEmbeddings"),
        *("SharedContexts", "TemporalTransformer", "VitaClipTextLayer"),
    ]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, EfficientPromptModel):
            init.constant_(module.logit_scale, LOGIT_SCALE)

    def remember_base(self) -> None:
        """Keeps CLIP's `logit_scale` for [`disable_adapters`], and puts the method's own in its place."""
        super().remember_base()
        if not self.logit_scale.is_meta:
            nn.init.constant_(self.logit_scale, LOGIT_SCALE)

    @can_return_tuple
    def get_video_features(
        self, pixel_values: torch.Tensor, interpolate_pos_encoding: bool = False, **kwargs: Any
    ) -> VitaClipVideoFeatures:
        """
        Embeds clips: CLIP's features of every frame through the temporal Transformer, and their mean.

        Args:
            pixel_values: `(B, T, 3, H, W)`; `(B, 3, H, W)` is a batch of one-frame clips.
            interpolate_pos_encoding: accept another resolution than the configured one.

        Returns:
            The video embeddings as `pooler_output` `(B, D')`, not normalised, and `frame_embeds` `(B, T, D')`, whose
            mean they are. States and attentions are those of CLIP on `B * T` frames.

        Raises:
            ValueError: `pixel_values` of another shape, or with NaN or infinite values (on the CPU only).
        """
        clips = self._as_clips(pixel_values)
        outputs = self.vision_model(clips.flatten(0, 1), interpolate_pos_encoding=interpolate_pos_encoding, **kwargs)
        frame_embeds = self.visual_projection(outputs.pooler_output).unflatten(0, clips.shape[:2])
        if self.temporal_transformer is not None:
            frame_embeds = self.temporal_transformer(frame_embeds)
        return VitaClipVideoFeatures(
            last_hidden_state=outputs.last_hidden_state,
            pooler_output=frame_embeds.mean(dim=1),
            frame_embeds=frame_embeds,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    @can_return_tuple
    def get_text_features(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """
        Embeds any texts, each between the learned vectors: other class names, or captions.

        Args:
            input_ids: `(C, S)`, with start and end token, as CLIP's tokenizer gives them.
            attention_mask: `(C, S)`, 1 for real tokens. Padding on the right, CLIP's habit, needs none.
            position_ids: not taken: the learned vectors move the tokens.
            kwargs: not used; states and attentions are those of the video.

        Returns:
            The text embeddings as `pooler_output` `(C, D')`, not normalised.

        Raises:
            ValueError: a text is too long to stand between the learned vectors, or `position_ids` are given.
        """
        if position_ids is not None:
            raise ValueError("Efficient-Prompt's learned vectors move the tokens of a text: give no position_ids.")
        if attention_mask is None:
            places = torch.arange(input_ids.shape[-1], device=input_ids.device)
            attention_mask = places <= self.text_model.find_end_positions(input_ids)
        token_ids = [ids[mask.bool()].tolist() for ids, mask in zip(input_ids, attention_mask, strict=True)]
        pooled = encode_classes(self.text_model, self.class_prompts, token_ids)
        return BaseModelOutputWithPooling(pooler_output=self.text_projection(pooled))


class EfficientPromptForVideoClassification(VitaClipForVideoClassification, EfficientPromptModel):
    """[`EfficientPromptModel`] on its own classes, with the output that the `video-classification` pipeline reads."""

    config: EfficientPromptConfig


__all__ = ["EfficientPromptForVideoClassification", "EfficientPromptModel"]
