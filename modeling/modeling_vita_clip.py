"""
Vita-CLIP (Wasim et al., "Vita-CLIP: Video and text adaptive CLIP via Multimodal Prompting", CVPR 2023): a frozen CLIP
that reads videos by prompts alone.
"""

import os
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutputWithPooling, ImageClassifierOutput
from transformers.models.clip.modeling_clip import CLIPModel, CLIPPreTrainedModel
from transformers.utils import ModelOutput, logging
from transformers.utils.generic import can_return_tuple

from .adapter_file_vita_clip import PROMPT_PATTERNS, PROMPTS, PromptPart, has_quantized_base, is_learned, is_prompt
from .adapters_vita_clip import SwitchesAdapters
from .checkpoint_vita_clip import load_model, load_tokenizer, resample_prompts, save_model
from .configuration_vita_clip import VitaClipConfig, check_class_names, check_token_ids
from .labels_vita_clip import carry_over_contexts, contexts_from_words, tokenize_labels
from .layers_vita_clip import VitaClipPreTrainedModel, in_graph
from .quantization_vita_clip import modules_of_prompts
from .text_vita_clip import ClassPrompts, VitaClipTextModel, encode_classes
from .vision_vita_clip import VitaClipVisionModel, as_clips

logger = logging.get_logger(__name__)


@dataclass
class VitaClipOutput(ModelOutput):
    """
    Args:
        loss: cross-entropy over the classes, `()`, where `labels` were given.
        logits_per_video: `(B, C)`, exp(logit_scale) * cos(video, text). Of several views: the logarithm of the mean of
            their softmax, so that a softmax gives the mean.
        logits_per_text: its transpose, `(C, B)`.
        video_embeds: of length 1, `(B, D')`; of several views `(B, V, D')`.
        text_embeds: of length 1, `(C, D')`.
        frame_embeds: the projected class token of each frame, `(B, T, D')`, or `(B, V, T, D')`; the video is their
            mean.
        text_model_output, vision_model_output: of the two towers.
    """

    loss: torch.Tensor | None = None
    logits_per_video: torch.Tensor | None = None
    logits_per_text: torch.Tensor | None = None
    video_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    frame_embeds: torch.Tensor | None = None
    text_model_output: BaseModelOutputWithPooling | None = None
    vision_model_output: BaseModelOutputWithPooling | None = None

    @property
    def logits_per_image(self) -> torch.Tensor | None:
        """`logits_per_video` under CLIP's name, for pipelines made for CLIP: an image is a clip of one frame."""
        return self.logits_per_video


@dataclass
class VitaClipVideoFeatures(BaseModelOutputWithPooling):
    """
    Args:
        pooler_output: the video's embedding, not normalised: the mean of `frame_embeds`, `(B, D')`.
        frame_embeds: `(B, T, D')`.
        last_hidden_state, hidden_states, attentions: of [`VitaClipVisionModel`].
    """

    frame_embeds: torch.Tensor | None = None


