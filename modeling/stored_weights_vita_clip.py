"""
The names and shapes of stored weights, read without the weights: a configuration is compared with them before a model
is made, so that a few bytes of text cannot ask for more memory than the file holds.
"""

import copy
import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import torch
from transformers.activations import ACT2FN
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, WEIGHTS_INDEX_NAME, WEIGHTS_NAME
from transformers.utils.hub import get_checkpoint_shard_files

from .adapter_file_vita_clip import opened, shapes_of
from .configuration_vita_clip import PromptedClipConfig, errors_naming, find_file

# Weights do not shrink when they are compressed; more than this beyond the file's own size is made to fill memory.
MOST_BYTES_BEYOND_FILE = 2**30
PREFIX = re.compile(r"^(vita_clip|clip)\.")

# Names of types in `safetensors` and in torch.
FLOATS = ("F32", "F16", "BF16", "F64", "float32", "float16", "bfloat16", "float64")

Shapes = dict[str, tuple[int, ...]]


def stored_shapes(
    name_or_path: str | os.PathLike,
    hub: dict[str, Any],
    *,
    variant: str | None = None,
    use_safetensors: bool | None = None,
    is_quantized: bool = False,
) -> Shapes:
    """
    The shapes of the weights of a folder or Hub repository by their names, of the files that transformers loads.

    Args:
        name_or_path: a Hub id or a folder.
        hub: how to reach the Hub.
        variant: part of the files' names, as for `from_pretrained`.
        use_safetensors: `False` for files of `torch.save` alone, `True` for none of them, as for `from_pretrained`.
        is_quantized: whether weights may be of other types than `FLOATS`.

    Raises:
        OSError: there are no weights, or a part of them is missing.
        ValueError: a file is damaged, or holds weights that are no floats.
    """
    safe, pickled = (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME), (WEIGHTS_NAME, WEIGHTS_INDEX_NAME)
    kinds = pickled if use_safetensors is False else safe if use_safetensors else (*safe, *pickled)
    names = [_name_of_variant(name, variant) for name in kinds]
    for name in names:
        path = find_file(name_or_path, name, hub)
        if path is not None:
            break
    else:
        raise OSError(f"{name_or_path} has no weights; expected {' or '.join(names[::2])}.")
    if not name.endswith(".json"):
        return shapes_in(path, is_quantized)
    with errors_naming(path):
        shards, _ = get_checkpoint_shard_files(name_or_path, path, **hub)
        outside = next((shard for shard in shards if os.path.dirname(shard) != os.path.dirname(path)), None)
        if outside is not None:
            raise ValueError(f"it names {outside}, which is not beside it")
    return {name: shape for shard in shards for name, shape in shapes_in(shard, is_quantized).items()}


def _name_of_variant(name: str, variant: str | None) -> str:
    """The name that transformers gives a file of a variant: `model.fp16.safetensors`."""
    stem, _, ending = name.rpartition(".")
    return name if variant is None else f"{stem}.{variant}.{ending}"


def shapes_in(path: str | os.PathLike, is_quantized: bool = False) -> Shapes:
    """The shapes of the tensors in a file of `safetensors`, or of `torch.save`, by their names."""
    if str(path).endswith(".safetensors"):
        with opened(path) as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {name: tuple(part.get_shape()) for name, part in parts.items()}
            types = {name: part.get_dtype() for name, part in parts.items()}
    else:
        with errors_naming(path):
            if not is_stored(path):  # transformers would map the compressed bytes
                raise ValueError("it is a compressed archive; expected a file as torch.save writes it")
            try:
                tensors = torch.load(path, map_location="meta", weights_only=True)
            except pickle.UnpicklingError as error:  # whose text recommends to run what the file holds
                reason = "it holds more than tensors and plain data, and loading it could run any code"
                raise ValueError(reason) from error
            check_growth(path, tensors)
            found = shapes_of(tensors)
            types = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()}
    other = next((name for name in types if types[name] not in FLOATS and not name.endswith("position_ids")), None)
    if other is not None and not is_quantized:
        raise ValueError(f"{path}: {other} is of the type {types[other]}, expected {', '.join(FLOATS[:4])}.")
    return {PREFIX.sub("", name): shape for name, shape in found.items()}


def is_stored(path: str | os.PathLike) -> bool:
    """Whether a file is no archive, or one that is not compressed, so that it can be mapped into memory."""
    if not zipfile.is_zipfile(path):
        return True
    with zipfile.ZipFile(path) as archive:
        return all(part.compress_type == zipfile.ZIP_STORED for part in archive.infolist())


def check_growth(path: str | os.PathLike, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raises `ValueError` if tensors of a file would take much more memory than it has bytes."""
    size, stored = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()), os.path.getsize(path)
    if size > stored + MOST_BYTES_BEYOND_FILE:
        raise ValueError(
            f"{path} has {stored:,} bytes and would take {size:,}; expected at most {MOST_BYTES_BEYOND_FILE:,} more "
            "than the file has, as weights are not compressed."
        )


# ---- a configuration beside them ----


def expected_shapes(
    cls: Any, config: PromptedClipConfig, shapes: Mapping[str, Any], source: str | os.PathLike
) -> Shapes:
    """
    The shapes of all tensors of a model of this class and configuration, which is made without memory.

    Args:
        cls: the model class.
        config: whose numbers of layers and of positions must be those in `shapes`: the others cost nothing to ask for.
        shapes: of stored tensors, by their names.
        source: for messages.

    Raises:
        ValueError: the configuration is that of no model, or of one of another size.
    """
    name = "text_model.embeddings.position_embedding.weight"
    if name not in shapes:
        raise ValueError(f"{source} has no tensor {name}: its weights are not those of a {cls.__name__} or a CLIP.")
    positions = shapes[name][0]
    if config.text_config.max_position_embeddings != positions:
        raise ValueError(
            f"text_config.max_position_embeddings is {config.text_config.max_position_embeddings}, and {source} holds "
            f"{positions} positions."
        )
    for tower in ("text", "vision"):
        half = getattr(config, f"{tower}_config")
        layer = re.compile(rf"{tower}_model\.encoder\.layers\.\d+\.mlp\.fc1\.weight")
        size = (half.intermediate_size, half.hidden_size)
        num_layers = sum(layer.fullmatch(name) is not None and shape == size for name, shape in shapes.items())
        if half.num_hidden_layers != num_layers:
            raise ValueError(
                f"{tower}_config.num_hidden_layers is {half.num_hidden_layers}, and {source} holds {num_layers} "
                f"layers of the width {size[1]} whose MLP has the width {size[0]}."
            )
        if half.hidden_act not in ACT2FN:
            raise ValueError(
                f"{source}: {tower}_config.hidden_act must be an activation of transformers, found "
                f"{half.hidden_act!r}."
            )
    with errors_naming(f"The configuration for {source}"), torch.device("meta"):
        return shapes_of(cls(copy.deepcopy(config)).state_dict())
