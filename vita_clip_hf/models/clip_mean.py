"""CLIP on videos without any training: the mean of the frames' features."""

import torch

from .interface import VideoFeatures, VideoTextModel, cosine_logits


class ClipMean(VideoTextModel):
    """Any `CLIPModel`."""

    def encode_videos(self, pixel_values: torch.Tensor) -> VideoFeatures:
        """Embeds clips `(B, T, 3, H, W)`: each frame is an image."""
        frames = self.model.get_image_features(pixel_values.flatten(0, 1)).pooler_output
        frame_embeds = frames.unflatten(0, pixel_values.shape[:2])
        return VideoFeatures(frame_embeds, frame_embeds.mean(dim=1))

    def logits(self, video: VideoFeatures, text_embeds: torch.Tensor) -> torch.Tensor:
        """exp(logit_scale) * cos(video, text), `(B, C)`."""
        return cosine_logits(video, text_embeds, self.model.logit_scale)