class VitaClipModel(SwitchesAdapters, VitaClipPreTrainedModel, CLIPModel):
    """
    CLIP with Vita-CLIP's prompts on both sides. Parameters inherited from CLIP keep their names and are frozen.

    `from_pretrained` takes a CLIP checkpoint (the prompts start anew), an adapter (its base is loaded, then its
    prompts) or a full checkpoint:

    ```python
    >>> model = VitaClipModel.from_pretrained(
    ...     "openai/clip-vit-base-patch16", id2label={0: "archery", 1: "tai chi"}, num_frames=8
    ... )
    ```
    """

    config: VitaClipConfig
    prompt_parts: ClassVar[tuple[PromptPart, ...]] = PROMPTS
    vision_model_class: ClassVar[type[CLIPPreTrainedModel]] = VitaClipVisionModel
    class_prompts: ClassPrompts
    class_features: torch.Tensor | None
    _held_object: torch.Tensor | None
    main_input_name = "pixel_values"
    accepts_loss_kwargs = False  # the loss is a batch mean, so the Trainer averages it over accumulation steps

    def __init__(self, config: VitaClipConfig):
        config.check_prompts()  # fields may have been set since the configuration checked them
        config.check_labels()
        super(CLIPModel, self).__init__(config)
        self.projection_dim = config.projection_dim
        self.text_embed_dim = config.text_config.hidden_size
        self.vision_embed_dim = config.vision_config.hidden_size

        self.text_model = VitaClipTextModel._from_config(config.text_config)
        self.vision_model = self.vision_model_class._from_config(config.vision_config)
        for part in self.prompt_parts:
            if not part.holder:  # the towers make those of their own
                setattr(self, part.name, part.build(config))
        self.visual_projection = nn.Linear(self.vision_embed_dim, self.projection_dim, bias=False)
        self.text_projection = nn.Linear(self.text_embed_dim, self.projection_dim, bias=False)
        self.register_buffer("class_features", None, persistent=False)
        self.drop_class_features()
        self.register_load_state_dict_post_hook(_drop_class_features)
        self._init_adapters()
        if config.base_model_name_or_path is not None:
            # The weights come from the base, the prompts from an adapter or their initialisation.
            self._keys_to_ignore_on_load_missing = PROMPT_PATTERNS
        if getattr(config, "quantization_config", None) is not None:
            # transformers' quantizers leave these modules alone, in addition to those of their own configuration.
            self._keep_in_fp32_modules = modules_of_prompts(self)
        self.post_init()
        self.freeze_base()

    def freeze_base(self) -> None:
        """Leaves a gradient to what Vita-CLIP learns: prompts, contexts, temporal embedding and `logit_scale`."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(is_learned(name, self.config))

    def cast_base(self, dtype: torch.dtype) -> None:
        """
        Stores CLIP's frozen weights in `dtype`, such as `torch.bfloat16`, and leaves the prompts as they are. Weights
        of CLIP or of peft that are trained stay as they are too; a trained weight of CLIP then needs `torch.autocast`,
        because no layer of CLIP casts its input.

        The learned weights, their gradients and the optimizer's state stay in float32, because small steps would be
        rounded away in `dtype`. So do the computation of the visual prompts, before their result is cast to `dtype`,
        the logits and the loss. The base takes half its memory, and its weights are not cast in every step, as
        `torch.autocast` casts them.

        Raises:
            ValueError: the base is quantized.
        """
        if has_quantized_base(self.state_dict()):
            raise ValueError(f"A quantized base cannot be cast to {dtype}; give from_pretrained the argument dtype.")
        for name, weight in self.named_parameters():
            if not weight.requires_grad and not is_prompt(name):
                weight.data = weight.data.to(dtype)
        self.drop_class_features()

    def get_input_embeddings(self) -> nn.Module:
        """The embeddings of the texts, for which quantizers ask."""
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Gives the texts other embeddings."""
        self.text_model.set_input_embeddings(value)

    # ---- the three halves ----

    @can_return_tuple
    def get_video_features(
        self, pixel_values: torch.Tensor, interpolate_pos_encoding: bool = False, **kwargs
    ) -> VitaClipVideoFeatures:
        """
        Embeds clips.

        Args:
            pixel_values: `(B, T, 3, H, W)`; `(B, 3, H, W)` is a batch of one-frame clips.
            interpolate_pos_encoding: accept another resolution than the configured one.

        Returns:
            The video embeddings as `pooler_output` `(B, D')`, not normalised, and `frame_embeds` `(B, T, D')`.

        Raises:
            ValueError: `pixel_values` of another shape, or with NaN or infinite values (checked on the CPU only:
                elsewhere the check would wait for the device).
        """
        pixel_values = self._as_clips(pixel_values)
        outputs = self.vision_model(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **kwargs)
        frame_embeds = self.visual_projection(outputs.pooler_output)
        return VitaClipVideoFeatures(
            last_hidden_state=outputs.last_hidden_state,
            pooler_output=frame_embeds.mean(dim=1),
            frame_embeds=frame_embeds,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def _as_clips(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """As [`as_clips`]; says so once if a batch of images may be the frames of one clip."""
        if pixel_values.ndim == 4 and 1 < len(pixel_values) == self.config.num_frames and not in_graph():
            logger.warning_once(
                f"pixel_values of 4 dimensions are {len(pixel_values)} separate images. If they are the frames of one "
                "clip, give pixel_values[None], (1, T, 3, H, W); for images call get_image_features."
            )
        return as_clips(pixel_values, self.config.vision_config.num_channels)

    def get_image_features(self, pixel_values: torch.Tensor, **kwargs) -> VitaClipVideoFeatures:
        """[`get_video_features`] under CLIP's name: images, `(B, 3, H, W)`, are clips of one frame."""
        return self.get_video_features(pixel_values[:, None] if pixel_values.ndim == 4 else pixel_values, **kwargs)

    @can_return_tuple
    def get_text_features(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        **kwargs,
    ) -> BaseModelOutputWithPooling:
        """
        Embeds any texts by the frozen text encoder, without learned contexts: the zero-shot half.

        Args:
            input_ids: `(C, S)`.
            attention_mask: `(C, S)`.
            position_ids: `(C, S)` or `(1, S)`.

        Returns:
            The text embeddings as `pooler_output` `(C, D')`, not normalised.
        """
        outputs = self.text_model(input_ids, attention_mask, position_ids, **kwargs)
        outputs.pooler_output = self.text_projection(outputs.pooler_output)
        return outputs

    @can_return_tuple
    def get_class_features(
        self, label_token_ids: list[list[int]] | None = None, chunk_size: int = 512
    ) -> BaseModelOutputWithPooling:
        """
        Embeds the model's own classes with their learned contexts, or gives the features that
        [`hold_class_features`] holds, which must not be written to.

        Args:
            label_token_ids: other classes, as in [`VitaClipConfig`]; they need unified contexts (or none).
            chunk_size: classes encoded at once, which bounds memory, if no gradient is recorded or gradient
                checkpointing is on.

        Returns:
            The class embeddings as `pooler_output` `(C, D')`, not normalised.

        Raises:
            ValueError: the model has no classes, or `label_token_ids` are empty, or given although contexts belong to
                classes.
        """
        if label_token_ids is not None:
            self._check_other_classes(label_token_ids)
        elif (held := self.held_class_features()) is not None:
            return BaseModelOutputWithPooling(pooler_output=held)
        elif not self.training and not in_graph():
            logger.warning_once(
                "The text tower encodes the model's classes at each call. For many clips call "
                "model.hold_class_features() once, after model.eval()."
            )
        return BaseModelOutputWithPooling(pooler_output=self._encode_classes(label_token_ids, chunk_size))

    def _encode_classes(self, label_token_ids: list[list[int]] | None = None, chunk_size: int = 512) -> torch.Tensor:
        if label_token_ids is None and not self.class_prompts.label_token_ids:
            raise ValueError(
                "The model has no classes. Give from_pretrained the argument id2label, call set_labels, or pass "
                "input_ids of texts to compare with."
            )
        pooled = encode_classes(self.text_model, self.class_prompts, label_token_ids, chunk_size)
        return self.text_projection(pooled)

    def _check_other_classes(self, label_token_ids: list[list[int]]) -> None:
        if not label_token_ids:
            raise ValueError("label_token_ids is empty; expected the token ids of at least one class.")
        if self.config.text_prompt_scope == "class" and self.config.text_prompt_length:
            raise ValueError(
                "Class-specific contexts exist for the classes of training only; other classes need "
                "text_prompt_scope='unified', or texts as input_ids."
            )

    # ---- class features that are held ----

    def hold_class_features(self) -> None:
        """
        Encodes the model's classes once and holds their features for `forward` in eval mode. A compiled or exported
        model then has no text tower.

        The features are dropped by `train()` and `eval()`, a move to another device or precision, `load_state_dict`,
        `set_labels` and a switch of adapters. After any other edit of weights in eval mode, such as a step of an
        optimizer or a write to `weight.data`, call this method again. Held features carry no gradient, and they have
        the precision that `torch.autocast` asks for at this call. While layers of peft are part of the text side,
        nothing is held, because their scales and weights change without notice; after `merge_and_unload()` call this
        method again. Nor do held features follow the weights that `torch.func.functional_call` is given.

        Raises:
            ValueError: the model is in training mode, or has no classes.
        """
        if self.training:
            raise ValueError("Class features are held in eval mode, and the model is in training: call model.eval().")
        self.drop_class_features()
        if self.has_peft_in_text():
            logger.warning_once("Layers of peft are part of the text side, so class features are not held.")
            return
        with torch.inference_mode(False), torch.no_grad():
            self.class_features = self._encode_classes()
        self._held_object = self.class_features

    def drop_class_features(self) -> None:
        """Forgets the features that [`hold_class_features`] holds."""
        self.class_features = self._held_object = None

    def held_class_features(self) -> torch.Tensor | None:
        """The held features, `(C, D')`, if they are still those of the weights."""
        if self.class_features is not None and self.has_peft_in_text():
            self.drop_class_features()  # peft may later merge and remove its layers, which could not be seen then
        features = self.class_features
        if features is None or self.training:
            return None
        held: Any = self._held_object
        if torch.compiler.is_exporting():  # the buffer is another object there
            return features if (features.dtype, features.device) == (held.dtype, held.device) else None
        return features if features is held else None  # a move of the model makes another tensor of the buffer

    def has_peft_in_text(self) -> bool:
        """Whether peft has put layers into the text side. It stores its configuration on the model that it changes."""
        parts = (self.text_model, self.text_projection)
        told = any("peft_config" in vars(module) for module in (self, *parts))
        return told and any(hasattr(module, "base_layer") for part in parts for module in part.modules())

    def train(self, mode: bool = True) -> "VitaClipModel":
        """As in torch; features that are held are dropped."""
        self.drop_class_features()
        return super().train(mode)

    # ---- the whole ----

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        text_embeds: torch.Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        **kwargs,
    ) -> VitaClipOutput:
        """
        Compares clips with texts: with `input_ids` those texts (zero-shot), else the model's own classes.

        Args:
            pixel_values: clips `(B, T, 3, H, W)`, images `(B, 3, H, W)`, or several views `(B, V, T, 3, H, W)`.
            input_ids: `(C, S)`.
            attention_mask: `(C, S)`.
            labels: the class of each clip, `(B,)`, for the loss.
            position_ids: `(C, S)` or `(1, S)`.
            text_embeds: `(C, D')` of any length, instead of texts or classes: computed once, used for many clips.
            interpolate_pos_encoding: accept another resolution than the configured one.

        Returns:
            [`VitaClipOutput`].
        """
        num_views = pixel_values.shape[1] if pixel_values.ndim == 6 else None
        if num_views is not None:
            pixel_values = pixel_values.flatten(0, 1)
        video = self.get_video_features(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **kwargs)
        text = self._text_side(input_ids, attention_mask, position_ids, text_embeds, kwargs)

        video_embeds = nn.functional.normalize(video.pooler_output, dim=-1)
        text_embeds = nn.functional.normalize(text.pooler_output.to(video_embeds.device), dim=-1)
        logits = scaled_cosine(video_embeds, text_embeds, self.logit_scale)
        frame_embeds = video.frame_embeds
        if num_views is not None:
            logits = average_views(logits.unflatten(0, (-1, num_views)))
            video_embeds = video_embeds.unflatten(0, (-1, num_views))
            frame_embeds = frame_embeds.unflatten(0, (-1, num_views))
        return VitaClipOutput(
            loss=None if labels is None else nn.functional.cross_entropy(logits, labels),
            logits_per_video=logits,
            logits_per_text=logits.t(),
            video_embeds=video_embeds,
            text_embeds=text_embeds,
            frame_embeds=frame_embeds,
            text_model_output=text,
            vision_model_output=video,
        )

    def _text_side(self, input_ids, attention_mask, position_ids, text_embeds, kwargs) -> BaseModelOutputWithPooling:
        if text_embeds is not None:
            if input_ids is not None:
                raise ValueError("Give either input_ids or text_embeds, and not both.")
            return BaseModelOutputWithPooling(pooler_output=text_embeds)
        if input_ids is not None:
            return self.get_text_features(input_ids, attention_mask, position_ids, **kwargs)
        return self.get_class_features()

    # ---- classes ----

    def set_labels(
        self,
        labels: list[str],
        tokenizer: PreTrainedTokenizerBase | None = None,
        context_words: str | None = None,
    ) -> None:
        """
        Gives the model other classes. Contexts of class scope are kept for names that it had; those of new names start
        from the mean of the old ones, or from `context_words`.

        Args:
            labels: the class names, in the order of their ids.
            tokenizer: of the base; loaded from `config.base_model_name_or_path` if not given.
            context_words: such as `"a video of a person"`.

        Raises:
            ValueError: `labels` is empty or has an empty or repeated name, a name is too long, or there are no
                contexts of single classes that could start from `context_words`.
            OSError: no tokenizer was given and none is found.
        """
        check_class_names(labels)
        has_contexts = self.class_prompts.num_contexts_rows > 0
        if context_words and (self.config.text_prompt_scope == "unified" or not self.config.text_prompt_length):
            raise ValueError(
                f"context_words={context_words!r} start contexts of single classes; this model has contexts of the "
                f"scope {self.config.text_prompt_scope!r} and the length {self.config.text_prompt_length}."
            )
        context_words = context_words or (None if has_contexts else self.config.text_prompt_init)
        tokenizer = tokenizer or load_tokenizer(self.config)
        token_ids = tokenize_labels(tokenizer, labels, self.config.label_ending)
        check_token_ids(token_ids, self.config.text_config.vocab_size)
        new = type(self.class_prompts)(self.config.text_config, token_ids, labels)
        if new.num_contexts_rows:
            start = contexts_from_words(self, tokenizer, context_words) if context_words else None
            carry_over_contexts(self.class_prompts, self.config.label_names, new, labels, start)
        self.class_prompts = new.to(device=self.logit_scale.device, dtype=self.logit_scale.dtype)
        self.drop_class_features()
        self.config.set_label_names(labels)
        self.config.label_token_ids = token_ids

    def set_num_frames(self, num_frames: int) -> None:
        """
        Prepares the model for training on clips of `num_frames` frames: temporal embedding and local prompts are
        resampled in time. Clips of another length are accepted without it.

        Raises:
            ValueError: `num_frames` is less than 1.
        """
        self.config.num_frames, before = num_frames, self.config.num_frames
        try:
            self.config.check_prompts()
        except ValueError:
            self.config.num_frames = before
            raise
        resample_prompts(self, num_frames)

    # ---- files ----

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *,
        config: VitaClipConfig | str | os.PathLike | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        **kwargs,
    ):
        """
        Loads a CLIP checkpoint, a Vita-CLIP adapter with its base, or a full Vita-CLIP checkpoint.

        Args:
            pretrained_model_name_or_path: a Hub id or a folder.
            config: instead of the checkpoint's own.
            tokenizer: of the base, for the names in `id2label`; loaded from the base if not given.
            kwargs: fields of [`VitaClipConfig`] (`id2label`, `num_frames`, ...) and all that
                `PreTrainedModel.from_pretrained` takes (`dtype`, `device_map`, `revision`, ...). Of a
                `quantization_config` prompts are exempt.

        Raises:
            OSError: a file is missing.
            ValueError: an adapter does not fit its base, labels are not valid, or torchao cannot quantize so here.
        """
        return load_model(cls, super().from_pretrained, pretrained_model_name_or_path, config, tokenizer, kwargs)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        is_main_process: bool = True,
        state_dict: dict[str, torch.Tensor] | None = None,
        push_to_hub: bool = False,
        adapter_only: bool | None = None,
        adapter_dtype: str | torch.dtype | None = None,
        **kwargs: Any,
    ) -> None:
        """
        Writes the model so that `from_pretrained` loads it.

        Args:
            save_directory: the folder to write to.
            is_main_process: of several processes that all call this, one writes.
            state_dict: the tensors, where they are gathered from elsewhere; by default the model's own.
            push_to_hub: call `push_to_hub` too, for `repo_id` or a repository of the folder's name.
            adapter_only: write the prompts only, with the base's name; the default for a model on a base. `False`
                writes a full checkpoint.
            adapter_dtype: store the prompts in `"float32"`, `"float16"`, `"bfloat16"` or `"int8"`; by default as they
                are.
            kwargs: for the Hub `repo_id`, `token`, `private`, `commit_message`, `revision`, `create_pr`; for a full
                checkpoint what transformers takes (`max_shard_size`, ...).

        Raises:
            ValueError: `adapter_only` for a model that has no named base, or whose base is being trained; or a full
                checkpoint of a model that torchao has quantized.
            OSError: `save_directory` is a file.
        """
        if is_main_process:
            save_weights = super().save_pretrained
            save_model(
                self, save_weights, save_directory, state_dict, push_to_hub, adapter_only, adapter_dtype, kwargs
            )


