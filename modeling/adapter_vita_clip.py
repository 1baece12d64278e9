"""
Adapter checkpoints: the prompts alone, beside the name of the CLIP they were trained on.

Prompts cannot be merged into the base as low-rank updates can: they are tokens, not changes of weights. An adapter is
therefore always a few tensors beside an untouched CLIP.
"""

import copy
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import AutoTokenizer, CLIPConfig, PreTrainedConfig
from transformers.utils import cached_file, logging

from .configuration_vita_clip import VitaClipConfig
from .labels_vita_clip import contexts_from_words, tokenize_labels


logger = logging.get_logger(__name__)

ADAPTER_FILE = "adapter_model.safetensors"
BASE_IN_PACKAGE = "package://"
PROMPT_PATTERNS = {r"\.prompts\.", r"temporal_embedding$", r"^class_prompts\.", r"^logit_scale$"}
HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")
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


def is_prompt(name: str) -> bool:
    """Whether a parameter belongs to an adapter: prompts, contexts, temporal embedding and `logit_scale`."""
    return any(re.search(pattern, name) for pattern in PROMPT_PATTERNS)


# ---- load ----


def load_model(
    cls: type,
    load_weights: Callable[..., Any],
    name_or_path: str | os.PathLike,
    model_args: tuple,
    config: VitaClipConfig | str | os.PathLike | None,
    tokenizer: Any,
    kwargs: dict[str, Any],
) -> Any:
    """
    `VitaClipModel.from_pretrained`: finds out whether it was given a CLIP, an adapter or a full checkpoint.

    Args:
        cls: the model class.
        load_weights: transformers' own `from_pretrained` of that class.
        name_or_path, model_args, config, tokenizer, kwargs: as `VitaClipModel.from_pretrained` got them.
    """
    name_or_path = locate_base(name_or_path)
    hub = {key: kwargs.pop(key) for key in HUB_ARGUMENTS if key in kwargs}
    return_info = kwargs.pop("output_loading_info", False)
    labels = _requested_labels(kwargs)
    adapter_path = find_file(name_or_path, ADAPTER_FILE, hub)
    starts_from_clip = adapter_path is None and _is_plain_clip(name_or_path, hub)
    config, kwargs = _load_config(cls, name_or_path, config, hub, kwargs)

    weights, weights_hub = name_or_path, hub
    if adapter_path is not None:
        weights = locate_base(_base_of(config, name_or_path), relative_to=Path(adapter_path).parent)
        shared = {key: value for key, value in hub.items() if key not in ("revision", "subfolder")}
        weights_hub = {**shared, "revision": config.base_model_revision or "main"}
    elif starts_from_clip:
        config.base_model_name_or_path = config.base_model_name_or_path or os.fspath(name_or_path)
        config.base_model_revision = hub.get("revision")
        if labels:
            tokenizer = tokenizer or load_tokenizer(config)
            _name_classes(config, labels, tokenizer)
            labels = None
    model, info = load_weights(
        weights, *model_args, config=config, output_loading_info=True, **weights_hub, **kwargs
    )
    if adapter_path is not None:
        load_adapter_weights(model, adapter_path)
    elif starts_from_clip and config.text_prompt_init and model.class_prompts.num_contexts_rows:
        words = contexts_from_words(model, tokenizer or load_tokenizer(config), config.text_prompt_init)
        model.class_prompts.contexts.data[..., : len(words), :] = words
    if labels and labels != config.label_names:
        model.set_labels(labels, tokenizer)
    model.freeze_base()
    return (model, info) if return_info else model


def load_adapter_weights(model: Any, path: str | os.PathLike) -> None:
    """
    Puts the prompts of an adapter file on a model whose base is loaded.

    Raises:
        OSError: the file cannot be read.
        ValueError: its tensors are not those of the model, or were trained on another base.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a dict
    except SafetensorError as error:
        raise OSError(f"{path} is not a readable safetensors file: {error}") from error
    check_base(model, metadata.get("base_model_fingerprint"), path)
    own = {name: parameter for name, parameter in model.state_dict().items() if is_prompt(name)}
    _check_same_tensors(own, tensors, path)
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def check_base(model: Any, expected: str | None, path: str | os.PathLike) -> None:
    """Raises `ValueError` where the model's base is not the one that the adapter at `path` was trained on."""
    if expected is None:
        return
    if model.logit_scale.dtype == torch.float16:
        # Rounded to float16 first, the weights of a float32 base give another hash.
        logger.warning(f"The base of {path} was loaded in float16, in which it cannot be recognised.")
        return
    found = fingerprint(model)
    if found != expected:
        raise ValueError(
            f"{path} was trained on another base: expected {model.config.base_model_name_or_path} with the "
            f"fingerprint {expected}, found {found} in what was loaded. Give the right base by "
            f"base_model_name_or_path=..."
        )


def _check_same_tensors(own: dict[str, torch.Tensor], found: dict[str, torch.Tensor], path: Any) -> None:
    missing, unexpected = sorted(own.keys() - found.keys()), sorted(found.keys() - own.keys())
    if missing or unexpected:
        raise ValueError(
            f"{path} does not hold the prompts of its configuration: missing {missing[:3] or 'nothing'}, unexpected "
            f"{unexpected[:3] or 'nothing'} ({len(missing)} and {len(unexpected)} tensors)."
        )
    for name, tensor in found.items():
        if tensor.shape != own[name].shape:
            raise ValueError(
                f"{path}: {name} has the shape {tuple(tensor.shape)}, expected {tuple(own[name].shape)} "
                "by the configuration."
            )


