"""Annotation lists, video files and clips."""

from .augmentation import build_clip_augmentation
from .clips import DecodedClips, collate_clips, decode_clips
from .loading import load_annotations, load_videos
from .video_clips import StreamedVideoClips, VideoClips
from .video_views import VideoViews

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