class VitaClipForVideoClassification(VitaClipModel):
    """[`VitaClipModel`] on its own classes, with the output that the `video-classification` pipeline reads."""

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        **kwargs,
    ) -> ImageClassifierOutput:
        """
        Args:
            pixel_values: clips `(B, T, 3, H, W)`, images `(B, 3, H, W)`, or several views `(B, V, T, 3, H, W)`.
            labels: the class of each clip, `(B,)`, for the loss.
            interpolate_pos_encoding: accept another resolution than the configured one.

        Returns:
            `logits` `(B, C)`, and `loss` where `labels` were given.
        """
        outputs = super().forward(
            pixel_values, labels=labels, interpolate_pos_encoding=interpolate_pos_encoding, **kwargs
        )
        return ImageClassifierOutput(
            loss=outputs.loss,
            logits=outputs.logits_per_video,
            hidden_states=outputs.vision_model_output.hidden_states,
            attentions=outputs.vision_model_output.attentions,
        )


def _drop_class_features(model: VitaClipModel, _: Any) -> None:
    """A hook that torch calls when weights were loaded into the model, alone or as a part of another module."""
    model.drop_class_features()


def scaled_cosine(video_embeds: torch.Tensor, text_embeds: torch.Tensor, logit_scale: torch.Tensor) -> torch.Tensor:
    """
    exp(logit_scale) * v c^T of unit vectors `(B, D')` and `(C, D')`, in float32 whatever the model's precision: the
    scale is up to 100, and bfloat16 holds a cosine to 1/256 only.
    """
    with torch.autocast(video_embeds.device.type, enabled=False):
        return logit_scale.float().exp() * video_embeds.float() @ text_embeds.float().t()


def average_views(logits: torch.Tensor) -> torch.Tensor:
    """`(B, V, C)` of V views -> `(B, C)`: the logarithm of the mean of their softmax, the field's average."""
    log_probabilities = nn.functional.log_softmax(logits, dim=-1)
    return log_probabilities.logsumexp(dim=1) - torch.tensor(logits.shape[1], device=logits.device).log()


__all__ = ["VitaClipForVideoClassification", "VitaClipModel", "VitaClipOutput", "VitaClipPreTrainedModel"]
