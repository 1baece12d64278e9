"""
Checkpoints: `from_pretrained` and `save_pretrained` of a Vita-CLIP.

An adapter is the prompts alone, beside the name of the CLIP they were trained on. Prompts cannot be merged into the
base as low-rank updates can: they are tokens, not changes of weights. An adapter is therefore always a few tensors
beside an untouched CLIP.
"""

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import CLIPConfig, PreTrainedConfig
from transformers.utils import CONFIG_NAME, extract_commit_hash, logging

from .adapter_file_vita_clip import (
    ADAPTER_FILE,
    PER_FRAME,
    LoadedBase,
    adapter_shapes,
    check_base,
    check_finite,
    check_same_shapes,
    is_prompt,
    is_quantized,
    read_adapter,
    shapes_of,
    write_adapter,
    written_whole,
)
from .configuration_vita_clip import (
    PromptedClipConfig,
    check_class_names,
    find_file,
    labels_of,
    read_config_fields,
    stored_name,
)
from .labels_vita_clip import contexts_from_words, load_tokenizer_of, tokenize_labels
from .quantization_vita_clip import check_can_be_saved, check_stored_quantization, torchao_errors_explained
from .remote_code_vita_clip import copy_code, locate_base, name_code, stored_base
from .stored_weights_vita_clip import expected_shapes, stored_shapes
from .vision_vita_clip import resample_frames

logger = logging.get_logger(__name__)

PEFT_CONFIG = "adapter_config.json"
HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")
PUSH_ARGUMENTS = (
    *("repo_id", "processor", "commit_message", "commit_description"),
    *("private", "token", "revision", "create_pr"),
)
# Of an earlier save into the same folder, whose files would be loaded beside or in place of the new ones.
STALE_FILES = (
    *("*_vita_clip.py", "*_efficient_prompt.py"),
    *("adapter_model.safetensors", "model*.safetensors*", "pytorch_model*.bin*", PEFT_CONFIG),
)
LOGIT_SCALE = "logit_scale"

Loaded = tuple[Any, dict]  # a model, and transformers' report of missing and unexpected tensors
Load = Callable[..., Loaded]
Labels = list[str] | None


# ---- load ----


def load_model(
    cls: Any, load_weights: Load, name_or_path: str | os.PathLike, config: Any, tokenizer: Any, kwargs: dict[str, Any]
) -> Any:
    """
    `VitaClipModel.from_pretrained`: starts new prompts on a CLIP, puts an adapter on its base, or loads a full
    checkpoint.

    Args:
        cls: the model class.
        load_weights: transformers' own `from_pretrained` of that class.
        name_or_path, config, tokenizer, kwargs: as `VitaClipModel.from_pretrained` got them.
    """
    if name_or_path is None:  # a state_dict in memory, as transformers takes it
        return load_weights(None, config=config, **kwargs)
    name, path = os.fspath(name_or_path), locate_base(name_or_path)
    hub = {key: kwargs.pop(key) for key in HUB_ARGUMENTS if key in kwargs}
    return_info = kwargs.pop("output_loading_info", False)
    # What Auto classes pass for peft is of this repository, not of the base; or of a LoRA, whose base they ask for.
    refuse_adapter_of_peft(path, (kwargs.pop("adapter_kwargs", None) or {}).get("_adapter_model_path"))
    labels = _requested_labels(kwargs)
    stored = read_config_fields(path, **hub)
    model_type = stored.get("model_type")
    own = cls.config_class
    if model_type not in (CLIPConfig.model_type, own.model_type):
        raise ValueError(f"{path} holds a model of the type {model_type!r}; expected a CLIP or a {own.method}.")

    dtype = {key: kwargs.pop(key) for key in ("dtype", "torch_dtype") if key in kwargs}
    config, kwargs = _load_config(cls, path, config, hub, kwargs)
    weights = partial(load_weights, config=config, output_loading_info=True, **dtype, **kwargs)
    files: dict[str, Any] = {key: kwargs[key] for key in ("variant", "use_safetensors") if key in kwargs}
    load = _Loading(cls, weights, path, hub, files, allow_missing=return_info)
    with torchao_errors_explained(kwargs.get("quantization_config")):
        if model_type == CLIPConfig.model_type:
            model, info = _start_from_clip(load, name, config, labels, tokenizer)
            is_rounded = model.loaded_base.in_float16 and dtype  # its fingerprint is then not that of the file
            model.config.base_model_fingerprint = None if is_rounded else model.loaded_base.fingerprint
        else:
            model, info = _load_trained(load, name, config, own.from_dict(stored), labels, tokenizer)
    model.freeze_base()
    return (model, info) if return_info else model


