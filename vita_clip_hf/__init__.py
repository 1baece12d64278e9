"""Vita-CLIP for the Hugging Face ecosystem: importing it makes transformers' Auto classes and pipeline() know it."""

from importlib.metadata import version

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForVideoClassification,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
    AutoVideoProcessor,
)
from transformers.pipelines import PIPELINE_REGISTRY

from .hub.upload import push_to_hub, upload_processor
from .modeling.configuration_vita_clip import VitaClipConfig, VitaClipTextConfig, VitaClipVisionConfig
from .modeling.modeling_vita_clip import VitaClipForVideoClassification, VitaClipModel, VitaClipOutput
from .modeling.pipeline_vita_clip import ZeroShotVideoClassificationPipeline
from .modeling.processing_vita_clip import VitaClipProcessor
from .modeling.video_processing_vita_clip import VitaClipVideoProcessor

__version__ = version("vita-clip-hf")

# exist_ok: code that came with a checkpoint (trust_remote_code) may have registered the same names before.
AutoConfig.register(VitaClipConfig.model_type, VitaClipConfig, exist_ok=True)
AutoModel.register(VitaClipConfig, VitaClipModel, exist_ok=True)
AutoModelForVideoClassification.register(VitaClipConfig, VitaClipForVideoClassification, exist_ok=True)
AutoModelForZeroShotImageClassification.register(VitaClipConfig, VitaClipModel, exist_ok=True)
AutoProcessor.register(VitaClipConfig, VitaClipProcessor, exist_ok=True)
AutoVideoProcessor.register(VitaClipConfig, VitaClipVideoProcessor, exist_ok=True)
PIPELINE_REGISTRY.register_pipeline(
    "zero-shot-video-classification", ZeroShotVideoClassificationPipeline, pt_model=AutoModel, type="multimodal"
)
# Code that came with a checkpoint alone has transformers' own.
VitaClipModel.push_to_hub = push_to_hub
VitaClipProcessor.push_to_hub = upload_processor

__all__ = [
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
