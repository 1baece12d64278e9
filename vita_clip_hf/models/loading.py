"""A model under evaluation by its name: Vita-CLIP, Efficient-Prompt, X-CLIP, or any CLIP, averaged over frames."""

import os
from typing import Any

import torch
from transformers import CLIPModel, XCLIPModel

from ..modeling.configuration_efficient_prompt import EfficientPromptConfig
from ..modeling.configuration_vita_clip import VitaClipConfig, read_config_fields
from ..modeling.modeling_efficient_prompt import EfficientPromptModel
from ..modeling.modeling_vita_clip import VitaClipModel
from ..modeling.processing_vita_clip import VitaClipProcessor
from ..modeling.remote_code_vita_clip import locate_base
from .clip_mean import ClipMean
from .efficient_prompt import EfficientPrompt
from .interface import VideoTextModel
from .vita_clip import VitaClip
from .whole_weights import load_whole
from .x_clip import XClip

# Wrapper and model by the `model_type` of config.json.
LOADERS: dict[str, tuple[type[VideoTextModel], Any]] = {
    VitaClipConfig.model_type: (VitaClip, VitaClipModel),
    EfficientPromptConfig.model_type: (EfficientPrompt, EfficientPromptModel),
    "xclip": (XClip, XCLIPModel),
    "clip": (ClipMean, CLIPModel),
}


def load_model(
    name: str | os.PathLike,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device | None = None,
    revision: str | None = None,
) -> tuple[VideoTextModel, VitaClipProcessor]:
    """
    Loads a checkpoint and its processor, for evaluation and prediction.

    Args:
        name: a folder or a Hub id: an adapter or full checkpoint of Vita-CLIP or Efficient-Prompt, a CLIP (OpenCLIP's
            and MetaCLIP's in that form too), or an X-CLIP.
        dtype: of the weights.
        device: by default the CPU.
        revision: of a Hub id.

    Returns:
        The model, in evaluation mode, and its tokenizer and video processor. X-CLIP's clips have the number of frames
        of its configuration, to which the processor is set.

    Raises:
        OSError: there is no such checkpoint, or a file of it is missing.
        ValueError: it is of another kind of model, or damaged, or the device cannot be used.
    """
    if device is not None:
        available_device(device)
    place = _existing(name)
    settings: dict[str, Any] = {} if revision is None else {"revision": revision}
    kind = read_config_fields(place, **settings).get("model_type")
    if not isinstance(kind, str) or kind not in LOADERS:
        raise ValueError(f"{name} is a model of the type {kind!r}; expected one of {', '.join(map(repr, LOADERS))}.")
    try:
        processor = VitaClipProcessor.from_pretrained(place, **settings)
    except OSError as error:
        raise OSError(
            f"{name} has a model but no whole processor; write one into it by processor.save_pretrained(...): {error}"
        ) from error
    wrapper, model_class = LOADERS[kind]
    if model_class in (CLIPModel, XCLIPModel):
        loaded = load_whole(model_class, place, dtype, settings)
    else:
        loaded = model_class.from_pretrained(place, dtype=dtype, **settings)
    model = wrapper(loaded.eval().to(device or "cpu"), processor.tokenizer)
    num_frames = fixed_num_frames(model)
    if num_frames is not None:
        processor.video_processor.num_frames = num_frames
    return model, processor


def fixed_num_frames(model: VideoTextModel) -> int | None:
    """The frames that every clip of the model must have; `None` if it takes clips of any length."""
    return model.model.config.vision_config.num_frames if isinstance(model, XClip) else None


def available_device(device: str | torch.device | None = None) -> torch.device:
    """
    The device, if this machine has it; by default the first accelerator, else the CPU.

    Raises:
        ValueError: there is no such device.
    """
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if device is None:
        return accelerator or torch.device("cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"{device!r} is no device; expected one such as 'cpu', 'cuda' or 'cuda:1'.") from error
    num_devices = torch.accelerator.device_count() if accelerator is not None else 0
    known = ["cpu", *(f"{accelerator.type}:{index}" for index in range(num_devices) if accelerator is not None)]
    if f"{found.type}:{found.index or 0}" not in known and found.type != "cpu":
        raise ValueError(f"This machine has no device {device}; it has {', '.join(known)}.")
    return found


def _existing(name: str | os.PathLike) -> str:
    """The folder or Hub id; a path that is not there is told apart from a Hub id at once."""
    place = locate_base(name)
    if os.path.isdir(place) and not os.path.isfile(os.path.join(place, "config.json")):
        raise FileNotFoundError(f"{name}: has no config.json; expected a folder that a model was saved into.")
    looks_like_path = os.path.isabs(place) or place.startswith((".", "~")) or place.count("/") > 1
    if not os.path.isdir(place) and (os.path.exists(place) or looks_like_path):
        raise FileNotFoundError(f"{name}: no such folder; expected one that a model was saved into, or a Hub id.")
    return place


__all__ = ["LOADERS", "available_device", "fixed_num_frames", "load_model"]