def refuse_adapter_of_peft(name_or_path: str | os.PathLike, lora: str | None = None) -> None:
    """
    Raises `ValueError` for an adapter of peft, such as a LoRA, which would be left out without a word.

    Args:
        name_or_path: a folder or a Hub id.
        lora: where an Auto class found such an adapter, whose base is then `name_or_path`.
    """
    if lora is None and os.path.isfile(os.path.join(name_or_path, PEFT_CONFIG)):
        lora = os.fspath(name_or_path)
    if lora is not None:
        raise ValueError(
            f"{lora} holds an adapter of peft ({PEFT_CONFIG}), such as a LoRA. Load it by AutoPeftModel, or load the "
            "model that it was trained on and call PeftModel.from_pretrained(model, ...)."
        )


@dataclass(frozen=True)
class _Loading:
    """
    What one call of `from_pretrained` loads, and how.

    Args:
        cls: the model class.
        load_weights: transformers' own `from_pretrained` of that class, with the caller's arguments.
        path: a Hub id or a folder.
        hub: how to reach the Hub.
        files: which of the weights' files: `variant` and `use_safetensors`.
        allow_missing: whether tensors may be missing, which the caller reads in transformers' report.
    """

    cls: type
    load_weights: Load
    path: str
    hub: dict[str, Any]
    files: dict[str, Any]
    allow_missing: bool

    def __call__(
        self, path: str, hub: dict[str, Any], config: PromptedClipConfig, whole: bool, adapter: str | None = None
    ) -> Loaded:
        """The weights at `path`, `whole` or of CLIP alone, once their sizes are known to be those of `config`."""
        source = path if path == self.path else f"{self.path} on {path}"
        is_quantized = getattr(config, "quantization_config", None) is not None
        shapes = stored_shapes(path, hub, **self.files, is_quantized=is_quantized)
        expected = expected_shapes(self.cls, config, shapes, source)
        if adapter is not None:
            prompts = {name: shape for name, shape in expected.items() if is_prompt(name)}
            check_same_shapes(prompts, adapter_shapes(adapter), adapter)
        needed = [name for name in expected if whole or name == LOGIT_SCALE or not is_prompt(name)]
        needed = [name for name in needed if name in shapes or not self.allow_missing]
        found = {name: shapes[name] for name in needed if name in shapes}
        check_same_shapes({name: expected[name] for name in needed}, found, source, "a whole model")
        model, info = self.load_weights(path, **hub)
        check_finite(model.state_dict(), path)
        if not whole:
            model.remember_base()
        return model, info


def _start_from_clip(load: _Loading, name: str, config: PromptedClipConfig, labels: Labels, tokenizer: Any) -> Loaded:
    """New prompts on a CLIP checkpoint."""
    path, hub = load.path, load.hub
    config.base_model_name_or_path = config.base_model_name_or_path or stored_name(name)
    config.base_model_revision = _commit_of(path, hub) or hub.get("revision")
    if labels is None and config.has_named_labels and config.label_token_ids is None:
        labels = config.label_names
    if labels is not None:
        config.set_label_names(labels)
        config.check_labels()
        tokenizer = tokenizer or load_tokenizer_of(path, **hub)
        config.label_token_ids = tokenize_labels(tokenizer, labels, config.label_ending)
    model, info = load(path, hub, config, whole=False)
    model.loaded_base = LoadedBase.of(model.state_dict())
    if config.text_prompt_init and model.class_prompts.num_contexts_rows:
        words = contexts_from_words(model, tokenizer or load_tokenizer_of(path, **hub), config.text_prompt_init)
        model.class_prompts.contexts.data[..., : len(words), :] = words
    return model, info


