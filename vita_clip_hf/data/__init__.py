"""Annotation lists, video files and clips."""

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from .augmentation import build_clip_augmentation as build_clip_augmentation
    from .clips import DecodedClips as DecodedClips
    from .clips import collate_clips as collate_clips
    from .clips import decode_clips as decode_clips
    from .loading import load_annotations as load_annotations
    from .loading import load_videos as load_videos
    from .video_clips import StreamedVideoClips as StreamedVideoClips
    from .video_clips import VideoClips as VideoClips
    from .video_views import VideoViews as VideoViews

__all__ = [
    "DecodedClips",
    "StreamedVideoClips",
    "VideoClips",
    "VideoViews",
    "build_clip_augmentation",
    "collate_clips",
    "decode_clips",
    "load_annotations",
    "load_videos",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "augmentation": ("build_clip_augmentation",),
        "clips": ("DecodedClips", "collate_clips", "decode_clips"),
        "loading": ("load_annotations", "load_videos"),
        "video_clips": ("StreamedVideoClips", "VideoClips"),
        "video_views": ("VideoViews",),
    },
)
