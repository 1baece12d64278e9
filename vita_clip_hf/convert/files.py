"""The authors' `.pth` files: read without executing any of their content, convert, and write."""

import os
import pickle
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..modeling.adapter_file_vita_clip import check_finite, is_prompt, written_whole
from ..modeling.configuration_vita_clip import PROMPT_FIELDS, VitaClipConfig, errors_naming, stored_name
from ..modeling.labels_vita_clip import load_tokenizer_of, tokenize_labels
from ..modeling.modeling_vita_clip import VitaClipModel
from ..modeling.processing_vita_clip import VitaClipProcessor
from ..modeling.remote_code_vita_clip import locate_base
from ..modeling.stored_weights_vita_clip import MOST_BYTES_BEYOND_FILE, check_growth, is_stored
from ..names import load_labels
from .tensors import (
    DERIVED,
    check_is_whole,
    config_from_shapes,
    load_strictly,
    tensors_from_original,
    vita_clip_to_original,
)

PREFIX = "module."
# The released checkpoints start from OpenAI's weights, which the base's are bit for bit. This leaves room for one
# rounding of float32 on the way, and none for training or for float16.
BACKBONE_TOLERANCE = 1e-6
# Between two embeddings of the same token, one of which may have been stored in float16.
TOKEN_TOLERANCE = 1e-3
RELEASED_SAMPLING = {"sampling": "strided", "frame_stride": 16}


@dataclass(frozen=True)
class Conversion:
    """
    The result of a conversion; `str()` of it is a report for people.

    Args:
        folder: where model and processor were written.
        is_adapter: whether the backbone is the base's, so that the prompts alone were written.
        max_difference: the largest difference between a weight of the backbone and of the base; `None` if their sizes
            differ.
        largest_in: the tensor of the largest difference, or the sizes that differ.
        has_processor: whether the base had a processor to write beside the model.
        num_parameters: written.
    """

    folder: Path
    is_adapter: bool
    max_difference: float | None
    largest_in: str
    has_processor: bool
    num_parameters: int

    def __str__(self) -> str:
        kind = "an adapter" if self.is_adapter else "a full checkpoint"
        lines = [f"Wrote {kind} of {self.num_parameters:,} parameters to {self.folder}."]
        if self.max_difference is None:
            lines.append(f"Its backbone has other sizes than the base: {self.largest_in}.")
        elif self.is_adapter:
            lines.append(f"Its backbone is the base's: the largest difference is {self.max_difference:.3g}.")
        else:
            lines.append(
                f"Its backbone is not the base's: it differs by up to {self.max_difference:.3g}, in {self.largest_in} "
                f"(an adapter needs {BACKBONE_TOLERANCE:g} at most)."
            )
        if not self.has_processor:
            lines.append("The base has no processor settings: save a VitaClipProcessor into the folder.")
        return "\n".join(lines)


def read_original(path: str | os.PathLike) -> dict[str, torch.Tensor]:
    """
    The weights in an authors' checkpoint, by their names without `module.`; nothing in the file is executed.

    Args:
        path: `{"model": {...}, ...}` or the weights alone, as `torch.save` wrote them. Large files are mapped into
            memory, not read, if their format allows it.

    Raises:
        OSError: no such file.
        ValueError: the file holds more than tensors and plain data, is damaged, has no weights, or weights that are
            not finite, or would take much more memory than it has bytes.
    """
    path = Path(path)
    if not path.is_file():
        raise OSError(f"{path}: no such file; expected a checkpoint of the authors' code (.pth).")
    is_zip = zipfile.is_zipfile(path)
    try:
        if is_zip:
            _check_unpacked_size(path)
        # Mapped into memory, a compressed archive would give the compressed bytes.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip and is_stored(path))
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
        found = f"a dict of {list(content)[:5]!r:.200}" if isinstance(content, dict) else type(content)
        raise ValueError(f"{path} has no weights: expected tensors by name under 'model', found {found}.")
    check_growth(path, weights)
    weights = {name.removeprefix(PREFIX): tensor for name, tensor in weights.items()}
    check_finite(weights, path)
    return weights


def _is_plain(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, torch.Tensor) and value.layout == torch.strided


def _check_unpacked_size(path: Path) -> None:
    """Raises `ValueError` for an archive that is compressed to much less than its content."""
    with zipfile.ZipFile(path) as archive:
        size, stored = sum(part.file_size for part in archive.infolist()), path.stat().st_size
    if size > stored + MOST_BYTES_BEYOND_FILE:
        raise ValueError(
            f"it has {stored:,} bytes and unpacks to {size:,}; expected at most {MOST_BYTES_BEYOND_FILE:,} more "
            "than it has, as torch.save does not compress"
        )


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).strip()


