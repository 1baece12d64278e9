"""
Vita-CLIP for the Hugging Face ecosystem: importing it makes transformers' Auto classes and pipeline() know it.

The import itself is light. Public names are loaded when they are first used, and the Auto classes learn of Vita-CLIP
when transformers loads them.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING

from .lazy_names import lazy_names
from .registration import register_after_imports

if TYPE_CHECKING:
    from .modeling.configuration_efficient_prompt import EfficientPromptConfig as EfficientPromptConfig
    from .modeling.configuration_vita_clip import VitaClipConfig as VitaClipConfig
    from .modeling.configuration_vita_clip import VitaClipTextConfig as VitaClipTextConfig
    from .modeling.configuration_vita_clip import VitaClipVisionConfig as VitaClipVisionConfig
    from .modeling.modeling_efficient_prompt import (
        EfficientPromptForVideoClassification as EfficientPromptForVideoClassification,
    )
    from .modeling.modeling_efficient_prompt import EfficientPromptModel as EfficientPromptModel
    from .modeling.modeling_vita_clip import VitaClipForVideoClassification as VitaClipForVideoClassification
    from .modeling.modeling_vita_clip import VitaClipModel as VitaClipModel
    from .modeling.modeling_vita_clip import VitaClipOutput as VitaClipOutput
    from .modeling.pipeline_vita_clip import ZeroShotVideoClassificationPipeline as ZeroShotVideoClassificationPipeline
    from .modeling.processing_vita_clip import VitaClipProcessor as VitaClipProcessor
    from .modeling.video_processing_vita_clip import VitaClipVideoProcessor as VitaClipVideoProcessor

__version__ = version("vita-clip-hf")
__all__ = [
    "EfficientPromptConfig",
    "EfficientPromptForVideoClassification",
    "EfficientPromptModel",
    "VitaClipConfig",
    "VitaClipForVideoClassification",
    "VitaClipModel",
    "VitaClipOutput",
    "VitaClipProcessor",
    "VitaClipTextConfig",
    "VitaClipVideoProcessor",
    "VitaClipVisionConfig",
    "ZeroShotVideoClassificationPipeline",
    "__version__",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "modeling.configuration_efficient_prompt": ("EfficientPromptConfig",),
        "modeling.modeling_efficient_prompt": ("EfficientPromptForVideoClassification", "EfficientPromptModel"),
        "modeling.configuration_vita_clip": ("VitaClipConfig", "VitaClipTextConfig", "VitaClipVisionConfig"),
        "modeling.modeling_vita_clip": ("VitaClipForVideoClassification", "VitaClipModel", "VitaClipOutput"),
        "modeling.pipeline_vita_clip": ("ZeroShotVideoClassificationPipeline",),
        "modeling.processing_vita_clip": ("VitaClipProcessor",),
        "modeling.video_processing_vita_clip": ("VitaClipVideoProcessor",),
    },
)
register_after_imports()
