"""
Checkpoints: what `from_pretrained` and `save_pretrained` of a Vita-CLIP read and write.

An adapter is the prompts alone, beside the name of the CLIP they were trained on. Prompts cannot be merged into the
base as low-rank updates can: they are tokens, not changes of weights. An adapter is therefore always a few tensors
beside an untouched CLIP.
"""

import copy
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoTokenizer, CLIPConfig, PreTrainedConfig
from transformers.utils import CONFIG_NAME, cached_file, logging

from .adapter_storage_vita_clip import (
    ADAPTER_FILE,
    check_base,
    check_same_tensors,
    fingerprint,
    has_quantized_base,
    is_prompt,
    is_quantized,
    read_adapter,
    write_adapter,
)
from .configuration_vita_clip import PROMPT_FIELDS, VitaClipConfig, check_label_names
from .labels_vita_clip import contexts_from_words, tokenize_labels
from .quantization_vita_clip import check_can_be_saved, with_reason
from .vision_vita_clip import resample_frames

if TYPE_CHECKING:
    # Never executed. Loading by trust_remote_code, transformers fetches every file that is imported here, by the text:
    # a model that came that way has all of them at hand, and saved again it is whole.
    from .pipeline_vita_clip import ZeroShotVideoClassificationPipeline  # noqa: F401
    from .processing_vita_clip import VitaClipProcessor  # noqa: F401

logger = logging.get_logger(__name__)

BASE_IN_PACKAGE = "package://"
HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")
COMMIT_IN_CACHE = re.compile(r"[/\\]snapshots[/\\]([0-9a-f]{40})[/\\]")
AUTO_MAP = {
    "AutoConfig": "configuration_vita_clip.VitaClipConfig",
    "AutoModel": "modeling_vita_clip.VitaClipModel",
    "AutoModelForVideoClassification": "modeling_vita_clip.VitaClipForVideoClassification",
    "AutoProcessor": "processing_vita_clip.VitaClipProcessor",
    "AutoVideoProcessor": "video_processing_vita_clip.VitaClipVideoProcessor",
}

CUSTOM_PIPELINES = {
    "zero-shot-video-classification": {
        "impl": "pipeline_vita_clip.ZeroShotVideoClassificationPipeline",
        "pt": ["AutoModel"],
        "type": "multimodal",
    }
}


# ---- load ----


@dataclass
class _Request:
    """What `from_pretrained` was asked for."""

    name: str  # as it was given, and as an adapter is to name its base
    path: str  # as transformers can load it
    config: VitaClipConfig
    labels: list[str] | None
    tokenizer: Any
    hub: dict[str, Any]  # the arguments that tell how to reach the Hub
    load_weights: Callable[..., tuple[Any, dict]]

    @property
    def hub_of_base(self) -> dict[str, Any]:
        """How to reach the base, which is another repository than the adapter, at the revision it was trained on."""
        shared = {key: value for key, value in self.hub.items() if key not in ("revision", "subfolder")}
        return {**shared, "revision": self.config.base_model_revision or "main"}

    def find_tokenizer(self, config: VitaClipConfig) -> Any:
        """The one that was given, else the base's."""
        self.tokenizer = self.tokenizer or load_tokenizer(config, self.hub)
        return self.tokenizer


def load_model(
    cls: type,
    load_all: Callable[..., Any],
    name_or_path: str | os.PathLike,
    model_args: tuple,
    config: VitaClipConfig | CLIPConfig | str | os.PathLike | None,
    tokenizer: Any,
    kwargs: dict[str, Any],
) -> Any:
    """
    `VitaClipModel.from_pretrained`: finds out whether it was given a CLIP, an adapter or a full checkpoint.

    Args:
        cls: the model class.
        load_all: transformers' own `from_pretrained` of that class.
        name_or_path, model_args, config, tokenizer, kwargs: as `VitaClipModel.from_pretrained` got them.
    """
    path = locate_base(name_or_path)
    hub = {key: kwargs.pop(key) for key in HUB_ARGUMENTS if key in kwargs}
    return_info = kwargs.pop("output_loading_info", False)
    kwargs.pop("adapter_kwargs", None)  # Auto classes pass it for peft: this repository's revision, not the base's
    labels = _requested_labels(kwargs)
    stored, _ = PreTrainedConfig.get_config_dict(path, **hub)
    if not stored:
        raise OSError(f"{path} has no {CONFIG_NAME}, and is no model.")
    config, kwargs = _load_config(cls, path, config, hub, kwargs)
    load_all = with_reason(load_all, kwargs.get("quantization_config"))

    def load_weights(weights: str, weights_hub: dict[str, Any]) -> tuple[Any, dict]:
        return load_all(weights, *model_args, config=config, output_loading_info=True, **weights_hub, **kwargs)

    request = _Request(os.fspath(name_or_path), path, config, labels, tokenizer, hub, load_weights)
    model_type = stored.get("model_type")
    if model_type == CLIPConfig.model_type:
        model, info = _start_from_clip(request)
    elif model_type == VitaClipConfig.model_type:
        model, info = _load_trained(request, VitaClipConfig(**stored))
    else:
        raise ValueError(f"{path} holds a model of the type {model_type!r}; expected a CLIP or a Vita-CLIP.")
    model.freeze_base()
    return (model, info) if return_info else model


