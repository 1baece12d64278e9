"""Annotation lists, video files and clips."""

from .clips import DecodedClips, collate_clips, decode_clips
from .loading import load_annotations, load_videos

__all__ = ["DecodedClips", "collate_clips", "decode_clips", "load_annotations", "load_videos"]
