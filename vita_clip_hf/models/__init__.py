"""Models under evaluation, behind one small interface."""

from .clip_mean import ClipMean
from .efficient_prompt import EfficientPrompt
from .interface import VideoFeatures, VideoTextModel
from .loading import available_device, fixed_num_frames, load_model
from .vita_clip import VitaClip
from .x_clip import XClip, XClipVideoFeatures

__all__ = [
    "ClipMean",
    "EfficientPrompt",
    "VideoFeatures",
    "VideoTextModel",
    "VitaClip",
    "XClip",
    "XClipVideoFeatures",
    "available_device",
    "fixed_num_frames",
    "load_model",
]