def _start_from_clip(request: _Request) -> tuple[Any, dict]:
    """New prompts on a CLIP checkpoint."""
    config, labels = request.config, request.labels
    config.base_model_name_or_path = config.base_model_name_or_path or request.name
    config.base_model_revision = _commit_of(request.path, request.hub) or request.hub.get("revision")
    if labels is None and config.has_named_labels and config.label_token_ids is None:
        labels = config.label_names
    if labels is not None:
        config.set_label_names(labels)
        config.check_labels()
        config.label_token_ids = tokenize_labels(request.find_tokenizer(config), labels)
    model, info = request.load_weights(request.path, request.hub)
    model.remember_base()
    if config.text_prompt_init and model.class_prompts.num_contexts_rows:
        words = contexts_from_words(model, request.find_tokenizer(config), config.text_prompt_init)
        model.class_prompts.contexts.data[..., : len(words), :] = words
    return model, info


def _load_trained(request: _Request, stored: VitaClipConfig) -> tuple[Any, dict]:
    """An adapter on its base, or a full checkpoint, whose own configuration is `stored`."""
    config, labels, num_frames = request.config, request.labels, request.config.num_frames
    # Auto classes write the labels and fields that they are given into the configuration. The weights are loaded as
    # they were stored, and changed afterwards.
    if labels is None and config.label_names != stored.label_names:
        labels = config.label_names
    for field in ("id2label", "label2id", "label_token_ids", "num_frames"):
        setattr(config, field, getattr(stored, field))

    adapter_path = find_file(request.path, ADAPTER_FILE, request.hub)
    if adapter_path is None:
        model, info = request.load_weights(request.path, request.hub)
    else:
        if config.base_model_name_or_path is None:
            raise ValueError(f"{request.path} is an adapter, but its {CONFIG_NAME} names no base_model_name_or_path.")
        base = locate_base(config.base_model_name_or_path, relative_to=Path(adapter_path).parent)
        model, info = request.load_weights(base, request.hub_of_base)
        model.remember_base()
        load_adapter_weights(model, adapter_path)
    if num_frames != stored.num_frames:
        model.set_num_frames(num_frames)
    if labels is not None and labels != stored.label_names:
        model.set_labels(labels, request.find_tokenizer(model.config))
    return model, info


def load_adapter_weights(model: Any, path: str | os.PathLike) -> None:
    """
    Puts the prompts of an adapter file on a model whose base is loaded.

    Raises:
        OSError: the file cannot be read.
        ValueError: its tensors are not those of the model, or were trained on another base, or the model's own
            prompts are offloaded or quantized.
    """
    state = model.state_dict()
    offloaded = [name for name, tensor in state.items() if tensor.is_meta]
    if offloaded:
        raise ValueError(
            f"{path} cannot be loaded on a model that is not in memory; {offloaded[0]} is offloaded. Choose a "
            "device_map without offloading."
        )
    own = {name: tensor for name, tensor in state.items() if is_prompt(name)}
    quantized = [name for name, tensor in own.items() if is_quantized(tensor)]
    if quantized:
        raise ValueError(
            f"{path} cannot be loaded on quantized prompts, such as {quantized[0]}. Quantize the base alone, as "
            "from_pretrained does with a quantization_config."
        )
    tensors, base_fingerprint = read_adapter(path)
    check_base(model, base_fingerprint, path)
    check_same_tensors(own, tensors, path)
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def resample_prompts(model: Any, num_frames: int) -> None:
    """Makes the learned vectors of each frame those of clips of `num_frames` frames: the nearest in time."""
    holders = [(model.vision_model.embeddings, "temporal_embedding")]
    holders += [(layer.prompts, "local_prompts") for layer in model.vision_model.encoder.layers]
    for module, name in holders:
        vectors = getattr(module, name, None)
        if vectors is not None:
            resampled = resample_frames(vectors.detach(), num_frames).clone()
            setattr(module, name, torch.nn.Parameter(resampled, requires_grad=vectors.requires_grad))