def find_file(name_or_path: str | os.PathLike, file_name: str, hub: dict[str, Any]) -> str | None:
    """The path of a file of a folder or Hub repository, `None` where it has none."""
    return cached_file(name_or_path, file_name, _raise_exceptions_for_missing_entries=False, **hub)


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


def load_tokenizer(config: VitaClipConfig) -> Any:
    """
    The tokenizer of the base.

    Raises:
        OSError: no base is named, or it has no tokenizer.
    """
    base = config.base_model_name_or_path or config.name_or_path
    if not base:
        raise OSError("The model names no base to load a tokenizer from. Give the argument tokenizer.")
    return AutoTokenizer.from_pretrained(locate_base(base), revision=config.base_model_revision or "main")


def _requested_labels(kwargs: dict[str, Any]) -> list[str] | None:
    """The class names in `id2label` or `label2id`, which are taken out of `kwargs`."""
    id2label, label2id = kwargs.pop("id2label", None), kwargs.pop("label2id", None)
    if id2label is None and label2id is None:
        return None
    by_id = {int(index): name for index, name in (id2label or {i: n for n, i in label2id.items()}).items()}
    if sorted(by_id) != list(range(len(by_id))):
        raise ValueError(f"The ids of labels must be 0 to {len(by_id) - 1}; found {sorted(by_id)[:10]}.")
    return [by_id[index] for index in range(len(by_id))]


def _name_classes(config: VitaClipConfig, labels: list[str], tokenizer: Any) -> None:
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: index for index, name in enumerate(labels)}
    config.check_labels()
    config.label_token_ids = tokenize_labels(tokenizer, labels)


def _is_plain_clip(name_or_path: str, hub: dict[str, Any]) -> bool:
    config_dict, _ = PreTrainedConfig.get_config_dict(name_or_path, **hub)
    return config_dict.get("model_type") != VitaClipConfig.model_type


def _load_config(cls: type, name_or_path: str, config: Any, hub: dict, kwargs: dict) -> tuple[VitaClipConfig, dict]:
    """The configuration with the fields in `kwargs` set, and what of `kwargs` is left for the weights."""
    if isinstance(config, PreTrainedConfig):
        if not isinstance(config, cls.config_class):
            config = cls.config_class.from_dict(config.to_dict())
        return config, kwargs
    return cls.config_class.from_pretrained(config or name_or_path, return_unused_kwargs=True, **hub, **kwargs)


def _base_of(config: VitaClipConfig, adapter: str) -> str:
    if config.base_model_name_or_path is None:
        raise ValueError(f"{adapter} is an adapter, but its config.json names no base_model_name_or_path.")
    return config.base_model_name_or_path


# ---- save ----


def save_model(
    model: Any,
    save_all: Callable[..., Any],
    folder: str | os.PathLike,
    args: tuple,
    adapter_only: bool | None,
    kwargs: dict[str, Any],
) -> None:
    """`VitaClipModel.save_pretrained`: the prompts alone, or by transformers' own `save_all` the whole model."""
    has_base = model.config.base_model_name_or_path is not None
    if adapter_only and not has_base:
        raise ValueError(
            "An adapter names the base that it belongs to, and this model has none: it was not loaded from a CLIP "
            "checkpoint. Set config.base_model_name_or_path, or save with adapter_only=False."
        )
    if adapter_only is None:
        adapter_only = has_base
    state_dict = kwargs.pop("state_dict", None)
    if adapter_only:
        kwargs.pop("safe_serialization", None)
        _write_whole(folder, lambda target: save_adapter(model, target, state_dict))
    else:
        _write_whole(folder, lambda target: _save_full(model, save_all, target, args, state_dict, kwargs))


def save_adapter(model: Any, folder: Path, state_dict: dict[str, torch.Tensor] | None = None) -> None:
    """Writes `adapter_model.safetensors` and a configuration that names the base, its revision and fingerprint."""
    config = model.config
    config.base_model_fingerprint = fingerprint(model)
    config.architectures = [type(model).__name__]
    name_code(config)
    config.save_pretrained(folder)
    tensors = model.state_dict() if state_dict is None else state_dict
    prompts = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items() if is_prompt(name)}
    metadata = {"format": "pt", "base_model_fingerprint": config.base_model_fingerprint}
    save_file(prompts, folder / ADAPTER_FILE, metadata)
    copy_code(folder)


def _save_full(model: Any, save_all: Callable[..., Any], folder: Path, args: tuple, state_dict: Any, kwargs: dict):
    config = model.config
    base, config.base_model_name_or_path = config.base_model_name_or_path, None
    name_code(config)
    try:
        save_all(folder, *args, state_dict=state_dict, **kwargs)
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


@torch.no_grad()
def fingerprint(model: Any) -> str:
    """
    A hash over the tensors of the model's CLIP, `sha256:...`: the same in float32 and bfloat16, on any device.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not is_prompt(name):
            rounded = tensor.detach().to(device="cpu", dtype=torch.bfloat16).contiguous()
            digest.update(f"{name}{tuple(rounded.shape)}".encode())
            digest.update(rounded.view(torch.uint8).numpy())
    return f"sha256:{digest.hexdigest()}"