def convert_checkpoint(
    original: str | os.PathLike,
    base: str,
    labels: str | os.PathLike | Sequence[str],
    out: str | os.PathLike,
    text_prompt_position: str = "end",
    revision: str | None = None,
) -> Conversion:
    """
    Converts an authors' checkpoint and saves it with its processor.

    Args:
        original: their `.pth` file.
        base: the CLIP it was trained on, such as `"openai/clip-vit-base-patch16"`: a Hub id or a folder.
        labels: its classes, in order: `"k400"`, a file, or the names; see [`load_labels`].
        out: the folder to write to. An adapter, if every weight of the backbone differs from the base's by no more
            than `BACKBONE_TOLERANCE`; else a full checkpoint.
        text_prompt_position: `"end"`, `"front"` or `"middle"`, which the file does not say.
        revision: of the base.

    Returns:
        A report of what was written, and how far the backbone is from the base.

    Raises:
        OSError: no such file, base or list of labels.
        ValueError: the file is not safe or not a Vita-CLIP, or the labels are not those it was trained on.
    """
    names = load_labels(labels)
    weights = read_original(original)
    hub = {"revision": revision or "main"}
    tokenizer = load_tokenizer_of(locate_base(base), **hub)
    token_ids = tokenize_labels(tokenizer, names)
    base_config = VitaClipConfig.from_pretrained(locate_base(base), **hub)
    with errors_naming(original):
        _check_labels(weights, names, token_ids, Path(original))
        tensors = tensors_from_original({name: tensor for name, tensor in weights.items() if name not in DERIVED})
        config = config_from_shapes(weights, *_heads(weights, base_config))
    config.text_config.text_prompt_position = text_prompt_position
    config.set_label_names(names)
    config.label_token_ids = token_ids
    check_is_whole(config, tensors, original)
    differences = _size_differences(config, base_config)
    if differences:
        model, distance, largest_in = _build(config, base_config), None, "; ".join(differences)
    else:
        fields = {field: getattr(config, field) for field in PROMPT_FIELDS}
        fields["id2label"] = dict(enumerate(names))
        model = VitaClipModel.from_pretrained(
            locate_base(base), tokenizer=tokenizer, dtype=torch.float32, **hub, **fields
        )
        model.config.base_model_name_or_path = stored_name(base)
        distance, largest_in = backbone_difference(model, tensors)
    is_adapter = distance is not None and distance <= BACKBONE_TOLERANCE
    if is_adapter:
        # The base keeps its own weights: by them an adapter recognises it.
        own = {name: tensor for name, tensor in model.state_dict().items() if not is_prompt(name)}
        tensors = {name: tensor for name, tensor in tensors.items() if is_prompt(name)} | own
    load_strictly(model, tensors)
    model.eval().save_pretrained(out, adapter_only=is_adapter)
    has_processor = _save_processor(base, hub, config.num_frames, out)
    written = [tensor for name, tensor in model.named_parameters() if is_prompt(name) or not is_adapter]
    return Conversion(
        Path(out), is_adapter, distance, largest_in, has_processor, sum(tensor.numel() for tensor in written)
    )


def write_original(model: VitaClipModel, path: str | os.PathLike) -> Path:
    """
    Writes a model as the authors' code would have: `{"model": {"module.NAME": tensor}}`, with the tensors that it
    derives from others, so that it loads there strictly. The file does not say where class names stand.

    Args:
        model: adapter or full checkpoint.
        path: of the `.pth` file; written whole or not at all.

    Raises:
        OSError: the file cannot be written.
        ValueError: the model is of the compact variant, which the authors' code does not have.
    """
    path = Path(path)
    weights = vita_clip_to_original(model)
    weights.update(_derived_tensors(model))
    with written_whole(path) as temporary:
        try:
            torch.save({"model": {PREFIX + name: tensor for name, tensor in weights.items()}}, temporary)
        except RuntimeError as error:  # of a disk that is full
            raise OSError(f"{path} could not be written: {_first_line(error)}") from error
    return path


def backbone_difference(model: VitaClipModel, tensors: dict[str, torch.Tensor]) -> tuple[float, str]:
    """
    The largest difference between the model's base and the same weights among `tensors` (our names), which must hold
    them all in the same shapes, and where it is.
    """
    own = {name: tensor for name, tensor in model.state_dict().items() if not is_prompt(name)}
    distances = {name: (tensor - tensors[name].to(tensor.dtype)).abs().max().item() for name, tensor in own.items()}
    largest = max(distances, key=distances.__getitem__)
    return distances[largest], largest


