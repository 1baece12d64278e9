"""Vita-CLIP: its own classes by their learned contexts, or any labels by templates."""

import torch

from .interface import VideoFeatures, VideoTextModel, cosine_logits


class VitaClip(VideoTextModel):
    """A [`VitaClipModel`], or its subclass for classification."""

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
