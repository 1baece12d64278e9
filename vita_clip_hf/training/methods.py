"""The model that each method of `vita-clip train` trains."""

import logging
from typing import Any

import torch

from ..modeling.configuration_vita_clip import NO_PROMPTS, VitaClipConfig, check_token_ids, read_config_fields
from ..modeling.labels_vita_clip import label_words, load_tokenizer_of
from ..modeling.modeling_efficient_prompt import EfficientPromptForVideoClassification
from ..modeling.modeling_vita_clip import VitaClipForVideoClassification
from ..modeling.remote_code_vita_clip import locate_base
from ..modeling.text_vita_clip import ClassPrompts
from ..models.vita_clip import is_whole_clip, prompts_of
from .options import EFFICIENT_PROMPT, FINETUNE, VITA_CLIP, BaseOptions

# ViFi-CLIP trains all of CLIP at 8e-6 to 2.2e-5; prompts take rates of 1e-4 and more.
HIGHEST_USUAL_RATE_OF_A_CLIP = 1e-4

logger = logging.getLogger(__name__)


def load_model_to_train(model: BaseOptions, names: list[str], num_frames: int) -> VitaClipForVideoClassification:
    """
    The model of `model.method` for clips of `num_frames` frames of these classes. What it learns requires a gradient,
    and is in float32. A frozen base is in `model.base_dtype`.

    Raises:
        OSError: the base or a part of it is not there.
        ValueError: the base is of another method, or a class name is too long.
    """
    _check_base(model)
    if model.method == FINETUNE:
        return _load_whole_clip(model, names, num_frames)
    loaded = _PROMPTED[model.method].from_pretrained(
        model.base, id2label=dict(enumerate(names)), num_frames=num_frames, **_loading(model), **model.prompt_fields()
    )
    loaded.cast_base(getattr(torch, model.base_dtype))
    return loaded


def _load_whole_clip(model: BaseOptions, names: list[str], num_frames: int) -> VitaClipForVideoClassification:
    """
    CLIP without prompts, all of whose weights are trained: ViFi-CLIP's model. A class is its name in a template. It
    has no base any more, so that it is saved whole.
    """
    tokenizer = load_tokenizer_of(locate_base(model.base))
    loaded = VitaClipForVideoClassification.from_pretrained(
        model.base,
        id2label=dict(enumerate(names)),
        num_frames=num_frames,
        tokenizer=tokenizer,
        **_loading(model),
        **NO_PROMPTS,
    )
    config = loaded.config
    texts = [model.class_template.replace("{}", label_words(name)) for name in names]
    config.label_token_ids = tokenizer(texts, truncation=False, verbose=False)["input_ids"]
    check_token_ids(config.label_token_ids, config.text_config.vocab_size)
    _check_lengths(model.class_template, names, config)
    loaded.class_prompts = ClassPrompts(config.text_config, config.label_token_ids, names)
    config.base_model_name_or_path = config.base_model_revision = config.base_model_fingerprint = None
    return loaded.requires_grad_(True)


def _check_lengths(template: str, names: list[str], config: VitaClipConfig) -> None:
    limit = config.text_config.max_position_embeddings
    longest = max(zip(map(len, config.label_token_ids or []), names, strict=True))
    if longest[0] > limit:
        raise ValueError(
            f"class_template {template!r} with the name {longest[1]!r} makes {longest[0]} tokens, and the text "
            f"encoder takes {limit}: shorten the template or the name."
        )


def _check_base(model: BaseOptions) -> None:
    """Raises `ValueError` if the base is a Vita-CLIP with prompts for a whole CLIP, or the other way round."""
    place = locate_base(model.base)
    fields = read_config_fields(place)
    if fields.get("model_type") != VitaClipConfig.model_type:
        return
    config = VitaClipConfig.from_dict(fields)
    found = prompts_of(config)
    if model.method == FINETUNE and found:
        raise ValueError(
            f"--method {FINETUNE} trains a CLIP without prompts, and {place} is a Vita-CLIP with prompts "
            f"({', '.join(found)}). Give --base a CLIP or the result of an earlier --method {FINETUNE}, or give "
            f"--method {VITA_CLIP}."
        )
    if model.method == VITA_CLIP and is_whole_clip(config):
        raise ValueError(
            f"{place} is a CLIP that --method {FINETUNE} has trained as a whole, and has no prompts to go on from: "
            f"give --base a CLIP or an adapter, or give --method {FINETUNE}."
        )