def find_file(name_or_path: str | os.PathLike, file_name: str, hub: dict[str, Any]) -> str | None:
    """The path of a file of a folder or Hub repository, `None` where it has none."""
    return cached_file(name_or_path, file_name, _raise_exceptions_for_missing_entries=False, **hub)


def _commit_of(name_or_path: str, hub: dict[str, Any]) -> str | None:
    """The commit of a Hub repository that `revision` meant when its configuration was read; `None` for a folder."""
    path = None if os.path.isdir(name_or_path) else find_file(name_or_path, CONFIG_NAME, hub)
    found = COMMIT_IN_CACHE.search(path or "")
    return found[1] if found else None


def locate_base(name_or_path: str | os.PathLike, relative_to: Path | None = None) -> str:
    """
    What transformers can load: `package://name/folder` becomes that folder of an installed package, `./folder` one
    beside the adapter; a Hub id or another path stays as it is.

    Raises:
        OSError: the package or its folder is not there.
    """
    name = os.fspath(name_or_path)
    if name.startswith(BASE_IN_PACKAGE):
        package, _, folder = name.removeprefix(BASE_IN_PACKAGE).partition("/")
        try:
            path = Path(str(files(package))) / folder
        except ModuleNotFoundError as error:
            raise OSError(f"{name} is part of the Python package {package!r}, which is not installed.") from error
        if not path.is_dir():
            raise OSError(f"{name}: the installed package {package!r} has no folder {folder!r}.")
        return str(path)
    if relative_to is not None and name.startswith("./"):
        return str(relative_to / name)
    return name


def load_tokenizer(config: VitaClipConfig, hub: dict[str, Any] | None = None) -> Any:
    """
    The tokenizer of the base.

    Args:
        config: of the model.
        hub: `token`, `cache_dir` and what else tells how to reach the Hub.

    Raises:
        OSError: no base is named, or it has no tokenizer.
    """
    base = config.base_model_name_or_path
    if base is None or base.startswith("./"):
        base = config.name_or_path  # where the weights were loaded from
    if not base:
        raise OSError("The model names no base to load a tokenizer from. Give the argument tokenizer.")
    shared = {key: value for key, value in (hub or {}).items() if key not in ("revision", "subfolder")}
    return AutoTokenizer.from_pretrained(locate_base(base), revision=config.base_model_revision or "main", **shared)


def _requested_labels(kwargs: dict[str, Any]) -> list[str] | None:
    """The class names in `id2label` or `label2id`, which are taken out of `kwargs`."""
    id2label, label2id = kwargs.pop("id2label", None), kwargs.pop("label2id", None)
    if id2label is None and label2id is None:
        return None
    if id2label is None:
        id2label = {index: name for name, index in label2id.items()}
    by_id = {int(index): name for index, name in id2label.items()}
    check_label_names(list(by_id.values()))
    if sorted(by_id) != list(range(len(by_id))):
        raise ValueError(f"The ids of labels must be 0 to {len(by_id) - 1}; found {sorted(by_id)[:10]}.")
    return [by_id[index] for index in range(len(by_id))]


def _load_config(cls: Any, name_or_path: str, config: Any, hub: dict, kwargs: dict) -> tuple[VitaClipConfig, dict]:
    """The configuration with the fields in `kwargs` set, and what of `kwargs` is left for the weights."""
    if not isinstance(config, PreTrainedConfig):
        return cls.config_class.from_pretrained(config or name_or_path, return_unused_kwargs=True, **hub, **kwargs)
    is_ours = isinstance(config, cls.config_class)
    config = copy.deepcopy(config) if is_ours else cls.config_class.from_dict(config.to_dict())
    for field in (*PROMPT_FIELDS, "base_model_name_or_path", "label_token_ids"):
        if field in kwargs:
            setattr(config, field, kwargs.pop(field))
    return config, kwargs


# ---- save ----


