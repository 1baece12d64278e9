"""
The code of a checkpoint: the files that stand beside it for `trust_remote_code`, the names by which its configuration
says which classes to load from them, and bases that come with an installed package.
"""

import copy
import os
import shutil
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from .configuration_vita_clip import PromptedClipConfig

if TYPE_CHECKING:
    # Never executed. When transformers loads a class by trust_remote_code, it fetches every file that is imported in
    # the text of the class's file, and so on from there. By these lines a model that came that way has the files of
    # its pipeline, processor and CPU kernels too, and is whole when it is saved again.
    from .cpu_vita_clip import use_cpu_kernels  # noqa: F401
    from .pipeline_vita_clip import ZeroShotVideoClassificationPipeline  # noqa: F401
    from .processing_vita_clip import VitaClipProcessor  # noqa: F401

BASE_IN_PACKAGE = "package://"
OWN_PACKAGE = "vita_clip_hf"
# A distribution says by an entry point of this group, whose name is that of its package, that bases lie in it.
PACKAGES_WITH_BASES = "vita_clip_hf.bases"
# The beginning of the classes' names, by the type of model.
CLASSES = {"vita_clip": "VitaClip", "efficient_prompt": "EfficientPrompt"}
# The files that run a model of each type.
CODE_PATTERNS = {
    "vita_clip": ("*_vita_clip.py",),
    "efficient_prompt": ("*_vita_clip.py", "*_efficient_prompt.py"),
}
CUSTOM_PIPELINES = {
    "zero-shot-video-classification": {
        "impl": "pipeline_vita_clip.ZeroShotVideoClassificationPipeline",
        "pt": ["AutoModel"],
        "type": "multimodal",
    }
}


def name_code(config: PromptedClipConfig) -> None:
    """Writes into the configuration which classes of the files beside it transformers is to load."""
    kind, name = config.model_type, CLASSES[config.model_type]
    config.auto_map = {
        "AutoConfig": f"configuration_{kind}.{name}Config",
        "AutoModel": f"modeling_{kind}.{name}Model",
        "AutoModelForVideoClassification": f"modeling_{kind}.{name}ForVideoClassification",
        "AutoModelForZeroShotImageClassification": f"modeling_{kind}.{name}Model",
        "AutoProcessor": "processing_vita_clip.VitaClipProcessor",
        "AutoVideoProcessor": "video_processing_vita_clip.VitaClipVideoProcessor",
    }
    config.custom_pipelines = copy.deepcopy(CUSTOM_PIPELINES)  # transformers' pipeline() changes what it finds


def copy_code(folder: Path, model_type: str) -> None:
    """Puts the files that run a checkpoint of that type beside it, for `trust_remote_code`."""
    for pattern in CODE_PATTERNS[model_type]:
        for source in Path(__file__).parent.glob(pattern):
            shutil.copyfile(source, folder / source.name)


def locate_base(name_or_path: str | os.PathLike, relative_to: Path | None = None) -> str:
    """
    A base's name as transformers can load it: of `package://name/folder` that folder of an installed package, of
    `./folder` the one in the folder `relative_to`, the adapter's; a Hub id or another path stays as it is. Of
    packages, this one is understood and those that declare themselves (`PACKAGES_WITH_BASES`); nothing is imported.

    Raises:
        OSError: the package or its folder is not there.
        ValueError: the package has not declared that bases lie in it, or the folder leads out of it.
    """
    name = os.fspath(name_or_path)
    if name.startswith(BASE_IN_PACKAGE):
        return str(_folder_of_package(name))
    if relative_to is not None and name.startswith("./"):
        return str(relative_to / name)
    return name


def stored_base(config: PromptedClipConfig, folder: Path) -> str:
    """
    The name of the base as an adapter in `folder` stores it. `./base` stays if it is there, inside the adapter. Else
    it is in the folder that the model was loaded from, or in the working directory, and becomes an absolute path.
    """
    name = str(config.base_model_name_or_path)
    if name.startswith("./") and not (folder / name).is_dir():
        for place in (config.name_or_path, os.curdir):
            if os.path.isdir(os.path.join(place, name)):
                return os.path.abspath(os.path.join(place, name))
    return name


def _folder_of_package(name: str) -> Path:
    package, _, folder = name.removeprefix(BASE_IN_PACKAGE).partition("/")
    top, *parts = package.split(".")
    if top not in (OWN_PACKAGE, *(entry.name for entry in entry_points(group=PACKAGES_WITH_BASES))):
        raise ValueError(
            f"{name} names the package {top!r}, which has not declared that models lie in it; expected {OWN_PACKAGE}, "
            f"or a package with an entry point of the group {PACKAGES_WITH_BASES!r}. Give the folder by its path."
        )
    spec = find_spec(top)  # of a name without dots: the package is not imported
    if spec is None:
        raise OSError(f"{name} is part of the Python package {top!r}, which is not installed: pip install it.")
    parts += folder.split("/")
    for place in spec.submodule_search_locations or ():
        path = Path(place, *parts)
        if path.is_dir() and ".." not in parts:
            return path
    raise OSError(f"{name}: the installed package {top!r} has no folder {'/'.join(parts)!r}.")
