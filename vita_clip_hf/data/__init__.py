"""Annotation lists, video files and clips."""

from .annotations import load_annotations
from .clips import DecodedClips, collate_clips, decode_clips

__all__ = ["DecodedClips", "collate_clips", "decode_clips", "load_annotations"]