def _heads(weights: dict[str, torch.Tensor], base: VitaClipConfig) -> tuple[int | None, int | None]:
    """The base's numbers of heads, if its towers are as wide as the checkpoint's; they are not in the file."""
    found = []
    names = ("visual.cls_token", "textual.ln_final.weight")
    for name, half in zip(names, (base.vision_config, base.text_config), strict=True):
        width = weights[name].shape[-1] if name in weights else None
        found.append(half.num_attention_heads if width == half.hidden_size else None)
    return found[0], found[1]


def _size_differences(config: VitaClipConfig, base: VitaClipConfig) -> list[str]:
    """The sizes in which the two differ, in words."""
    sizes = {
        "vision_config": ("hidden_size", "intermediate_size", "num_hidden_layers", "patch_size", "image_size"),
        "text_config": (
            *("vocab_size", "hidden_size", "intermediate_size"),
            *("num_hidden_layers", "max_position_embeddings"),
        ),
    }
    differences = []
    for half, fields in sizes.items():
        for field in fields:
            own, other = getattr(getattr(config, half), field), getattr(getattr(base, half), field)
            if own != other:
                differences.append(f"{half}.{field} is {own}, the base's {other}")
    if config.projection_dim != base.projection_dim:
        differences.append(f"projection_dim is {config.projection_dim}, the base's {base.projection_dim}")
    return differences


def _build(config: VitaClipConfig, base: VitaClipConfig) -> VitaClipModel:
    """A model of other sizes than the base, whose tokenizer it shares."""
    for field in ("bos_token_id", "eos_token_id", "pad_token_id", "hidden_act"):
        setattr(config.text_config, field, getattr(base.text_config, field))
    config.vision_config.hidden_act = base.vision_config.hidden_act
    return VitaClipModel(config)


def _check_labels(weights: dict[str, torch.Tensor], labels: list[str], token_ids: list[list[int]], path: Path) -> None:
    """
    Raises `ValueError` if the checkpoint was trained on other classes: by the number of its contexts, and by the
    embeddings of the class names, which the authors' code stores too.
    """
    contexts = weights.get("prompt_learner.ctx")
    if contexts is not None and contexts.ndim == 3 and len(contexts) != len(labels):
        raise ValueError(f"{path} was trained on {len(contexts)} classes; the list of labels has {len(labels)}.")
    stored = weights.get("prompt_learner.token_suffix")
    embedding = weights.get("textual.token_embedding.weight")
    if stored is None or embedding is None:
        return
    if len(stored) != len(labels):
        raise ValueError(f"{path} was trained on {len(stored)} classes; the list of labels has {len(labels)}.")
    for index, ids in enumerate(token_ids):
        name = torch.tensor(ids[1:])  # after the start token, "name." and the end token, as they are stored
        if len(name) > stored.shape[1] or (embedding[name] - stored[index, : len(name)]).abs().max() > TOKEN_TOLERANCE:
            raise ValueError(
                f"{path} was trained on other classes: class {index} is not {labels[index]!r}. Labels must stand in "
                "the order of training, and the base must have the tokenizer of training."
            )


def _derived_tensors(model: VitaClipModel) -> dict[str, torch.Tensor]:
    """Token embeddings around the contexts: start token `(C, 1, D_t)`, and name to end of context `(C, S, D_t)`."""
    text = model.config.text_config
    if text.text_prompt_length == 0 or not model.class_prompts.label_token_ids:
        return {}
    length = text.max_position_embeddings - 1 - text.text_prompt_length
    rows = torch.zeros(len(model.class_prompts.label_token_ids), length, dtype=torch.long)
    for row, ids in zip(rows, model.class_prompts.label_token_ids, strict=True):
        row[: len(ids) - 1] = torch.tensor(ids[1:])
    starts = torch.tensor([[ids[0]] for ids in model.class_prompts.label_token_ids])
    embedding = model.text_model.embeddings.token_embedding.weight.detach().cpu()
    return dict(zip(DERIVED, (embedding[starts], embedding[rows]), strict=True))


def _save_processor(base: str, hub: dict[str, Any], num_frames: int, out: str | os.PathLike) -> bool:
    """Writes the base's tokenizer and image settings, for clips as the released models were trained on."""
    try:
        processor = VitaClipProcessor.from_pretrained(locate_base(base), **hub)
    except OSError:
        return False
    for setting, value in {"num_frames": num_frames, **RELEASED_SAMPLING}.items():
        setattr(processor.video_processor, setting, value)
    processor.save_pretrained(out)
    return True


__all__ = ["Conversion", "convert_checkpoint", "read_original", "write_original"]
