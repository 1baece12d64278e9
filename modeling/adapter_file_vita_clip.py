"""
The table of what a prompt is, and the file of an adapter: which tensors it holds, in which precision, and how it
recognises the base it belongs to.

`adapter_model.safetensors` holds the prompts under the model's own names. Its metadata hold the base's fingerprint
(`base_model_fingerprint`) and the precision (`adapter_dtype`). In int8 a tensor of two or more dimensions is stored as
integers from -127 to 127, with a float32 factor for each row in `NAME.scale`; tensors of fewer dimensions stay in
float32.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from transformers.utils import logging

from .configuration_vita_clip import PromptedClipConfig, VitaClipConfig
from .text_vita_clip import ClassPrompts
from .vision_vita_clip import VisualPrompts

logger = logging.get_logger(__name__)

ADAPTER_FILE = "adapter_model.safetensors"
ADAPTER_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "int8": torch.int8}
SCALE = ".scale"
LARGEST_INT8 = 127
MOST_BYTES_OF_HEADER = 2**22  # some 30,000 tensors
STORED_TYPES = ("F32", "F16", "BF16", "F64", "I8")

Tensors = dict[str, torch.Tensor]


# ---- what a prompt is ----


@dataclass(frozen=True)
class PromptPart:
    """
    One row of the table: a module or parameter that an adapter puts on a base.

    Args:
        holder: the path of the module that has it; `*` stands for the number of a layer.
        name: its name there.
        build: makes it for a configuration, with values still to be filled in; `None` if it is switched off.
    """

    holder: str
    name: str
    build: Callable[[Any], nn.Module | nn.Parameter | None]

    def holders(self, model: nn.Module) -> list[nn.Module]:
        """The modules of a model that have such a part, the layers in their order."""
        path, *layers = self.holder.split(".*")
        holder = model.get_submodule(path)
        return list(holder.children()) if layers else [holder]


def _temporal_embedding(config: VitaClipConfig) -> nn.Parameter | None:
    """`(T, D)`."""
    if not config.use_temporal_embedding:
        return None
    return nn.Parameter(torch.empty(config.num_frames, config.vision_config.hidden_size))


PROMPTS = (
    PromptPart("vision_model.encoder.layers.*", "prompts", lambda config: VisualPrompts(config.vision_config)),
    PromptPart("vision_model.embeddings", "temporal_embedding", _temporal_embedding),
    PromptPart(
        "",
        "class_prompts",
        lambda config: ClassPrompts(config.text_config, config.label_token_ids, config.label_names),
    ),
    PromptPart("", "logit_scale", lambda config: nn.Parameter(torch.empty(()))),
)
# The names of all parts that an adapter of Vita-CLIP, or of Efficient-Prompt, puts on a base.
PROMPT_NAMES = (*(part.name for part in PROMPTS), "temporal_transformer")
PROMPT_PATTERNS = {rf"(^|\.){name}(\.|$)" for name in PROMPT_NAMES}
# Of the prompts, those with one vector for each frame of a clip.
PER_FRAME = ("temporal_embedding", "local_prompts")


def is_prompt(name: str) -> bool:
    """Whether a parameter or module belongs to an adapter: prompts, contexts, temporal embedding, `logit_scale`."""
    return any(re.search(pattern, name) for pattern in PROMPT_PATTERNS)


def is_learned(name: str, config: PromptedClipConfig) -> bool:
    """Whether a parameter is trained: every prompt but those that the configuration fixes."""
    return is_prompt(name) and not any(fixed in name for fixed in config.fixed_prompts)


def places_of_prompts(model: Any) -> list[tuple[nn.Module, PromptPart]]:
    """Where a model has its prompts: modules, and which part each of them holds."""
    return [(holder, part) for part in model.prompt_parts for holder in part.holders(model)]


# ---- the file ----


@contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[Path]:
    """
    Writes a file or a folder whole or not at all: a context that gives a temporary path of the same name, at which
    the caller makes the file or the folder. When the block ends without an error, the file is moved to `path`, or the
    folder's files are moved into the folder `path` one by one, where other files stay; after an error nothing is left.

    Raises:
        OSError: a file stands where a folder is to be written, or the other way round; or a write fails.
    """
    # "." and ".." below the temporary folder would be that folder and its parent.
    target = Path(path).resolve() if Path(path).name in ("", "..") else Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as folder:
        written = Path(folder) / target.name
        try:
            yield written
        except (OSError, SafetensorError) as error:  # of a full disk neither says which file it is
            if getattr(error, "filename", None) is not None:
                raise
            raise OSError(f"{target} could not be written: {error}") from error
        if target.is_file() and written.is_dir():
            raise OSError(f"{target} is a file; expected a folder to save into.")
        if target.is_dir() and written.is_file():
            raise OSError(f"{target} is a folder; expected a file to write.")
        if written.is_dir():
            target.mkdir(exist_ok=True)
        else:
            os.replace(written, target)
        for file in sorted(file for file in written.rglob("*") if file.is_file()):
            place = target / file.relative_to(written)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, place)


def write_adapter(
    path: str | os.PathLike, prompts: Tensors, base_fingerprint: str | None, dtype: str | torch.dtype | None = None
) -> None:
    """
    Writes an adapter file.

    Args:
        path: of the file.
        prompts: the tensors, by the model's names.
        base_fingerprint: of the base, by [`fingerprint`].
        dtype: `"float32"`, `"float16"`, `"bfloat16"` or `"int8"`; by default each tensor's own.

    Raises:
        ValueError: `dtype` is another, or cannot hold the values.
    """
    name = None if dtype is None else str(dtype).removeprefix("torch.")
    if name is not None and name not in ADAPTER_DTYPES:
        raise ValueError(f"adapter_dtype must be one of {', '.join(ADAPTER_DTYPES)}; found {name}.")
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in prompts.items()}
    if name == "int8":
        tensors = quantize_rows(tensors)
    elif name is not None:
        tensors = {key: tensor.to(ADAPTER_DTYPES[name]) for key, tensor in tensors.items()}
        check_finite(tensors, f"In {name}")
    metadata = {"format": "pt", "base_model_fingerprint": base_fingerprint, "adapter_dtype": name}
    save_file(tensors, path, {key: value for key, value in metadata.items() if value is not None})


def read_adapter(path: str | os.PathLike) -> tuple[Tensors, str | None]:
    """
    The tensors of an adapter file, those in int8 as float32, and its base's fingerprint, if the file says one.

    Raises:
        OSError: the file cannot be read.
        ValueError: a tensor is of another type or has values that are not finite.
    """
    with opened(path) as file:
        prompt_shapes(file, path)
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a dict
    tensors = dequantize_rows(tensors)
    check_finite(tensors, path)
    return tensors, metadata.get("base_model_fingerprint")


def adapter_shapes(path: str | os.PathLike) -> dict[str, tuple[int, ...]]:
    """The shapes of the prompts in an adapter file; errors as of [`read_adapter`]."""
    with opened(path) as file:
        return prompt_shapes(file, path)


@contextmanager
def opened(path: str | os.PathLike) -> Iterator[Any]:
    """A safetensors file that is open; raises `OSError` if it is damaged, or lists more tensors than a model has."""
    with open(path, "rb") as start:
        size = int.from_bytes(start.read(8), "little")
    if size > MOST_BYTES_OF_HEADER:
        raise OSError(
            f"{path} is not a readable safetensors file: its header says that it has {size:,} bytes; expected at most "
            f"{MOST_BYTES_OF_HEADER:,}."
        )
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise OSError(f"{path} is not a readable safetensors file: {error}") from error


def prompt_shapes(file: Any, path: str | os.PathLike) -> dict[str, tuple[int, ...]]:
    """The shapes of the prompts in an open adapter file, once types and scales are checked."""
    parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is not a dict
    shapes = {name: tuple(part.get_shape()) for name, part in parts.items()}
    types = {name: part.get_dtype() for name, part in parts.items()}
    for name in [name for name in parts if types[name] == "I8"]:
        scale, expected = name + SCALE, shapes[name][:-1]
        if types.get(scale) != "F32" or shapes.pop(scale) != expected or not expected:
            raise ValueError(f"{path}: {name} is in int8, and needs {scale} in float32 of the shape {expected}.")
    other = next((name for name in shapes if types[name] not in STORED_TYPES), None)
    if other is not None:
        raise ValueError(f"{path}: {other} is of the type {types[other]}, expected {', '.join(STORED_TYPES)}.")
    return shapes


def check_finite(tensors: Mapping[str, torch.Tensor], source: str | os.PathLike) -> None:
    """Raises `ValueError` if a tensor in memory that holds plain floats has NaN or infinite values."""
    for name, tensor in tensors.items():
        if tensor.is_meta or is_quantized(tensor):
            continue
        used = torch.stack([tensor, tensor.exp()]) if name == "logit_scale" else tensor
        # The sum is finite if all values are; only otherwise are they searched.
        if not used.sum(dtype=torch.float32).isfinite() and not used.isfinite().all():
            raise ValueError(f"{source}: {name} has NaN or infinite values, or becomes infinite.")


def quantize_rows(tensors: Tensors) -> Tensors:
    """float -> int8 with one scale per row: a row's largest magnitude becomes 127. See the head of this module."""
    quantized = {}
    for name, tensor in tensors.items():
        tensor = tensor.float()
        if tensor.ndim < 2:
            quantized[name] = tensor
            continue
        scale = (tensor.abs().amax(dim=-1) / LARGEST_INT8).clamp(min=torch.finfo(torch.float32).tiny)
        quantized[name] = (tensor / scale[..., None]).round().to(torch.int8)
        quantized[name + SCALE] = scale
    return quantized