def save_model(
    model: Any,
    save_all: Callable[..., Any],
    folder: str | os.PathLike,
    state_dict: dict[str, torch.Tensor] | None,
    adapter_only: bool | None,
    adapter_dtype: str | torch.dtype | None,
    kwargs: dict[str, Any],
) -> None:
    """`VitaClipModel.save_pretrained`: the prompts alone, or by transformers' own `save_all` the whole model."""
    if adapter_only is None:
        adapter_only = model.config.base_model_name_or_path is not None
    if not adapter_only:
        if adapter_dtype is not None:
            raise ValueError(f"adapter_dtype={adapter_dtype} is for adapters, and this saves the whole model.")
        check_can_be_saved(model)
        _write_whole(folder, lambda target: _save_full(model, save_all, target, state_dict, kwargs))
        (Path(folder) / ADAPTER_FILE).unlink(missing_ok=True)  # one that stood here before would be loaded
        return
    _check_adapter(model, Path(folder))
    _write_whole(folder, lambda target: save_adapter(model, target, state_dict, adapter_dtype))


def _check_adapter(model: Any, folder: Path) -> None:
    """Raises `ValueError` where the model's prompts, saved into `folder`, could not be loaded again."""
    base = model.config.base_model_name_or_path
    if base is None:
        raise ValueError(
            "An adapter names the base that it belongs to, and this model has none: it was not loaded from a CLIP "
            "checkpoint. Set config.base_model_name_or_path, or save with adapter_only=False."
        )
    if folder.is_dir() and os.path.isdir(base) and os.path.samefile(base, folder):
        raise ValueError(f"An adapter saved into {folder} would overwrite its base there; give another folder.")
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad and not is_prompt(name)]
    if trained:
        raise ValueError(
            f"{trained[0]} belongs to the base and requires a gradient, and an adapter is of use on an unchanged base "
            "only. Save with adapter_only=False, or call freeze_base() if the base is as it was loaded."
        )


def save_adapter(
    model: Any,
    folder: Path,
    state_dict: dict[str, torch.Tensor] | None = None,
    dtype: str | torch.dtype | None = None,
) -> None:
    """
    Writes `adapter_model.safetensors` and a configuration that names the base, its revision and fingerprint. Of a base
    that is quantized it is the fingerprint that the model was loaded with, if any.
    """
    config = model.config
    tensors = model.state_dict() if state_dict is None else state_dict
    prompts = {name: tensor for name, tensor in tensors.items() if is_prompt(name)}
    if len(prompts) < len(tensors) and not has_quantized_base(tensors):
        config.base_model_fingerprint = fingerprint(tensors)
    config.architectures = [type(model).__name__]
    config.dtype = str(model.dtype).removeprefix("torch.")
    name_code(config)
    _without_quantization(config).save_pretrained(folder)
    write_adapter(folder / ADAPTER_FILE, prompts, config.base_model_fingerprint, dtype)
    copy_code(folder)


def _without_quantization(config: VitaClipConfig) -> VitaClipConfig:
    """How this model's base was loaded is no part of an adapter, and the base of the next may come as it is."""
    if getattr(config, "quantization_config", None) is None:
        return config
    config = copy.deepcopy(config)
    del config.quantization_config
    return config


def _save_full(model: Any, save_all: Callable[..., Any], folder: Path, state_dict: Any, kwargs: dict) -> None:
    config = model.config
    base, config.base_model_name_or_path = config.base_model_name_or_path, None
    name_code(config)
    try:
        save_all(folder, state_dict=state_dict, **kwargs)
    finally:
        config.base_model_name_or_path = base
    copy_code(folder)


def name_code(config: VitaClipConfig) -> None:
    """Writes into the configuration which classes of the files that stand beside it transformers is to load."""
    config.auto_map = dict(AUTO_MAP)
    config.custom_pipelines = copy.deepcopy(CUSTOM_PIPELINES)  # transformers' pipeline() changes what it finds


def copy_code(folder: Path) -> None:
    """Puts the files that run a checkpoint beside it, for `trust_remote_code`."""
    for source in Path(__file__).parent.glob("*_vita_clip.py"):
        shutil.copyfile(source, folder / source.name)


def _write_whole(folder: str | os.PathLike, write: Callable[[Path], None]) -> None:
    """Writes into a temporary folder beside `folder` and moves the files in when all of them are there."""
    target = Path(folder)
    if target.is_file():
        raise OSError(f"{target} is a file; expected a folder to save into.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
        write(Path(temporary))
        target.mkdir(exist_ok=True)
        for path in sorted(Path(temporary).iterdir()):
            os.replace(path, target / path.name)