def _load_trained(
    load: _Loading, name: str, config: PromptedClipConfig, stored: PromptedClipConfig, labels: Labels, tokenizer: Any
) -> Loaded:
    """An adapter on its base, or a full checkpoint, whose own configuration is `stored`."""
    # Auto classes write the labels and fields that they are given into the configuration. The weights are loaded as
    # they were stored, and changed afterwards.
    num_frames = config.num_frames
    if labels is None and config.label_names != stored.label_names:
        labels = config.label_names
    for field in ("id2label", "label2id", "label_token_ids", "num_frames"):
        setattr(config, field, getattr(stored, field))
    is_other_base = config.base_model_name_or_path != stored.base_model_name_or_path
    if is_other_base and config.base_model_revision == stored.base_model_revision:
        config.base_model_revision = None  # it was of the stored one

    adapter = find_file(load.path, ADAPTER_FILE, load.hub)
    check_stored_quantization(getattr(stored, "quantization_config", None), load.path, adapter is not None)
    if adapter is None:
        model, info = load(load.path, load.hub, config, whole=True)
    else:
        model, info = _load_adapter(load, adapter, config)
    model.name_or_path = model.config.name_or_path = stored_name(name)  # peft names it as the base of its own adapters
    if num_frames != stored.num_frames:
        model.set_num_frames(num_frames)
    if labels is not None and labels != stored.label_names:
        model.set_labels(labels, tokenizer or load_tokenizer(model.config, load.hub))
    return model, info


def _load_adapter(load: _Loading, adapter: str, config: PromptedClipConfig) -> Loaded:
    """The base that an adapter names, and then the prompts in its file."""
    hub = _hub_of_base(config, load.hub)
    base = _base_of(load.path, Path(adapter).parent, config, hub)
    model, info = load(base, hub, config, whole=False, adapter=adapter)
    model.loaded_base = load_adapter_weights(model, adapter, config.base_model_fingerprint)
    return model, info


def _base_of(adapter: str, folder: Path, config: PromptedClipConfig, hub: dict[str, Any]) -> str:
    """
    The Hub id or folder of an adapter's base. Raises `OSError` if it is not found, and `ValueError` if it is no CLIP,
    such as an adapter that names another one, or itself.
    """
    if not config.base_model_name_or_path:
        raise ValueError(f"{adapter} is an adapter, but its {CONFIG_NAME} names no base_model_name_or_path.")
    named = f"The base {config.base_model_name_or_path!r} (revision {hub['revision']}) of the adapter {adapter}"
    remedy = "Give the place of its base by base_model_name_or_path=..."
    try:
        base = locate_base(str(config.base_model_name_or_path), relative_to=folder)
        model_type = read_config_fields(base, **hub).get("model_type")
    except (OSError, ValueError) as error:
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(f"{named} was not found or is damaged: {' '.join(str(error).split())} {remedy}") from error
    if model_type not in (CLIPConfig.model_type, config.model_type) or find_file(base, ADAPTER_FILE, hub):
        raise ValueError(f"{named} is an adapter itself or of another type ({model_type}); expected a CLIP. {remedy}")
    return base