def dequantize_rows(tensors: Tensors) -> Tensors:
    """The inverse of [`quantize_rows`], up to rounding; tensors that are not in int8 stay as they are."""
    restored = {}
    for name, tensor in tensors.items():
        if tensor.dtype == torch.int8 and name + SCALE in tensors:
            restored[name] = tensor.float() * tensors[name + SCALE][..., None]
        elif not (name.endswith(SCALE) and tensors.get(name.removesuffix(SCALE), tensor).dtype == torch.int8):
            restored[name] = tensor
    return restored


def is_quantized(tensor: torch.Tensor) -> bool:
    """Whether a tensor is stored in less than floats of 16 bits, or as a subclass made of several tensors."""
    is_plain = type(tensor) in (torch.Tensor, nn.Parameter)
    return not is_plain or not tensor.is_floating_point() or tensor.element_size() < 2


def has_quantized_base(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether any weight of CLIP among `tensors`, a model's `state_dict()`, is quantized."""
    return any(is_quantized(tensor) for name, tensor in tensors.items() if not is_prompt(name))


@torch.no_grad()
def fingerprint(tensors: Mapping[str, torch.Tensor]) -> str:
    """
    A hash over the weights of a CLIP, `sha256:...`: the same in float32 and bfloat16 and on any device. Prompts among
    `tensors`, a model's `state_dict()`, do not count.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        if not is_prompt(name):
            rounded = tensor.detach().to(device="cpu", dtype=torch.bfloat16).contiguous()
            digest.update(f"{name}{tuple(rounded.shape)}".encode())
            digest.update(rounded.view(torch.uint8).numpy().data)
    return f"sha256:{digest.hexdigest()}"


@dataclass(frozen=True)
class LoadedBase:
    """
    What a base is recognised by.

    Args:
        fingerprint: by [`fingerprint`]; `None` if the base is quantized, offloaded, or spread over processes.
        in_float16: whether weights are held in float16. Others that were rounded to it have another fingerprint.
    """

    fingerprint: str | None
    in_float16: bool

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor]) -> "LoadedBase":
        """Of the base among `tensors`, a model's `state_dict()`."""
        base = {name: tensor for name, tensor in tensors.items() if not is_prompt(name)}
        in_float16 = any(tensor.dtype == torch.float16 for tensor in base.values())
        if not base or any(tensor.is_meta or not tensor.numel() or is_quantized(tensor) for tensor in base.values()):
            return cls(None, in_float16)
        return cls(fingerprint(base), in_float16)


def check_base(model: Any, found: str | None, expected: str | None, path: str | os.PathLike) -> None:
    """
    Raises `ValueError` if the model's base, whose fingerprint was `found`, is not the one `expected` by the adapter at
    `path`.
    """
    if expected is None or found == expected:
        return
    in_float16 = model.visual_projection.weight.dtype == torch.float16
    if in_float16 or getattr(model, "hf_quantizer", None) is not None or found is None:
        # Weights of the same base that are rounded to float16 or quantized give another hash, or none.
        logger.warning(f"The base of {path} was loaded in a precision in which it cannot be recognised.")
        return
    raise ValueError(
        f"{path} was trained on another base: expected {model.config.base_model_name_or_path} with the "
        f"fingerprint {expected}, found {found} in the loaded one. Give the right base by "
        f"base_model_name_or_path=..."
    )


def shapes_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """The shapes of tensors, by their names."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def check_same_shapes(
    own: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
    source: str | os.PathLike,
    whole: str = "the prompts of its configuration",
) -> None:
    """Raises `ValueError` if the shapes `found` in `source`, which should hold `whole`, are not the model's `own`."""
    missing, unexpected = sorted(own.keys() - found.keys()), sorted(found.keys() - own.keys())
    if missing or unexpected:
        raise ValueError(
            f"{source} does not hold {whole}: missing {missing[:3] or 'nothing'}, unexpected "
            f"{unexpected[:3] or 'nothing'} ({len(missing)} and {len(unexpected)} tensors)."
        )
    for name, shape in found.items():
        if shape != own[name]:
            raise ValueError(f"{source}: {name} has the shape {shape}, expected {own[name]} by the configuration.")
