"""Vita-CLIP: its own classes by their learned contexts, or any labels by templates."""

import torch

from ..modeling.configuration_vita_clip import NO_PROMPTS, PromptedClipConfig, VitaClipConfig
from .interface import VideoFeatures, VideoTextModel, cosine_logits


class VitaClip(VideoTextModel):
    """A [`VitaClipModel`], or its subclass for classification."""

    @property
    def num_trained(self) -> int:
        """All weights of a CLIP that was fine-tuned as a whole; else the prompts and what is trained with them."""
        is_whole = is_whole_clip(self.model.config)
        return sum(weight.numel() for weight in self.model.parameters() if is_whole or weight.requires_grad)

    @torch.no_grad()
    def encode_classes(self) -> torch.Tensor:
        """
        Embeds the classes with their learned contexts, `(C, D')`. The caller keeps the result: the model goes on to
        hold it if it did before, and only then.

        Raises:
            ValueError: the model is in training mode, or has no classes.
        """
        was_held = self.model.held_class_features() is not None
        if not was_held:
            self.model.hold_class_features()
        class_features = self.model.get_class_features().pooler_output
        if not was_held:
            self.model.drop_class_features()
        return class_features

    def encode_videos(self, pixel_values: torch.Tensor) -> VideoFeatures:
        """Embeds clips `(B, T, 3, H, W)`: the video is the mean of its frames."""
        features = self.model.get_video_features(pixel_values)
        return VideoFeatures(features.frame_embeds, features.pooler_output)

    def logits(self, video: VideoFeatures, text_embeds: torch.Tensor) -> torch.Tensor:
        """exp(logit_scale) * cos(video, text), `(B, C)`."""
        return cosine_logits(video, text_embeds, self.model.logit_scale)


def is_whole_clip(config: PromptedClipConfig) -> bool:
    """Whether it is of a CLIP that was trained as a whole: it has no prompts, and no base to put them on."""
    is_vita_clip = config.model_type == VitaClipConfig.model_type
    return is_vita_clip and config.base_model_name_or_path is None and not prompts_of(config)


def prompts_of(config: PromptedClipConfig) -> list[str]:
    """The switches of Vita-CLIP's prompts that are on."""
    return [name for name, off in NO_PROMPTS.items() if getattr(config, name) != off]