def load_adapter_weights(model: Any, path: str | os.PathLike, expected_base: str | None = None) -> LoadedBase:
    """
    Puts the prompts of an adapter file on a model whose base is loaded.

    Args:
        model: with prompts of the shapes in the file.
        path: of the file.
        expected_base: the fingerprint in the configuration beside the file, which must be the file's own.

    Returns:
        What the base was recognised by.

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
    if expected_base not in (None, base_fingerprint):
        raise ValueError(
            f"{path} says that it belongs to the base with the fingerprint {base_fingerprint}, and the {CONFIG_NAME} "
            f"beside it {expected_base}: the two files are not of one adapter."
        )
    base = LoadedBase.of(state)
    check_base(model, base.fingerprint, base_fingerprint, path)
    check_same_shapes(shapes_of(own), shapes_of(tensors), path)
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
    return base


def resample_prompts(model: nn.Module, num_frames: int) -> None:
    """Gives a model for each of `num_frames` frames the learned vector of the frame that is nearest in time."""
    for name, vectors in list(model.named_parameters()):
        holder, _, attribute = name.rpartition(".")
        if is_prompt(name) and attribute in PER_FRAME:
            resampled = resample_frames(vectors.detach(), num_frames).clone()
            parameter = nn.Parameter(resampled, requires_grad=vectors.requires_grad)
            setattr(model.get_submodule(holder), attribute, parameter)


def load_tokenizer(config: PromptedClipConfig, hub: dict[str, Any] | None = None) -> Any:
    """
    The tokenizer of the base, or of a full checkpoint its own.

    Args:
        config: of the model.
        hub: how to reach the Hub: `token`, `cache_dir` and the others of `HUB_ARGUMENTS`.

    Raises:
        OSError: no base is named, or it has no tokenizer.
        ValueError: its tokenizer is damaged.
    """
    hub, base, place = hub or {}, config.base_model_name_or_path, locate_base(config.name_or_path or "")
    if not base and not place:
        raise OSError("The model names no base to load a tokenizer from. Give the argument tokenizer.")
    if not base:
        return load_tokenizer_of(place, **hub)
    beside = find_file(place, CONFIG_NAME, hub) if base.startswith("./") else None
    base = locate_base(base, None if beside is None else Path(beside).parent)
    return load_tokenizer_of(base, **_hub_of_base(config, hub))


def _hub_of_base(config: PromptedClipConfig, hub: dict[str, Any]) -> dict[str, Any]:
    """How to reach the base, a repository of its own, at the revision that the prompts were trained on."""
    shared = {key: value for key, value in hub.items() if key not in ("revision", "subfolder")}
    return {**shared, "revision": config.base_model_revision or "main"}


def _commit_of(name_or_path: str, hub: dict[str, Any]) -> str | None:
    """The commit of a Hub repository that `revision` meant when its configuration was read; `None` for a folder."""
    path = None if os.path.isdir(name_or_path) else find_file(name_or_path, CONFIG_NAME, hub)
    return extract_commit_hash(path, None)


def _requested_labels(kwargs: dict[str, Any]) -> Labels:
    """The class names in `id2label` or `label2id`, which are taken out of `kwargs`."""
    id2label, label2id = kwargs.pop("id2label", None), kwargs.pop("label2id", None)
    if id2label is None and label2id is None:
        return None
    labels = labels_of(id2label, label2id, kwargs.pop("num_labels", None))
    check_class_names(labels)
    return labels


def _load_config(cls: Any, name_or_path: str, config: Any, hub: dict, kwargs: dict) -> tuple[PromptedClipConfig, dict]:
    """The configuration with the fields in `kwargs` set, and the arguments that are left for the weights."""
    if not isinstance(config, PreTrainedConfig):
        return cls.config_class.from_pretrained(config or name_or_path, return_unused_kwargs=True, **hub, **kwargs)
    is_ours = isinstance(config, cls.config_class)
    config = copy.deepcopy(config) if is_ours else cls.config_class.from_dict(config.to_dict())
    for field in (*config.prompt_fields, "label_token_ids", "base_model_name_or_path", "base_model_revision"):
        if field in kwargs:
            value = kwargs.pop(field)
            setattr(config, field, stored_name(value) if field == "base_model_name_or_path" and value else value)
    return config, kwargs


# ---- save ----


def save_model(
    model: Any,
    save_weights: Callable[..., None],
    folder: str | os.PathLike,
    state_dict: dict[str, torch.Tensor] | None,
    push_to_hub: bool,
    adapter_only: bool | None,
    adapter_dtype: str | torch.dtype | None,
    kwargs: dict[str, Any],
) -> None:
    """
    `VitaClipModel.save_pretrained`: the prompts alone, or by transformers' own `save_weights` the whole model.

    Args:
        model: the model.
        save_weights: transformers' own `save_pretrained`.
        folder, state_dict, push_to_hub, adapter_only, adapter_dtype, kwargs: as `VitaClipModel.save_pretrained` got
            them.
    """
    given = {"state_dict": state_dict, "adapter_only": adapter_only, "adapter_dtype": adapter_dtype}
    push = {key: kwargs.pop(key) for key in PUSH_ARGUMENTS if key in kwargs}
    _check_without_peft(model)
    if adapter_only is None:
        adapter_only = model.config.base_model_name_or_path is not None
    if adapter_only:
        _check_adapter(model, Path(folder))
        model.config.base_model_name_or_path = stored_base(model.config, Path(folder))
        with written_whole(folder) as target:
            save_adapter(model, target, state_dict, adapter_dtype)
            _remove_stale(Path(folder), target)
    else:
        if adapter_dtype is not None:
            raise ValueError(f"adapter_dtype={adapter_dtype} is for adapters, and this saves the whole model.")
        check_can_be_saved(model)
        with written_whole(folder) as target:
            _save_full(model, save_weights, target, state_dict, kwargs)
            _remove_stale(Path(folder), target)
    if push_to_hub:
        repo_id = push.pop("repo_id", None) or Path(folder).absolute().name
        model.push_to_hub(repo_id, **push, **{key: value for key, value in given.items() if value is not None})


def _remove_stale(folder: Path, written: Path) -> None:
    """Removes weights and code of an earlier save from `folder`, except those that files in `written` replace."""
    for pattern in STALE_FILES:
        for file in folder.glob(pattern):
            if not (written / file.name).exists():
                file.unlink()


def _check_without_peft(model: Any) -> None:
    """Raises `ValueError` if layers of peft are part of the model: a file would hold them under names of their own."""
    for name, part in model.named_modules():
        if hasattr(part, "base_layer") or hasattr(part, "original_module"):
            raise ValueError(
                f"peft has changed {name}: save the PeftModel, or by adapter_only=False what merge_and_unload() gives."
            )


def _check_adapter(model: Any, folder: Path) -> None:
    """Raises `ValueError` if the model's prompts, saved into `folder`, could not be loaded again."""
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
    Writes `adapter_model.safetensors` and a configuration that names the base, its revision and fingerprint. If the
    base is quantized, the fingerprint is the one that the model was loaded with, if any.
    """
    config = model.config
    tensors = model.state_dict() if state_dict is None else state_dict
    prompts = {name: tensor for name, tensor in tensors.items() if is_prompt(name)}
    offloaded = next((name for name, tensor in prompts.items() if tensor.is_meta), None)
    if offloaded is not None:
        raise ValueError(f"{offloaded} is offloaded. Load the model without offloading, to save its adapter.")
    config.base_model_fingerprint = _fingerprint_to_save(model, tensors)
    config.architectures = [type(model).__name__]
    config.dtype = str(model.dtype).removeprefix("torch.")
    name_code(config)
    as_stored = copy.deepcopy(config)
    if hasattr(as_stored, "quantization_config"):  # an adapter is loaded on a base in any precision
        del as_stored.quantization_config
    as_stored.save_pretrained(folder)
    write_adapter(folder / ADAPTER_FILE, prompts, config.base_model_fingerprint, dtype)
    copy_code(folder, config.model_type)


def _fingerprint_to_save(model: Any, tensors: dict[str, torch.Tensor]) -> str | None:
    """
    The fingerprint of the base on which the adapter is to be loaded.

    Raises:
        ValueError: the base is no longer the one that was loaded.
    """
    known, loaded = model.config.base_model_fingerprint, model.loaded_base
    now = LoadedBase.of(tensors)
    if loaded is None:  # a model that was built, not loaded, and given the name of a base
        return now.fingerprint or known
    if loaded.fingerprint is None or now.fingerprint is None:
        return known or now.fingerprint
    if now.fingerprint == loaded.fingerprint:
        return known
    if now.in_float16 and not loaded.in_float16:
        logger.warning("The base was cast to float16, in which it cannot be compared with the one that was loaded.")
        return known
    raise ValueError(
        "The base is not as it was loaded: its weights, their shapes or its layers were changed, for example by "
        "merge_and_unload() or resize_token_embeddings(). An adapter holds the prompts alone, without this change: "
        "save with adapter_only=False."
    )


def _save_full(model: Any, save_weights: Callable[..., None], folder: Path, state_dict: Any, kwargs: dict) -> None:
    config = model.config
    base, config.base_model_name_or_path = config.base_model_name_or_path, None
    name_code(config)
    try:
        save_weights(folder, state_dict=state_dict, **kwargs)
    finally:
        config.base_model_name_or_path = base
    copy_code(folder, config.model_type)