def check_same_method(model: BaseOptions, checkpoint: str) -> None:
    """
    Raises:
        ValueError: the checkpoint to go on from is of another method than `model.method`.
    """
    fields = read_config_fields(checkpoint)
    found = str(fields.get("model_type"))
    if found == VitaClipConfig.model_type and not prompts_of(VitaClipConfig.from_dict(fields)):
        found = FINETUNE
    if found != model.method:
        raise ValueError(
            f"{checkpoint} is of --method {found}, and this training of --method {model.method}: give --method "
            f"{found} to go on, or another --output_dir."
        )


def check_same_model(model: VitaClipForVideoClassification, checkpoint: str) -> None:
    """
    Raises:
        ValueError: the checkpoint to go on from has other classes or other prompts, though its tensors may fit.
    """
    stored = type(model.config).from_dict(read_config_fields(checkpoint))
    before, now = ([*config.label_names] for config in (stored, model.config))
    other = next((pair for pair in zip(before, now, strict=False) if pair[0] != pair[1]), None)
    if before != now:
        differ = f"{other[1]!r} where it has {other[0]!r}" if other else f"{len(now)} where it has {len(before)}"
        raise ValueError(
            f"{checkpoint} was trained on other classes than this training has: {differ}. Give the same classes in "
            "the same order, or another --output_dir."
        )
    found, expected = _flat(stored.to_dict()), _flat(model.config.to_dict())
    for name in sorted(found.keys() & expected.keys()):
        if found[name] != expected[name]:
            raise ValueError(
                f"{checkpoint} was trained with {name} {found[name]!r:.80}, and this training has "
                f"{expected[name]!r:.80}: "
                "give the same, or another --output_dir."
            )


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    """What decides about the model, its parts' fields beside its own. The base is known by its fingerprint."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict) and name.endswith("_config"):
            flat |= {f"{name}.{inner}": field for inner, field in _flat(value).items()}
        elif name not in _NOT_OF_THE_MODEL:
            flat[name] = value
    return flat


def _loading(model: BaseOptions) -> dict[str, Any]:
    """float32 in any case: a lower precision loses small steps of what is learned."""
    attention = {} if model.attn_implementation is None else {"attn_implementation": model.attn_implementation}
    return {"dtype": torch.float32, **attention}


def warn_of_learning_rate(model: BaseOptions, learning_rate: float) -> None:
    """The default is for prompts; at such a rate a whole CLIP forgets what it knew."""
    if model.method == FINETUNE and learning_rate > HIGHEST_USUAL_RATE_OF_A_CLIP:
        logger.warning(
            f"learning_rate is {learning_rate:g}, which is high for a whole CLIP (ViFi-CLIP's is 8e-6 to 2.2e-5): a "
            "pretrained one may forget what it knew. examples/configs/finetune_k400.yaml has a recipe."
        )


_NOT_OF_THE_MODEL = (
    *("architectures", "auto_map", "custom_pipelines", "dtype", "torch_dtype", "transformers_version"),
    *("_name_or_path", "base_model_name_or_path", "base_model_revision", "base_model_fingerprint"),
    *("id2label", "label2id"),
)
_PROMPTED: dict[str, type[VitaClipForVideoClassification]] = {
    VITA_CLIP: VitaClipForVideoClassification,
    EFFICIENT_PROMPT: EfficientPromptForVideoClassification,
}

__all__ = ["check_same_method", "check_same_model", "load_model_to_train", "warn_of_learning_rate"]
