"""
transformers' Auto classes and pipelines learn of Vita-CLIP when they are loaded, and not before.

Registering needs the classes on both sides, and these need `transformers.modeling_utils`, which takes seconds and
imports accelerate and torchao. So an import hook waits until transformers has loaded the module that a registration is
for. The modules of transformers import each other, and ours import them: a registration runs when none of them is half
loaded.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.abc import FileLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# hub/ imports modeling/, and what is registered imports hub/: registration waits until a module of hub/ is loaded too.
_WATCHED = ("transformers.", f"{__package__}.modeling.", f"{__package__}.hub.")


def _register_config() -> None:
    from transformers import AutoConfig

    from .modeling.configuration_efficient_prompt import EfficientPromptConfig
    from .modeling.configuration_vita_clip import VitaClipConfig

    for config_class in (VitaClipConfig, EfficientPromptConfig):
        AutoConfig.register(config_class.model_type, config_class, exist_ok=True)


def _register_models() -> None:
    from transformers import AutoModel, AutoModelForVideoClassification, AutoModelForZeroShotImageClassification

    from .modeling.modeling_efficient_prompt import EfficientPromptForVideoClassification, EfficientPromptModel
    from .modeling.modeling_vita_clip import VitaClipForVideoClassification, VitaClipModel

    for model, classifier in (
        (VitaClipModel, VitaClipForVideoClassification),
        (EfficientPromptModel, EfficientPromptForVideoClassification),
    ):
        AutoModel.register(model.config_class, model, exist_ok=True)
        AutoModelForVideoClassification.register(model.config_class, classifier, exist_ok=True)
        AutoModelForZeroShotImageClassification.register(model.config_class, model, exist_ok=True)


def _register_video_processor() -> None:
    from transformers import AutoVideoProcessor

    from .modeling.configuration_efficient_prompt import EfficientPromptConfig
    from .modeling.configuration_vita_clip import VitaClipConfig
    from .modeling.video_processing_vita_clip import VitaClipVideoProcessor

    for config_class in (VitaClipConfig, EfficientPromptConfig):
        AutoVideoProcessor.register(config_class, VitaClipVideoProcessor, exist_ok=True)


def _register_processor() -> None:
    from transformers import AutoProcessor

    from .modeling.configuration_efficient_prompt import EfficientPromptConfig
    from .modeling.configuration_vita_clip import VitaClipConfig
    from .modeling.processing_vita_clip import VitaClipProcessor

    for config_class in (VitaClipConfig, EfficientPromptConfig):
        AutoProcessor.register(config_class, VitaClipProcessor, exist_ok=True)


def _register_pipeline() -> None:
    from transformers import AutoModel
    from transformers.pipelines import PIPELINE_REGISTRY

    from .modeling.pipeline_vita_clip import ZeroShotVideoClassificationPipeline

    PIPELINE_REGISTRY.register_pipeline(
        "zero-shot-video-classification", ZeroShotVideoClassificationPipeline, pt_model=AutoModel, type="multimodal"
    )


def _hand_over_uploads() -> None:
    """Code that came with a checkpoint alone keeps transformers' own `push_to_hub`."""
    from .hub.upload import push_to_hub, upload_processor
    from .modeling.modeling_vita_clip import VitaClipModel
    from .modeling.processing_vita_clip import VitaClipProcessor

    VitaClipModel.push_to_hub = push_to_hub
    VitaClipProcessor.push_to_hub = upload_processor


# exist_ok above: code that came with a checkpoint (trust_remote_code) may have registered the same names before.
_WAITING: dict[str, Callable[[], None]] = {
    "transformers.models.auto.configuration_auto": _register_config,
    "transformers.models.auto.modeling_auto": _register_models,
    "transformers.models.auto.video_processing_auto": _register_video_processor,
    "transformers.models.auto.processing_auto": _register_processor,
    "transformers.pipelines": _register_pipeline,
    f"{__package__}.modeling.modeling_vita_clip": _hand_over_uploads,
    f"{__package__}.modeling.processing_vita_clip": _hand_over_uploads,
}


class _AfterImports(MetaPathFinder):
    """Finds nothing itself: counts the watched modules that are being loaded, and registers when there are none."""

    def __init__(self) -> None:
        self.num_loading = 0

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith(_WATCHED):
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next((found for finder in others if (found := finder.find_spec(name, path, target))), None)
        if spec is not None and isinstance(spec.loader, FileLoader):
            spec.loader.exec_module = partial(self._load, spec.loader.exec_module)  # type: ignore[method-assign]
        return spec

    def _load(self, execute: Callable[[ModuleType], None], module: ModuleType) -> None:
        self.num_loading += 1
        try:
            execute(module)
        finally:
            self.num_loading -= 1
        if self.num_loading == 0:
            self.register()

    def register(self) -> None:
        """Runs the registrations whose module is loaded."""
        for name in [name for name in _WAITING if name in sys.modules]:
            register = _WAITING.pop(name, None)  # one may have run inside another, which loads more modules
            if register is not None:
                register()
        if not _WAITING and self in sys.meta_path:
            sys.meta_path.remove(self)


def register_after_imports() -> None:
    """Registers for what transformers has loaded already, and for the rest as soon as it is loaded."""
    finder = _AfterImports()
    sys.meta_path.insert(0, finder)
    finder.register()


__all__ = ["register_after_imports"]
