"""From a video to its explanation."""

from collections.abc import Sequence
from typing import Any

import torch

from ..modeling.configuration_vita_clip import NO_PROMPTS, VitaClipConfig
from ..modeling.labels_vita_clip import embed_labels
from ..modeling.modeling_vita_clip import VitaClipModel
from ..modeling.processing_vita_clip import VitaClipProcessor
from ..modeling.remote_code_vita_clip import locate_base
from ..modeling.video_reading_vita_clip import VideoReader, VideoSource
from ..models import ClipMean, VitaClip
from ..models.loading import load_model
from .attention import attention_maps
from .explanation import Explanation
from .occlusion import scores_without_frames


def load_explained(name: str, device: str | None = None) -> tuple[VitaClipModel, VitaClipProcessor]:
    """
    A Vita-CLIP, or a plain CLIP as a Vita-CLIP without prompts, with its processor.

    Raises:
        OSError: there is no such checkpoint.
        ValueError: it is of another kind of model.
    """
    loaded, processor = load_model(name, device=device)
    if loaded.model.config.model_type == VitaClipConfig.model_type:
        return loaded.model, processor
    if not isinstance(loaded, ClipMean):
        raise ValueError(f"{name} is a {type(loaded.model).__name__}; only Vita-CLIP and CLIP can be explained.")
    bare = VitaClipModel.from_pretrained(locate_base(name), **NO_PROMPTS).eval()
    return bare.to(loaded.device), processor


@torch.no_grad()
def explain(
    model: VitaClipModel,
    processor: VitaClipProcessor,
    video: VideoSource,
    labels: Sequence[str] | None = None,
    templates: Sequence[str] | None = None,
    top_k: int = 5,
) -> Explanation:
    """
    Explains what a model makes of a video: one clip of it, sampled as the processor says, and its centre.

    Args:
        model: in evaluation mode.
        processor: of the model.
        video: path, URL, bytes or a binary file object.
        labels: to choose from; by default the model's classes by their learned contexts.
        templates: texts around `labels`, each with one `{}`; by default those of zero-shot evaluation.
        top_k: how many labels to keep.

    Raises:
        ValueError: labels or templates make no sense, or the model has no classes and there are no labels.
        VideoReadError: the video cannot be read.
    """
    reader = VideoReader(video)
    settings: dict[str, Any] = {"num_temporal_views": 1, "num_spatial_views": 1}
    indices = processor.video_processor.sample_frames(reader.metadata, **settings).tolist()
    frames = reader.read_frames(indices)
    prepare = {**settings, "do_sample_frames": False, "return_tensors": "pt"}
    shown = processor.video_processor([frames], do_rescale=False, do_normalize=False, **prepare)["pixel_values"][0]
    clip = processor.video_processor([frames], **prepare)["pixel_values"][0]
    if labels is None:
        if model.config.label_token_ids is None:
            raise ValueError("The model has no classes of its own: name labels to choose from.")
        names, text_embeds = model.config.label_names, VitaClip(model).encode_classes()
    else:
        names, text_embeds = list(labels), embed_labels(model, processor.tokenizer, labels, templates)
    scores = scores_without_frames(model, clip, text_embeds)
    values, ids = scores[0].topk(min(top_k, len(names)))
    best = int(ids[0])
    return Explanation(
        frames=shown.to(torch.uint8),
        seconds=None if reader.frame_times is None else reader.frame_times[indices].tolist(),
        scores=[(names[index], score) for index, score in zip(ids.tolist(), values.tolist(), strict=True)],
        attention=attention_maps(model, clip),
        importance=scores[0, best] - scores[1:, best] if len(clip) > 1 else None,
    )
