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
from pathlib import Path
from typing import Any

import torch
from transformers.activations import ACT2FN
from transformers.utils import (
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
    cached_file,
)

from .adapter_file_vita_clip import check_same_shapes, opened, shapes_of
from .configuration_vita_clip import PromptedClipConfig, errors_naming, read_json

# Weights do not shrink when they are compressed; more than this beyond the file's own size is made to fill memory.
MOST_BYTES_BEYOND_FILE = 2**30
PREFIX = re.compile(r"^(vita_clip|clip)\.")

Shapes = dict[str, tuple[int, ...]]


def stored_shapes(name_or_path: str | os.PathLike, variant: str | None, hub: dict[str, Any]) -> Shapes:
    """
    The shapes of the weights of a folder or Hub repository by their names, of the files that transformers loads.

    Args:
        name_or_path: a Hub id or a folder.
        variant: part of the files' names, as for `from_pretrained`.
        hub: how to reach the Hub.

    Raises:
        OSError: there are no weights, or a part of them is missing.
        ValueError: a file is damaged.
    """
    for whole in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME, WEIGHTS_NAME, WEIGHTS_INDEX_NAME):
        name = whole if variant is None else whole.replace(".", f".{variant}.", 1)
        path = cached_file(name_or_path, name, _raise_exceptions_for_missing_entries=False, **hub)
        if path is not None:
            break
    else:
        raise OSError(f"{name_or_path} has no weights; expected {SAFE_WEIGHTS_NAME} or {WEIGHTS_NAME}.")
    if not name.endswith(".json"):
        return shapes_in(path)
    shapes: Shapes = {}
    for shard in _shards_of(path):
        found = cached_file(name_or_path, shard, _raise_exceptions_for_missing_entries=False, **hub)
        if found is None:
            raise OSError(f"{path} names {shard}, which is missing.")
        shapes |= shapes_in(found)
    return shapes


def _shards_of(index: str | os.PathLike) -> list[str]:
    content = read_json(index)
    names = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ValueError(f"{index} has no weight_map of the names of tensors to the names of files.")
    outside = next((name for name in names.values() if Path(name).name != name), None)
    if outside is not None:
        raise ValueError(f"{index} names the file {outside!r}; expected one beside it.")
    return sorted(set(names.values()))


def shapes_in(path: str | os.PathLike) -> Shapes:
    """The shapes of the tensors in a file of `safetensors`, or of `torch.save`, by their names."""
    if str(path).endswith(".safetensors"):
        with opened(path) as file:
            return {PREFIX.sub("", name): tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    if zipfile.is_zipfile(path) and not _is_stored(path):  # transformers would map the compressed bytes
        raise ValueError(f"{path} is a compressed archive; expected a file as torch.save writes it.")
    return {PREFIX.sub("", name): tuple(tensor.shape) for name, tensor in load_pickled(path, "meta").items()}


def load_pickled(path: str | os.PathLike, device: str = "cpu") -> dict[str, torch.Tensor]:
    """
    The tensors by their names that `torch.save` wrote, alone or under `"model"`. Nothing in the file is executed. Large
    files are mapped into memory, not read, if their format allows it.

    Args:
        path: of the file.
        device: `"cpu"`, or `"meta"` for shapes alone.

    Raises:
        ValueError: the file holds more than tensors and plain data, is damaged, or would grow when it is read.
    """
    is_stored = zipfile.is_zipfile(path) and _is_stored(path)
    try:
        content = torch.load(path, map_location=device, weights_only=True, mmap=is_stored and device != "meta")
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} was not loaded: it holds more than tensors and plain data, and loading it could run any code. "
            f"torch says: {_first_line(error)}"
        ) from error
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # of any type: torch unpickles what is damaged as far as it goes
        raise ValueError(
            f"{path} is not a checkpoint written by torch.save, or is damaged: {_first_line(error)}"
        ) from error
    weights = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(weights, dict) or not weights or not all(map(_is_plain, weights, weights.values())):
        found = f"a dict of {list(content)[:5]}" if isinstance(content, dict) else type(content)
        raise ValueError(f"{path} has no weights: expected tensors by name under 'model', found {found}.")
    _check_growth(path, sum(tensor.numel() * tensor.element_size() for tensor in weights.values()))
    return weights


def _is_plain(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, torch.Tensor) and value.layout == torch.strided


def _is_stored(path: str | os.PathLike) -> bool:
    """
    Whether an archive is not compressed, as `torch.save` writes it, so that it can be mapped into memory. Raises
    `ValueError` if it is compressed to much less than its content.
    """
    with errors_naming(path), zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    _check_growth(path, sum(part.file_size for part in parts))
    return all(part.compress_type == zipfile.ZIP_STORED for part in parts)


def _check_growth(path: str | os.PathLike, size: int) -> None:
    stored = os.path.getsize(path)
    if size > stored + MOST_BYTES_BEYOND_FILE:
        raise ValueError(
            f"{path} has {stored:,} bytes and would take {size:,}; expected at most {MOST_BYTES_BEYOND_FILE:,} more "
            "than the file has, as weights are not compressed."
        )


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).strip()


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
    positions = shapes.get("text_model.embeddings.position_embedding.weight", (0,))[0]
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
                f"{tower}_config.hidden_act must be an activation of transformers, found {half.hidden_act!r}."
            )
    with errors_naming(f"The configuration for {source}"), torch.device("meta"):
        return shapes_of(cls(copy.deepcopy(config)).state_dict())


def check_shapes(expected: Mapping[str, Any], shapes: Shapes, source: str | os.PathLike) -> None:
    """Raises `ValueError` unless `shapes`, of stored tensors, has every name and shape of `expected`."""
    check_same_shapes(expected, {n: s for n, s in shapes.items() if n in expected}, source, "a whole model")
