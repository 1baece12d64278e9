"""The authors' checkpoints to ours and back: their tensors in memory, and their `.pth` files."""

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from .efficient_prompt import efficient_prompt_from_original as efficient_prompt_from_original
    from .efficient_prompt import efficient_prompt_tensors as efficient_prompt_tensors
    from .files import Conversion as Conversion
    from .files import convert_checkpoint as convert_checkpoint
    from .files import read_original as read_original
    from .files import write_original as write_original
    from .tensors import DERIVED as DERIVED
    from .tensors import config_from_shapes as config_from_shapes
    from .tensors import load_strictly as load_strictly
    from .tensors import strip_placeholders as strip_placeholders
    from .tensors import tensors_from_original as tensors_from_original
    from .tensors import vita_clip_from_original as vita_clip_from_original
    from .tensors import vita_clip_to_original as vita_clip_to_original

__all__ = [
    "DERIVED",
    "Conversion",
    "config_from_shapes",
    "convert_checkpoint",
    "efficient_prompt_from_original",
    "efficient_prompt_tensors",
    "load_strictly",
    "read_original",
    "strip_placeholders",
    "tensors_from_original",
    "vita_clip_from_original",
    "vita_clip_to_original",
    "write_original",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "efficient_prompt": ("efficient_prompt_from_original", "efficient_prompt_tensors"),
        "files": ("Conversion", "convert_checkpoint", "read_original", "write_original"),
        "tensors": (
            "DERIVED",
            "config_from_shapes",
            "load_strictly",
            "strip_placeholders",
            "tensors_from_original",
            "vita_clip_from_original",
            "vita_clip_to_original",
        ),
    },
)
