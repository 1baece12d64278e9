"""X-CLIP (Ni et al., ECCV 2022), as transformers has it: each video adds prompts of its own to the texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ..modeling.configuration_vita_clip import check_label_names
from ..modeling.labels_vita_clip import check_templates
from .interface import VideoFeatures, VideoTextModel


@dataclass
class XClipVideoFeatures(VideoFeatures):
    """
    Args:
        patch_embeds: of each patch, the mean over the frames, `(B, N, D')`; the texts' prompts are made from it.
    """

    patch_embeds: torch.Tensor


class XClip(VideoTextModel):
    """transformers' `XCLIPModel`. Its clips have `config.vision_config.num_frames` frames."""

    @property
    def label_templates(self) -> tuple[str, ...]:
        """The name alone, as in X-CLIP's training."""
        return ("{}",)

    def encode_labels(self, labels: Sequence[str], templates: Sequence[str] | None = None) -> torch.Tensor:
        """The mean over the templates, `(C, D')`, whose length counts here."""
        templates = self.label_templates if templates is None else templates
        check_label_names(list(labels))
        check_templates(templates)
        texts = [template.replace("{}", name.replace("_", " ")) for name in labels for template in templates]
        return self.encode_texts(texts).unflatten(0, (-1, len(templates))).mean(dim=1)

    def encode_videos(self, pixel_values: torch.Tensor) -> XClipVideoFeatures:
        """Embeds clips `(B, T, 3, H, W)` by the multi-frame integration Transformer."""
        model, clips = self.model, pixel_values.shape[:2]
        vision = model.vision_model(pixel_values.flatten(0, 1))
        frame_embeds = model.visual_projection(vision.pooler_output).unflatten(0, clips)
        patches = model.prompts_visual_layernorm(vision.last_hidden_state[:, 1:]) @ model.prompts_visual_projection
        return XClipVideoFeatures(
            frame_embeds=frame_embeds,
            video_embeds=model.mit(frame_embeds).pooler_output,
            patch_embeds=patches.unflatten(0, clips).mean(dim=1),
        )

    def logits(self, video: VideoFeatures, text_embeds: torch.Tensor) -> torch.Tensor:
        """
        exp(logit_scale) * cos(video, text + prompts of the video), `(B, C)`.

        Raises:
            TypeError: `video` has no patches.
        """
        if not isinstance(video, XClipVideoFeatures):
            raise TypeError(f"X-CLIP's texts depend on the patches of a video; found {type(video).__name__}.")
        texts = text_embeds.expand(len(video.video_embeds), -1, -1)
        texts = texts + self.model.prompts_generator(texts, video.patch_embeds)
        clips = nn.functional.normalize(video.video_embeds.float(), dim=-1)
        texts = nn.functional.normalize(texts.float(), dim=-1)
        return self.model.logit_scale.float().exp() * (texts @ clips[..., None])[..., 0]
