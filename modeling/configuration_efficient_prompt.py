"""
Configuration of Efficient-Prompt (Ju et al., "Prompting Visual-Language Models for Efficient Video Understanding",
ECCV 2022): CLIP's own configuration, the learned vectors around class names and the Transformer over frames.
"""

from huggingface_hub.dataclasses import strict
from transformers import CLIPTextConfig, CLIPVisionConfig

from .configuration_vita_clip import PromptedClipConfig, require_positive, sub_config_spec

MOST_TEMPORAL_LAYERS = 64


@strict
class EfficientPromptTextConfig(CLIPTextConfig):
    r"""
    CLIP's text configuration and the learned vectors around the class names, which all classes share.

    Args:
        prefix_length (`int`, defaults to 16):
            Learned vectors before a class name, P.
        suffix_length (`int`, defaults to 16):
            Learned vectors behind it, Q.
    """

    model_type = "efficient_prompt_text_model"
    base_config_key = "text_config"

    prefix_length: int = 16
    suffix_length: int = 16

    @property
    def text_prompt_length(self) -> int:
        """P + Q: as Vita-CLIP's field of this name."""
        return self.prefix_length + self.suffix_length

    @property
    def text_prompt_scope(self) -> str:
        """The vectors are `"unified"`: as Vita-CLIP's field of this name."""
        return "unified"

    @property
    def text_prompt_init(self) -> None:
        """No words: as Vita-CLIP's field of this name."""


@strict
class EfficientPromptConfig(PromptedClipConfig):
    r"""
    The whole model's configuration: CLIP's fields, those of [`PromptedClipConfig`] (`label_token_ids` are tokens of
    the name alone, without a full stop), `prefix_length` and `suffix_length` of [`EfficientPromptTextConfig`], and

    Args:
        num_frames (`int`, defaults to 16):
            Frames of a training clip, T: the length of the temporal embedding. Clips of another length are accepted;
            the embedding is then resampled along time.
        num_temporal_layers (`int`, defaults to 1):
            Layers of the Transformer over the frames, L. With 0 there is neither Transformer nor temporal embedding,
            and a video is the mean of its frames.
        num_temporal_heads (`int`, defaults to 8):
            Attention heads of such a layer.
    """

    model_type = "efficient_prompt"
    method = "Efficient-Prompt"
    sub_configs = {  # noqa: RUF012 - a class variable by transformers' contract
        "vision_config": CLIPVisionConfig,
        "text_config": EfficientPromptTextConfig,
    }
    sub_configs_defaults = {name: sub_config_spec(half) for name, half in sub_configs.items()}  # noqa: RUF012
    prompt_fields = ("num_frames", "num_temporal_layers", "num_temporal_heads", "prefix_length", "suffix_length")
    no_prompts = {"num_temporal_layers": 0, "prefix_length": 0, "suffix_length": 0}  # noqa: RUF012
    label_ending = ""

    num_frames: int = 16
    num_temporal_layers: int = 1
    num_temporal_heads: int = 8

    text_prompt_length = property(lambda self: self.text_config.text_prompt_length)
    text_prompt_scope = property(lambda self: self.text_config.text_prompt_scope)
    text_prompt_init = property(lambda self: self.text_config.text_prompt_init)

    def check_prompts(self) -> None:
        """Raises `ValueError` for a field outside its range; checked at construction and when a model is built."""
        require_positive(self, "num_frames")
        require_positive(self, "num_temporal_heads")
        for field in ("num_temporal_layers", "prefix_length", "suffix_length"):
            if getattr(self, field) < 0:
                raise ValueError(f"{field} must be 0 or more, found {getattr(self, field)}.")
        if self.num_temporal_layers > MOST_TEMPORAL_LAYERS:
            raise ValueError(
                f"num_temporal_layers must be {MOST_TEMPORAL_LAYERS} at most, found {self.num_temporal_layers}."
            )

    @property
    def fixed_prompts(self) -> tuple[str, ...]:
        """The temperature of the logits is fixed."""
        return ("logit_scale",)


__all__ = ["EfficientPromptConfig", "EfficientPromptTextConfig"]
