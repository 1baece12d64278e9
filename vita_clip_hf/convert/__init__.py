"""The authors' checkpoints to ours and back: their tensors in memory, and their `.pth` files."""

from .files import Conversion, convert_checkpoint, read_original, write_original
from .tensors import (
    DERIVED,
    config_from_shapes,
    load_strictly,
    strip_placeholders,
    tensors_from_original,
    vita_clip_from_original,
    vita_clip_to_original,
)

__all__ = [
    "DERIVED",
    "Conversion",
    "config_from_shapes",
    "convert_checkpoint",
    "load_strictly",
    "read_original",
    "strip_placeholders",
    "tensors_from_original",
    "vita_clip_from_original",
    "vita_clip_to_original",
    "write_original",
]
