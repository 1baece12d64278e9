"""Naming what happens in video files: a checkpoint, its processor, and the zero-shot pipeline around them."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import PreTrainedConfig

from .modeling.adapters_vita_clip import NO_PROMPTS
from .modeling.configuration_vita_clip import VitaClipConfig
from .modeling.modeling_vita_clip import VitaClipModel
from .modeling.pipeline_vita_clip import ZeroShotVideoClassificationPipeline
from .modeling.processing_vita_clip import VitaClipProcessor
from .modeling.remote_code_vita_clip import locate_base
from .modeling.video_reading_vita_clip import VideoSource

Predictor = Callable[[VideoSource], list[dict[str, Any]]]


def load_predictor(
    model: str | os.PathLike,
    labels: Sequence[str] | None = None,
    templates: str | Sequence[str] | None = None,
    top_k: int | None = 5,
    device: str | torch.device | None = None,
) -> Predictor:
    """
    Loads a checkpoint once, for any number of videos.

    Args:
        model: an adapter, a full checkpoint, or a plain CLIP (which is run without prompts and needs `labels`): a
            folder or a Hub id.
        labels: classes to choose from; by default those of the model.
        templates: one or several texts around a label, each with one `{}`; of several, the embeddings are averaged.
        top_k: how many labels to return; `None` for all.
        device: by default the first accelerator, else the CPU.

    Returns:
        A function from a video (path, URL, bytes, file object) to `[{"label", "score"}, ...]`, best first. It raises
        `VideoReadError`, an `OSError`, for what cannot be read.

    Raises:
        OSError: no such checkpoint, or it has no processor.
        ValueError: bad labels or templates, or a model without classes and no `labels`.
    """
    name = _existing(model)
    loaded, has_labels = _load_model(name)
    if labels is None and not has_labels:
        raise ValueError(f"{model} has no classes of its own: name the labels to choose from.")
    options = {"candidate_labels": labels, "hypothesis_template": templates, "top_k": top_k}
    pipeline = ZeroShotVideoClassificationPipeline(
        model=loaded, processor=_load_processor(name), device=device, **options
    )
    return pipeline.__call__


def predict_file(
    model: str | os.PathLike,
    video: VideoSource,
    labels: Sequence[str] | None = None,
    templates: str | Sequence[str] | None = None,
    top_k: int | None = 5,
    device: str | torch.device | None = None,
) -> list[dict[str, Any]]:
    """Loads a checkpoint and ranks labels for one video; see [`load_predictor`], which this calls."""
    return load_predictor(model, labels, templates, top_k, device)(video)


def _existing(model: str | os.PathLike) -> str:
    """The folder or Hub id; a path that is not there is told apart from a Hub id at once."""
    name = locate_base(model)
    is_folder = os.path.isdir(name)
    if not is_folder and (os.path.exists(name) or os.path.isabs(name) or name.startswith((".", "~"))):
        raise OSError(f"{name}: no such folder; expected one that a model was saved into, or a Hub id.")
    if is_folder and not os.path.isfile(os.path.join(name, "config.json")):
        raise OSError(f"{name}: has no config.json; expected a folder that a model was saved into.")
    return name


def _load_model(name: str) -> tuple[VitaClipModel, bool]:
    """The model in evaluation mode, and whether it has classes of its own."""
    config_dict, _ = PreTrainedConfig.get_config_dict(name)
    if config_dict.get("model_type") != VitaClipConfig.model_type:
        # The prompts of a plain CLIP would be random; without them it is CLIP, averaged over the frames.
        return VitaClipModel.from_pretrained(name, **NO_PROMPTS).eval(), False
    model = VitaClipModel.from_pretrained(name).eval()
    return model, model.config.label_token_ids is not None


def _load_processor(name: str) -> VitaClipProcessor:
    try:
        return VitaClipProcessor.from_pretrained(name)
    except OSError as error:
        raise OSError(
            f"{name} has a model but no processor; write one into it by processor.save_pretrained(...)."
        ) from error


__all__ = ["load_predictor", "predict_file"]
